"""How finished artefacts get to where a person looks for them: whole, and the same everywhere."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from updater.errors import BedplateError
from updater.files import sync_directory

_UMASK = 0o022


def put(made: Path, final: Path) -> None:
    """Move a finished file or folder to `final`, in place of what is there.

    It is copied beside `final` if it comes from another file system, so that an interruption
    leaves nothing half-written under the final name.

    Raises:
        BedplateError: it cannot be copied there, because the disk is full, say.
        OSError: the folder cannot be written.
    """

    def copied(source: str, target: str) -> str:
        try:
            return shutil.copy2(source, target)
        except OSError as error:
            raise BedplateError(
                f"{final}: cannot be written: {error.strerror}; what was there before is untouched"
            ) from error

    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{final.name}-") as name:
        beside = Path(name) / "new"
        shutil.move(made, beside, copy_function=copied)
        for each in (beside, *beside.rglob("*")):
            _sync(each)
        if final.is_dir():
            # rename(2) replaces a file, but no folder that holds something.
            final.rename(Path(name) / "old")
        beside.rename(final)
    sync_directory(final.parent)


def _sync(path: Path) -> None:
    """Make what is in a file, or which names are in a folder, durable."""
    if path.is_dir():
        sync_directory(path)
    elif path.is_file():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


@contextmanager
def fixed_umask() -> Iterator[None]:
    """Make files as readable as in any other build, whatever umask a person has.

    Permissions are part of an image: without this a umask of 077 would make one that no service
    but root's can read, and 002 one with another root hash.
    """
    before = os.umask(_UMASK)
    try:
        yield
    finally:
        os.umask(before)
