"""Pruning: from a Debian tree to what a host needs, and the proof that the rest is gone."""

import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.run import Sandbox
from builder.steps.elf import library_closure, needed_libraries
from builder.steps.tree import entries, leads_somewhere, matches, trail, within
from updater.errors import BedplateError

# Filled when the host runs, so a link may end there though the image has nothing in it.
_FILLED_LATER = frozenset({"dev", "proc", "run", "sys", "tmp", "var"})
# What a host mounts or never has; `complete` makes the mount points anew, empty.
_TOP_FOLDERS = ("boot", "home", "media", "mnt", "opt", "srv", "tmp", "run", "var", "root")


class ProofError(BedplateError):
    """The finished tree holds what it must not hold; the message lists the offenders."""


def prune(tree: Path, drop: Sequence[str], keep: Sequence[str], tools: Sandbox) -> None:
    """Remove what matches `drop`, but for what matches `keep` and what the kept files need.

    What is kept takes along the links it leads through, where they end, and the libraries it is
    linked to. Scripts whose interpreter is gone, links that end nowhere and empty folders go last.
    """
    everything = list(entries(tree))
    named = {path: str(path.relative_to(tree)) for path in everything}
    stays = {path for path, name in named.items() if matches(name, keep) or not matches(name, drop)}
    stays |= {passed for path in stays if path.is_symlink() for passed in trail(tree, path)}
    stays |= library_closure(tree, stays, needed_libraries(tools, everything))
    for path in everything:
        if path not in stays:
            path.unlink()
    for folder in _TOP_FOLDERS:
        shutil.rmtree(tree / folder, ignore_errors=True)
    _remove_empty_folders(tree / "usr")
    # Without an orphan others are orphans too: links to it or to its folder, what it interprets.
    while orphans := [path for path in entries(tree) if _is_orphan(tree, path)]:
        for path in orphans:
            path.unlink()
        _remove_empty_folders(tree / "usr")


def _is_orphan(tree: Path, path: Path) -> bool:
    """Whether `path` is a link that ends nowhere, or a script without its interpreter."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        top = within(tree, path).relative_to(tree).parts[:1]
        return not _FILLED_LATER.intersection(top) and not leads_somewhere(tree, path)
    if not stat.S_ISREG(mode) or not mode & 0o111:
        return False
    with path.open("rb") as stream:
        if stream.read(2) != b"#!":
            return False
        words = stream.readline(256).split()
    interpreter = words[0].decode(errors="replace").lstrip("/") if words else "missing"
    return not leads_somewhere(tree, tree / interpreter)


def _remove_empty_folders(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        path = Path(folder)
        if not any(path.iterdir()):
            path.rmdir()


@dataclass(frozen=True, slots=True)
class Rules:
    """What a finished tree is held to: see `forbidden` and `setuid` in the definition."""

    forbidden: tuple[str, ...]
    setuid: tuple[str, ...]


def offenders(tree: Path, rules: Rules) -> list[str]:
    """What breaks the rules, a line each, in the order of the tree; empty is the proof."""
    found = []
    for path in entries(tree):
        name = str(path.relative_to(tree))
        if matches(name, rules.forbidden):
            found.append(f"/{name}: forbidden")
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            if mode & (stat.S_ISUID | stat.S_ISGID) and not matches(name, rules.setuid):
                found.append(f"/{name}: setuid or setgid, and not on the list")
            if _is_orphan(tree, path):
                found.append(f"/{name}: a script whose interpreter is not in the image")
        elif not stat.S_ISLNK(mode):
            found.append(f"/{name}: neither file, folder nor link")
        elif _is_orphan(tree, path):
            found.append(f"/{name}: a link to {path.readlink()}, which is not in the image")
    return found


def prove(tree: Path, rules: Rules) -> None:
    """Look at every file of the finished tree.

    Raises:
        ProofError: with the list of offenders.
    """
    if found := offenders(tree, rules):
        listing = "\n".join(f"  {line}" for line in found)
        raise ProofError(
            f"the finished image breaks {len(found)} of its rules; prune these, or allow them "
            f"in the definition:\n{listing}"
        )
