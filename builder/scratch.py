"""Folders for what is half-done: gone at the end, or with the next run if theirs was killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch(parent: Path, prefix: str = "") -> Iterator[Path]:
    """A new folder in `parent`, gone at the end whatever happens.

    A run that is killed leaves its folder. Each is locked while its run lives, and the kernel frees
    it when that ends (flock(2)); so the next run finds those of no living one and removes them.

    Args:
        prefix: what the names of such folders begin with, where `parent` holds other things too.

    Raises:
        OSError: `parent` cannot be written.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{prefix}*"):
        _remove(left)
    made = tempfile.TemporaryDirectory(dir=parent, prefix=prefix)
    with _locked(made.name), made as name:
        yield Path(name).resolve()


def _remove(left: Path) -> None:
    """Remove the folder of a run that ended; any other stays, and nothing is said."""
    with suppress(OSError):
        # An empty one may be of a run that has not locked it yet.
        if any(left.iterdir()):
            with _locked(left, fcntl.LOCK_NB):
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _locked(folder: str | Path, how: int = 0) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(descriptor)
