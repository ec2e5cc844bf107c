"""How soon a host's names and balance follow a report. It runs in the lab."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from builder.run import run
from tests.lab import PROJECT, argv, lab_tree

from .figures import Figure, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRAM = "tests/net/services_load.py"
_AIM = 1.0  # second, from a change to the last host that follows it (issue 5)


def figures(cache: Path) -> list[Figure]:
    """With the aim of issue 5.

    Raises:
        CommandError: there is no lab, or a report was not followed.
    """
    tree = lab_tree(cache, on_line=lambda _line: None)
    found: Mapping[str, float] = json.loads(
        run(argv(tree, ["/usr/bin/python3", str(PROJECT / _PROGRAM)]))
    )
    every = "50 services of 10 replicas"
    note = f"from the view to nft and the file of names; at worst {found['slowest_change']:.2f} s"
    return [
        Figure(f"{every}: a report changes", found["change"], Unit.SECONDS, _AIM, note),
        Figure(f"{every}: of that on the agent's thread", found["turn"], Unit.SECONDS),
        Figure(f"{every}: all of it at first", found["first"], Unit.SECONDS),
        Figure(f"{every}: a look every 30 s", found["look"], Unit.SECONDS),
    ]
