"""From Debian's tree to the finished root: the order in which the other steps touch it."""

import json
import stat
from dataclasses import dataclass
from pathlib import Path

from builder.definition.model import Definition
from builder.definition.render import laid_files, write_files
from builder.run import Sandbox
from builder.steps import kernel, overlay, prune, python
from builder.steps.tree import entries, listed
from builder.steps.users import make_users

_MOUNT_POINTS = ("boot", "dev", "home", "mnt", "opt", "proc", "root", "run", "sys", "tmp", "var")


@dataclass(frozen=True, slots=True)
class Trust:
    """What the image trusts: the first TUF root, and who may sign system extensions (PEM)."""

    root: bytes
    extensions: bytes


def prepare(tree: Path, definition: Definition, tools: Sandbox, epoch: int) -> None:
    """The part that comes before the initrd is taken from the tree: its kernel and its name."""
    kernel.keep_modules(tree, tools, definition.modules)
    overlay.write_os_release(
        tree,
        name=definition.name,
        version=str(definition.version),
        suite=definition.suite,
        epoch=epoch,
    )


def complete(tree: Path, definition: Definition, tools: Sandbox, trust: Trust, epoch: int) -> None:
    """Add what is ours, and take away what a host does not need.

    Raises:
        ProofError: what is left breaks the definition's rules.
    """
    programs = definition.python.programs
    python.add_packages(tree, definition.python.packages)
    entry_points = [entry.partition(":")[0] for entry in programs.values()]
    python.trim(tree, tools, [*entry_points, *definition.python.keep])
    prune.prune(tree, definition.prune, definition.keep, tools)
    python.add_launchers(tree, programs)
    _clear_setuid(tree, definition.setuid)
    write_files(tree, laid_files(definition, definition.trees, definition.files))
    make_users(tree, tools, epoch)
    overlay.want_units(tree, definition.units.wanted)
    overlay.require_units(tree, "boot-complete.target", definition.health.units)
    overlay.mask_units(tree, definition.units.masked)
    _write_settings(tree, definition, trust)
    for name in _MOUNT_POINTS:
        (tree / name).mkdir(exist_ok=True)
    rules = prune.Rules(definition.forbidden, definition.setuid)
    prune.prove(tree, rules)


def _clear_setuid(tree: Path, allowed: tuple[str, ...]) -> None:
    """Take the privilege from Debian's setuid programs; root runs them all here."""
    for path in entries(tree):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & 0o6000 and not listed(tree, path, allowed):
            path.chmod(stat.S_IMODE(mode) & 0o1777)


def _write_settings(tree: Path, definition: Definition, trust: Trust) -> None:
    folder = tree / "usr/lib/bedplate"
    folder.mkdir(parents=True, exist_ok=True)
    # JSON is YAML, and spares the host a YAML reader at every boot.
    (folder / "update.yaml").write_text(json.dumps(definition.update, indent=1) + "\n")
    share = tree / "usr/share/bedplate"
    share.mkdir(parents=True, exist_ok=True)
    (share / "root.json").write_bytes(trust.root)
    certificates = tree / "usr/lib/verity.d"
    certificates.mkdir(exist_ok=True)
    (certificates / "bedplate-extensions.crt").write_bytes(trust.extensions)
