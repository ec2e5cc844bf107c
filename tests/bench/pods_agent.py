"""What the pod agent costs with 50 pods, and how soon it follows etcd. It runs in the lab."""

import json
import sys
from typing import TYPE_CHECKING

from builder.run import run

from .figures import Figure, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEST = "tests/podlab/agent_load.py"
_MARK = "figures: "


def figures() -> list[Figure]:
    """With the aims of issue 5.

    Raises:
        CommandError: there is no lab, or the pods did not come up.
    """
    said = run([sys.executable, "-m", "tests.lab", "--pods", "-s", _TEST])
    line = next(line for line in said.splitlines() if line.startswith(_MARK))
    found: Mapping[str, float] = json.loads(line.removeprefix(_MARK))
    change = f"to the start of `podman kube play`; at worst {found['slowest_change']:.2f} s"
    return [
        Figure("50 pods are started", found["started"], Unit.SECONDS),
        Figure("a manifest in etcd", found["change"], Unit.SECONDS, 0.3, change),
        Figure("50 pods at rest: the agent", found["own"], Unit.SHARE, 0.01, "of a core"),
        Figure("with podman's looks", found["whole"], Unit.SHARE, 0.01, "of a core"),
        Figure("its memory", found["resident"], Unit.BYTES, 48 << 20),
    ]
