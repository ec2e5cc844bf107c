"""Does to disks what `disks` planned, with the image's programs. It decides nothing.

Between the look and the deed somebody may have come first, so each device is opened alone
(O_EXCL, open(2)), and one that was blank must still be: neither systemd-repart nor mke2fs minds
a file system that is there.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from cloudconfig.desired import SwapFile
from cloudconfig.disks import DiskChange, Format, MakePartitions, Refuse
from cloudconfig.disks_observe import is_blank
from cloudconfig.model.storage import Share
from updater.errors import BedplateError
from updater.files import sync_directory
from updater.programs import run as run_program

_PARTITION_SECONDS = 300.0
_FORMAT_SECONDS = 900.0  # a discard of a large disk takes its time
_SIGNATURE = b"SWAPSPACE2"
_PAGE = 4096  # bytes, on x86-64
_FREE_SHARE = 0.8  # of what is free on /var, the most that a swap file takes


class DiskError(BedplateError):
    """A disk could not be made what it should be; the message names it."""


class Run(Protocol):
    """Runs a program as `updater.programs.run` does."""

    def __call__(self, argv: Sequence[str], *, time_out: float = ...) -> str:
        """Its stdout."""


class DiskApplier:
    """Makes changes below `root`; tests give a `run` and a folder of their own."""

    def __init__(self, root: Path = Path("/"), run: Run = run_program) -> None:
        self._root = root
        self._run = run

    def apply(self, changes: Iterable[DiskChange]) -> list[str]:
        """Make them in order; a line for each that failed or was refused.

        Once partitions could not be made, no file system is: it could go where data is.
        """
        faults: list[str] = []
        failed = ""
        for change in changes:
            try:
                if failed and isinstance(change, Format):
                    raise DiskError(f"{change.device}: left alone, as {failed} was not partitioned")
                self._make(change)
            except (BedplateError, OSError) as error:
                faults.append(str(error))
                if isinstance(change, MakePartitions):
                    failed = change.device
        return faults

    def _make(self, change: DiskChange) -> None:
        match change:
            case MakePartitions():
                self._partition(change)
            case Format():
                self._format(change)
            case SwapFile():
                self._swap(change)
            case Refuse():
                raise DiskError(f"{change.device}: left alone: {change.reason}")

    def _partition(self, change: MakePartitions) -> None:
        self._must_be_free(change.device, blank=not change.wipe)
        folder = self._root / f"run/bedplate/repart-{os.getpid()}"
        folder.mkdir(mode=0o700, parents=True)
        try:
            for name, text in definitions(change.shares).items():
                (folder / name).write_text(text)
            self._run(repart(change, folder), time_out=_PARTITION_SECONDS)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._run(("udevadm", "settle", "--timeout=30"))

    def _format(self, change: Format) -> None:
        self._must_be_free(change.device, blank=not change.wipe)
        self._run(make_file_system(change), time_out=_FORMAT_SECONDS)

    def _must_be_free(self, device: str, *, blank: bool) -> None:
        path = self._root / device.lstrip("/")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
        except OSError as error:
            raise DiskError(f"{device}: left alone: {error.strerror}") from None
        try:
            size = os.lseek(descriptor, 0, os.SEEK_END)
        finally:
            os.close(descriptor)
        if blank and not is_blank(path, size):
            raise DiskError(f"{device}: left alone: it holds data by now")

    def _swap(self, wanted: SwapFile) -> None:
        path = self._root / str(wanted.path).lstrip("/")
        size = _swap_size(path)
        if size is None and (path.exists() or path.is_symlink()):
            raise DiskError(f"{wanted.path}: it is there already, and no swap file; name another")
        if size == wanted.size:
            return
        if str(wanted.path) in self._active():
            raise DiskError(f"{wanted.path}: in use with another size; the next boot makes it anew")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._must_have_room(wanted, path.parent)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        try:
            # swapon(8) takes no file with holes, and nobody else may read what memory held.
            _allocate(new, wanted.size)
            self._run(("mkswap", str(new)))
            new.chmod(0o600)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
        sync_directory(path.parent)

    def _must_have_room(self, wanted: SwapFile, folder: Path) -> None:
        status = os.statvfs(folder)
        free = status.f_bavail * status.f_frsize
        if wanted.size > free * _FREE_SHARE:
            raise DiskError(
                f"{wanted.path}: {wanted.size} bytes of swap would fill the disk, which has"
                f" {free} left; give a smaller size or maxsize"
            )

    def _active(self) -> list[str]:
        try:
            lines = (self._root / "proc/swaps").read_text().splitlines()[1:]
        except OSError:
            return []
        return [line.split()[0] for line in lines if line]


def outstanding(changes: Iterable[DiskChange], root: Path = Path("/")) -> tuple[DiskChange, ...]:
    """Those that are still to be made: a swap file of that size may be there already."""
    return tuple(
        change
        for change in changes
        if not isinstance(change, SwapFile)
        or _swap_size(root / str(change.path).lstrip("/")) != change.size
    )


def apply(changes: Iterable[DiskChange]) -> list[str]:
    """Make changes on this host; a line for each that failed or was refused."""
    return DiskApplier().apply(changes)


def definitions(shares: Sequence[Share]) -> dict[str, str]:
    """A file for each partition, by name (repart.d(5)); what no share takes stays free.

    What becomes swap is no exception: in a partition of that type systemd-repart would make it
    itself, through a loop device.
    """
    free = 100 - sum(share.percent for share in shares)
    found = {}
    for number, share in enumerate(shares, 1):
        # Weights are in thousandths.
        lines = ["[Partition]", "Type=linux-generic", f"Weight={share.percent * 10}"]
        if number == len(shares) and free:
            lines.append(f"PaddingWeight={free * 10}")
        found[f"{number:02}.conf"] = "\n".join(lines) + "\n"
    return found


def repart(change: MakePartitions, folder: Path) -> tuple[str, ...]:
    """The command line: the seed is random, else two disks' partitions had the same UUIDs."""
    return (
        "systemd-repart",
        "--dry-run=no",
        f"--empty={'force' if change.wipe else 'require'}",
        f"--definitions={folder}",
        "--seed=random",
        change.device,
    )


def make_file_system(change: Format) -> tuple[str, ...]:
    """The command line. Without a terminal mke2fs asks nobody and writes over what is there."""
    label = ("-L", change.label) if change.label else ()
    if change.kind == "swap":
        return ("mkswap", *(("-f",) if change.wipe else ()), *label, change.device)
    return ("mkfs.ext4", "-q", *(("-F",) if change.wipe else ()), *label, change.device)


def _swap_size(path: Path) -> int | None:
    """The size of a swap file; None if it is none (linux/swap.h, union swap_header)."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as stream:
        stream.seek(_PAGE - len(_SIGNATURE))
        signed = stream.read(len(_SIGNATURE)) == _SIGNATURE
    return path.stat().st_size if signed else None


def _allocate(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
