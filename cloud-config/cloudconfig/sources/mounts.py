"""File systems that somebody else made, mounted only while they are read."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOG = logging.getLogger(__name__)


@contextmanager
def read_only(device: Path, at: Path) -> Iterator[None]:
    """Mount a vfat or ISO 9660 file system for the time of the block; no other kind is tried.

    Raises:
        OSError: the folder cannot be made.
        ProgramError: it cannot be mounted.
    """
    # subprocess is slow to import, and most machines have no such disk.
    from updater import programs  # noqa: PLC0415

    at.mkdir(mode=0o700, parents=True, exist_ok=True)
    if at.is_mount():
        # Left by a run that was killed.
        programs.unmount(at)
    options = "ro,nosuid,nodev,noexec"
    programs.run(("mount", "-t", "iso9660,vfat", "-o", options, str(device), str(at)))
    try:
        yield
    finally:
        try:
            programs.unmount(at)
            at.rmdir()
        except (programs.ProgramError, OSError) as error:
            # What was read is as good as before; the next run unmounts it.
            _LOG.warning("%s: still mounted: %s", at, error)


def read_below(folder: Path, name: str, limit: int) -> bytes | None:
    """At most `limit` + 1 bytes of the file `name` below `folder`, or None if there is none.

    Symbolic links are not followed, Rock Ridge has them: they could lead out of the folder.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in Path(name).parts:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no file", name)
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            return stream.read(limit + 1)
    except FileNotFoundError:
        return None
    finally:
        os.close(descriptor)
