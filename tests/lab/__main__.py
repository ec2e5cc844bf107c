"""Run pytest in the lab: `python -m tests.lab tests/net -k lease`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from builder.run import CommandError
from tests.lab import PROJECT, argv, lab_tree

# The conftest above is the workstation's; the project is read only.
_OPTIONS = ("--confcutdir", "tests/net", "-p", "no:cacheprovider")


def main(arguments: Sequence[str] | None = None) -> int:
    """Become pytest inside the lab; its exit status is ours."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        tree = lab_tree(PROJECT / ".cache", on_line=lambda _line: None)
    except CommandError as error:
        print(f"tests.lab: {error}", file=sys.stderr)
        return 1
    command = argv(tree, ["/usr/bin/python3", "-m", "pytest", *_OPTIONS, *given])
    os.execvp(command[0], command)  # noqa: S606 - this program becomes that one



if __name__ == "__main__":
    sys.exit(main())
