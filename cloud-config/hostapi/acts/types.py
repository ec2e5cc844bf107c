"""What every act is given, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hostapi.contract import Value

SOCKET = Path("/run/bedplate/api/acts.sock")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for; `hostapi.contract` has found `arguments` and `document` right.

    `who` is the name (CN) in the client's certificate, for the journal.
    """

    who: str
    arguments: Mapping[str, Value]
    document: str | None = None


class Tell(Protocol):
    """Where an act tells of its work before it ends; a client that has gone away is no error."""

    def progress(self, found: Mapping[str, object]) -> None:
        """Send one object of a stream."""

    def data(self, block: bytes) -> None:
        """Send a part of a file; parts come in order, each of at most 1 MiB."""


# Gives the result, one JSON object, to which the daemon adds "schema". Raises InputError for what
# the client got wrong, `updater.store.BusyError` for what is under way, FileNotFoundError for what
# is not there, any other BedplateError or OSError for a failure.
Act = Callable[[Request, Tell], Mapping[str, object]]
