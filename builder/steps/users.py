"""The image's own system users: made at the build, so that they are the same on every host."""

from dataclasses import replace
from pathlib import Path

from builder.run import Sandbox

_CONFIGURED = "usr/lib/sysusers.d"
# What systemd-sysusers keeps of the files it changes.
_BACKUPS = ("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-")


def make_users(tree: Path, tools: Sandbox, epoch: int) -> None:
    """Make the users and groups that the tree's sysusers.d(5) files name.

    Args:
        tree: the root, with our own files in it; Debian's users are there already.
        tools: may write below the tree.
        epoch: the day of their making, in seconds; shadow(5) records it.

    Raises:
        CommandError: a line is wrong, or an id is taken.
    """
    files = sorted((tree / _CONFIGURED).glob("*.conf"))
    if not files:
        return
    dated = replace(tools, env={**tools.env, "SOURCE_DATE_EPOCH": str(epoch)})
    dated.run(["systemd-sysusers", f"--root={tree}", *(each.name for each in files)])
    for name in _BACKUPS:
        (tree / name).unlink(missing_ok=True)
