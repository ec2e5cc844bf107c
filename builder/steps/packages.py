"""Packages to a root tar, with the lock that names every .deb; from a mirror or from a lock."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from builder.inventory.dpkg import read_packages
from builder.inventory.lock import (
    Lock,
    check_archives,
    lock_packages,
    parse_lock,
    render_lock,
)
from builder.run import Sandbox
from builder.scratch import scratch
from builder.steps.bootstrap import Selection, bootstrap, unpack


@dataclass(frozen=True, slots=True)
class RootPackages:
    """A bootstrapped root: its tar file, and the lock that says what it was made of.

    Attributes:
        tar: the whole Debian tree, with documentation and package database.
        lock: every .deb in it; its epoch is the age of every file that a build makes.
    """

    tar: Path
    lock: Lock


def resolve(
    selection: Selection, cache: Path, *, on_line: Callable[[str], None], fresh: bool = False
) -> RootPackages:
    """Bootstrap what the mirror offers today, or take what the cache holds of it.

    Args:
        fresh: ask the mirror again even if the cache has an answer.
    """
    folder = cache / "roots" / selection.key()
    if fresh or not folder.is_dir():
        with scratch(folder.parent, ".root-") as beside:
            unfinished = beside / "root"
            _bootstrap(selection, unfinished, cache / "archives", int(time.time()), on_line)
            if folder.is_dir():
                shutil.rmtree(folder)
            unfinished.rename(folder)
    return _read(folder)


def rebuild(
    selection: Selection,
    lock: Lock,
    *,
    archives: Path,
    work: Path,
    tools: Sandbox,
    on_line: Callable[[str], None],
) -> RootPackages:
    """Bootstrap from the .debs of a lock and nothing else, into `work`.

    With a mirror in the selection (a snapshot, say) the .debs that `archives` lacks come from
    there; without one they must all be in `archives`.

    Raises:
        LockError: a .deb is missing or is not the one that was locked.
    """
    pool = _made(work / "pool")
    for package in lock.packages:
        if (archives / package.filename).is_file():
            shutil.copyfile(archives / package.filename, pool / package.filename)
    pinned = tuple(f"{package.name}={package.version}" for package in lock.packages)
    if selection.mirror is None:
        check_archives(lock, pool)
        index = replace(tools, readable=(*tools.readable, pool)).run(
            ["dpkg-scanpackages", "--multiversion", "."], cwd=pool
        )
        (pool / "Packages").write_text(index)
        pinned_selection = replace(
            selection, packages=pinned, mirror=f"deb [trusted=yes] copy://{pool} ./"
        )
    else:
        pinned_selection = replace(selection, packages=pinned)
    _bootstrap(pinned_selection, work / "bootstrapped", pool, lock.epoch, on_line)
    found = _read(work / "bootstrapped")
    check_archives(lock, pool)
    return found


def _bootstrap(
    selection: Selection, folder: Path, archives: Path, epoch: int, on_line: Callable[[str], None]
) -> None:
    _made(folder)
    bootstrap(selection, folder / "root.tar", archives=archives, epoch=epoch, on_line=on_line)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        tree = Path(name) / "tree"
        unpack(folder / "root.tar", tree, only=("./var/lib/dpkg",))
        lock = lock_packages(read_packages(tree), archives, selection.suite, epoch)
    (folder / "lock.json").write_bytes(render_lock(lock))


def _read(folder: Path) -> RootPackages:
    path = folder / "lock.json"
    return RootPackages(folder / "root.tar", parse_lock(path.read_bytes(), str(path)))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
