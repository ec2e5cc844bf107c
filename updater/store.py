"""The state file's two copies, and the lock under which they change.

The daemon and the commands change the state in short steps: read, one transition, write. Nobody
holds a state in memory across steps, so that a `mark-good` is never undone by a slow download.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from updater.errors import BedplateError
from updater.files import write_atomic
from updater.state import State, recover, render

_NAMES = ("state.json", "state.json.bak")
# There while an update is pending: bedplate-boot.service has something to do (its Condition).
_PENDING = "pending"


class BusyError(BedplateError):
    """Another updater is at work on this host."""


@contextmanager
def locked(path: Path, *, wait: bool, what: str = "another update") -> Iterator[None]:
    """Hold an exclusive lock on `path`; the kernel frees it when the process ends (flock(2)).

    Raises:
        BusyError: somebody else holds it, and `wait` is not set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise BusyError(f"{what} is at work on this host; try again when it is done") from error
        yield


class Store:
    """The state in `folder`; `runtime` holds its lock."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self._folder = folder
        self._lock = runtime / "state.lock"

    def load(self) -> State:
        """What is known; a missing or torn copy never fails."""
        return recover(_copies(self._folder))

    def update(self, step: Callable[[State], State]) -> State:
        """Take one step and write its result, if it differs, to both copies.

        Raises:
            OSError: nothing can be written; the old state stands.
        """
        with locked(self._lock, wait=True):
            before = self.load()
            after = step(before)
            if after != before:
                after = replace(after, serial=before.serial + 1)
                self._folder.mkdir(parents=True, exist_ok=True)
                if after.pending is not None:
                    (self._folder / _PENDING).touch()
                for name in _NAMES:
                    write_atomic(self._folder / name, render(after), mode=0o600)
                if after.pending is None:
                    (self._folder / _PENDING).unlink(missing_ok=True)
        return after


def _copies(folder: Path) -> Iterator[bytes]:
    for name in _NAMES:
        try:
            yield (folder / name).read_bytes()
        except OSError:
            # Missing at the first start, or unreadable: the other copy counts.
            continue
