"""Pruning: from a Debian tree to what a host needs, and the proof that the rest is gone."""

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from builder.run import Sandbox
from builder.steps.elf import library_closure, needed_libraries
from updater.errors import BedplateError


class ProofError(BedplateError):
    """The finished tree holds what it must not hold; the message lists the offenders."""


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A glob over whole relative paths: `**` crosses folders, `*` and `?` do not."""
    text = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*")
    return re.compile(text.replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))


def matches(relative: str, patterns: Iterable[str]) -> bool:
    """Whether a path relative to the tree's root matches one of the globs as a whole."""
    return any(_compiled(pattern).fullmatch(relative) for pattern in patterns)


def listed(tree: Path, path: Path, patterns: Iterable[str]) -> bool:
    """Whether a path below `tree` matches one of the globs."""
    return matches(str(path.relative_to(tree)), patterns)


def entries(tree: Path) -> Iterator[Path]:
    """Every file and link below `tree`, in a fixed order, without following links."""
    for folder, folders, files in os.walk(tree):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(set(folders) - set(links))
        for name in sorted([*files, *links]):
            yield here / name


def within(tree: Path, path: Path) -> Path:
    """Where `path` ends when its links are followed as a process with root `tree` would."""
    for _ in range(40):
        if not path.is_symlink():
            return path
        target = path.readlink()
        base = tree if target.is_absolute() else path.parent
        path = Path(os.path.normpath(base / str(target).lstrip("/")))
        # usrmerge: /bin and friends are links themselves
        relative = path.relative_to(tree) if path.is_relative_to(tree) else Path()
        if relative.parts[:1] and (tree / relative.parts[0]).is_symlink():
            path = tree / "usr" / relative
    return path


def prune(tree: Path, drop: Sequence[str], keep: Sequence[str], tools: Sandbox) -> None:
    """Remove what matches `drop`, but for what matches `keep` and what the kept files need.

    What is kept takes along where its links end and the libraries it is linked to. Scripts
    whose interpreter is gone, links that end nowhere and empty folders go last.
    """
    everything = list(entries(tree))
    named = {path: str(path.relative_to(tree)) for path in everything}
    stays = {path for path, name in named.items() if matches(name, keep) or not matches(name, drop)}
    stays |= {within(tree, path) for path in stays}
    stays |= library_closure(tree, stays, needed_libraries(tools, everything))
    for path in everything:
        if path not in stays:
            path.unlink()
    for path in entries(tree):
        if _is_orphan(tree, path):
            path.unlink()
    _remove_empty_folders(tree / "usr")
    for folder in ("boot", "home", "media", "mnt", "opt", "srv", "tmp", "run", "var", "root"):
        shutil.rmtree(tree / folder, ignore_errors=True)


def _is_orphan(tree: Path, path: Path) -> bool:
    if path.is_symlink():
        target = str(path.readlink())
        if target.lstrip("./").startswith(("run/", "proc/", "dev/", "var/", "sys/")):
            return False
        return not within(tree, path).exists()
    if not path.stat().st_mode & 0o111:
        return False
    with path.open("rb") as stream:
        if stream.read(2) != b"#!":
            return False
        words = stream.readline(256).split()
    interpreter = words[0].decode(errors="replace").lstrip("/") if words else "missing"
    return not within(tree, tree / interpreter).exists()


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
            if mode & 0o111 and _is_orphan(tree, path):
                found.append(f"/{name}: a script whose interpreter is not in the image")
        elif not stat.S_ISLNK(mode):
            found.append(f"/{name}: neither file, folder nor link")
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
