"""How fast this machine hashes, stages and verifies: slots are files, the server is on loopback."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from builder.run import run
from builder.serve import serving
from updater import stage, verity
from updater.fetch import Fetcher
from updater.slots import EMPTY_LABEL, Layout, Partition, Slot

from .release import Release


@dataclass(frozen=True, slots=True)
class Speeds:
    """Bytes of the image a second; `wire` is what staging received, in bytes."""

    sha256sum: float
    hashing: float
    copying: float
    fetching: float
    verifying: float
    wire: int


def measure(old: Release, new: Release, work: Path) -> Speeds:
    """Stage `new` beside `old`, stage it from nothing, verify it; and its bare hashing."""
    size = new.manifest.root.size
    tree, data = new.tree(), new.image.read_bytes()
    bare = _seconds(lambda: run(["sha256sum", str(new.image)]))
    found = bytearray(tree.blocks)
    hashing = _seconds(partial(tree.matching, 0, data, found))
    folder = work / "slots"
    folder.mkdir()
    copying, wire = _staged(_layout(folder, old, new), new)
    layout = _layout(folder, None, new)
    fetching, _ = _staged(layout, new)
    verifying = _seconds(lambda: stage.verify(tree, layout.inactive, _silent))
    return Speeds(
        sha256sum=size / bare,
        hashing=size / hashing,
        copying=size / copying,
        fetching=size / fetching,
        verifying=size / verifying,
        wire=wire,
    )


def _silent(_progress: stage.Progress) -> None:
    """Say nothing."""


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _staged(layout: Layout, release: Release) -> tuple[float, int]:
    """Seconds and received bytes of one staging."""
    fetcher = Fetcher()
    with serving(release.folder, port=0) as server:
        seconds = _seconds(
            lambda: stage.stage(release.manifest, server.url, fetcher, layout, _silent)
        )
    return seconds, fetcher.received


def _layout(folder: Path, running: Release | None, new: Release) -> Layout:
    """Slots that are files: `running` in slot A, or nothing that is of use; slot B is empty."""
    root, hashes = new.manifest.root.size, verity.tree_length(new.manifest.root.blocks)
    active = folder / "a.root", folder / "a.verity"
    if running is None:
        for path in active:
            path.write_bytes(bytes(4096))
    else:
        active = running.image, running.folder / running.manifest.tree.path
    inactive = folder / "b.root", folder / "b.verity"
    for path, size in zip(inactive, (root, hashes), strict=True):
        path.unlink(missing_ok=True)
        with path.open("wb") as stream:
            stream.truncate(size)
    return Layout(
        disk=folder / "disk",
        root_hash=running.manifest.root.hash if running else "0" * 64,
        active=Slot(*(_partition(number, path) for number, path in enumerate(active, 2))),
        inactive=Slot(*(_partition(number, path) for number, path in enumerate(inactive, 4))),
        esp=_partition(1, folder / "esp"),
    )


def _partition(number: int, path: Path) -> Partition:
    size = path.stat().st_size if path.exists() else 0
    return Partition(number, path, 0, size, EMPTY_LABEL, UUID(int=number))
