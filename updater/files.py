"""Writes that a power cut cannot tear: temp + fsync + rename + fsync of the directory."""

import os
import threading
from contextlib import suppress
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable (fsync(2), NOTES on directories)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put `data` at `path` so that a reader sees the old bytes or the new ones, never a part.

    Raises:
        OSError: the disk is full or the folder is not writable; the old file is untouched.
    """
    # A name of this thread's own, without `tempfile`, which costs a small host half a second.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_if_other(path: Path, data: bytes, mode: int = 0o644) -> bool:
    """Write a file unless it holds `data` already; whether it was written.

    Raises:
        OSError: it cannot be written.
    """
    with suppress(OSError):
        if path.read_bytes() == data:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data, mode)
    return True
