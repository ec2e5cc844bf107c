"""A connection of a client that has shown its certificate."""

import time
from dataclasses import dataclass, field

from tornado.iostream import SSLIOStream

from hostapi.access import Client


@dataclass(slots=True, eq=False)
class Visitor:
    """One connection; `origin` is its address. `since` (monotonic seconds) it has been idle."""

    client: Client
    origin: str
    stream: SSLIOStream
    since: float = field(default_factory=time.monotonic)
    _busy: int = 0

    def __str__(self) -> str:
        return self.origin

    def begin(self) -> None:
        """A request has come."""
        self._busy += 1

    def end(self) -> None:
        """A request has its answer."""
        self._busy -= 1
        self.since = time.monotonic()

    def rested(self, seconds: float) -> bool:
        """Whether nothing was asked for so long that it may go for another."""
        return not self._busy and time.monotonic() - self.since >= seconds
