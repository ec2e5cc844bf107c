"""The EFI system partition: mounted only while it is read or written, changed only by rename.

FAT has no journal. What is written goes under a name that no boot loader lists, is brought to the
disk and read back, and gets its real name last (Boot Loader Specification, type 2 entries).
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from updater import bootentries, programs
from updater.bootentries import Entry, Found
from updater.errors import BedplateError
from updater.files import sync_directory
from updater.version import Version

_FOLDER = Path("EFI/Linux")
_PIECE = 1024 * 1024
# FAT rounds files up to clusters and grows folders by them.
_SPARE = 1024 * 1024


class EspError(BedplateError):
    """The EFI system partition cannot be read or written, or lacks what must be on it."""


class Esp:
    """A mounted ESP; `folder` holds the boot entries."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.folder = root / _FOLDER

    def names(self) -> list[str]:
        """The names in the folder of boot entries; none if there is no such folder."""
        try:
            return sorted(os.listdir(self.folder))  # noqa: PTH208 - names, not paths
        except FileNotFoundError:
            return []

    def entries(self) -> tuple[Found, ...]:
        """Our boot entries."""
        return bootentries.ours(self.names())

    def free_for(self, running: Version) -> int:
        """Bytes that a new entry may have, once everything but `running` has made way for it."""
        space = os.statvfs(self._root)
        doomed = bootentries.to_remove(self.names(), running)
        freed = sum((self.folder / name).stat().st_size for name in doomed)
        return max(0, space.f_bavail * space.f_frsize + freed - _SPARE)

    def remove(self, names: tuple[str, ...]) -> None:
        """Remove files from the folder of boot entries, durably."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        if names:
            self._sync()

    def prepare(self, entry: Entry, sha256: str, fill: Callable[[BinaryIO], None]) -> None:
        """Write an entry under its temporary name and read it back.

        Args:
            entry: what it will be called by `install`.
            sha256: the hash of its bytes, in hex.
            fill: writes the bytes to the file that it is given.

        Raises:
            EspError: what was read back is not what should have been written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / bootentries.temporary_name(entry)
        try:
            with path.open("w+b") as stream:
                fill(stream)
                stream.flush()
                os.fsync(stream.fileno())
                # From the disk, not from memory.
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                stream.seek(0)
                _check(path, stream, sha256)
        except BaseException:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        self._sync()

    def install(self, entry: Entry) -> None:
        """Give a prepared entry its name: from here on the boot loader may choose it."""
        (self.folder / bootentries.temporary_name(entry)).rename(self.folder / entry.name)
        self._sync()

    def rename(self, found: Found, entry: Entry) -> None:
        """Change an entry's counter."""
        if found.name != entry.name:
            (self.folder / found.name).rename(self.folder / entry.name)
            self._sync()

    def _sync(self) -> None:
        sync_directory(self.folder)
        # The FAT itself belongs to no file; there is no syncfs(2) in Python's library.
        os.sync()


def _check(path: Path, stream: BinaryIO, sha256: str) -> None:
    state = hashlib.sha256()
    while piece := stream.read(_PIECE):
        state.update(piece)
    if state.hexdigest() != sha256:
        raise EspError(
            f"{path.name}: read back with SHA-256 {state.hexdigest()}, expected {sha256}"
        )


@contextmanager
def mounted(device: Path, at: Path) -> Iterator[Esp]:
    """Mount the ESP for the time of the block.

    Raises:
        EspError: it cannot be mounted, read or written.
    """
    try:
        at.mkdir(mode=0o700, parents=True, exist_ok=True)
        if at.is_mount():
            # Left by an updater that was killed.
            programs.unmount(at)
        programs.mount_vfat(device, at)
    except (OSError, programs.ProgramError) as error:
        raise EspError(f"cannot mount the EFI system partition {device}: {error}") from error
    try:
        yield Esp(at)
    except OSError as error:
        raise EspError(
            f"EFI system partition {device}: {error.filename or at}: {error.strerror}"
        ) from error
    finally:
        programs.unmount(at)
