"""A connection of a client that has shown its certificate."""

import json
import time
from dataclasses import dataclass, field

from tornado.iostream import SSLIOStream

from hostapi.access import Client


@dataclass(slots=True, eq=False)
class Visitor:
    """One connection; `origin` is its address. `since` (monotonic seconds) it has been idle.

    Its certificate `ends` at a time in Unix seconds: it was good when the connection began, and
    TLS does not look again.
    """

    client: Client
    ends: float
    origin: str
    stream: SSLIOStream
    since: float = field(default_factory=time.monotonic)
    _busy: int = 0

    def __str__(self) -> str:
        role = self.client.role
        name = json.dumps(self.client.name) if self.client.name else "nobody"
        return f"{name} ({role.name.lower() if role else 'no role'}) from {self.origin}"

    def left(self) -> float:
        """Seconds until its certificate ends; 0 or less when it has."""
        return self.ends - time.time()

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
