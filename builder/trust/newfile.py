"""Files that must never replace another: private keys."""

import os
import tempfile
from pathlib import Path

from updater.files import sync_directory


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Put `data` at `path` in one piece, unless something is there already.

    Raises:
        FileExistsError: `path` exists; it is untouched.
        OSError: the folder is not writable or the disk is full; `path` was not made.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # link(2), unlike rename(2), refuses to replace.
        path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
