"""How long a lease in etcd lives, when it is renewed, and when its holder must stop: the fence.

A lease ends a TTL after etcd took the last grant or renewal, and etcd took it after it was sent.
So until the sending + TTL nobody else can have what hangs on the lease, and `margin` before that
its holder stops, whatever it knows of etcd. The margin pays for all that is slow: a request on its
way, clocks of different speed, an agent that is started again after a crash.
"""

import math
import time
from dataclasses import dataclass

from updater.errors import InputError

_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0
_MOST_DOUBLINGS = 16


def boottime() -> float:
    """Seconds since the boot, with those in which the machine slept.

    CLOCK_MONOTONIC stands still in suspend (clock_gettime(2)) while etcd's clock runs on: by it, a
    host that slept for a day would wake up and go on with what another host has by now. Neither is
    moved when the time of day is set.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a lease lives in etcd, and how long before its end its holder stops; in seconds.

    `renewals` is how many there are between a grant and the fence.
    """

    ttl: int = 24 * 60 * 60
    margin: int = 60 * 60
    renewals: int = 24

    def __post_init__(self) -> None:
        if not 0 < self.margin < self.ttl:
            raise InputError(
                f"a lease of {self.ttl} s cannot have a margin of {self.margin} s; expected from "
                f"1 to {self.ttl - 1}"
            )

    @property
    def renewal(self) -> float:
        """Seconds between renewals; short leases, which only tests have, are not overdone."""
        life = self.ttl - self.margin
        return min(max(1.0, life / self.renewals), life / 3)

    @property
    def longest_retry(self) -> float:
        """Seconds between tries while etcd is away: flannel's minute, less for short leases."""
        return min(_LONGEST_RETRY, max(_FIRST_RETRY, (self.ttl - self.margin) / 8))

    def fence(self, sent: float, seconds: float) -> float:
        """When to stop, after a grant or a renewal of `seconds`, infinite for what has no end."""
        return sent + seconds - (self.margin if math.isfinite(seconds) else 0)

    def due(self, sent: float, jitter: float) -> float:
        """When to renew next; `jitter` from 0 to 1 at random parts hosts that began at once."""
        return sent + self.renewal * (0.75 + 0.25 * jitter)

    def retry(self, failures: int, now: float, jitter: float) -> float:
        """When to try again after one more than `failures` in a row: later each time."""
        pause = min(_FIRST_RETRY * 2.0 ** min(failures, _MOST_DOUBLINGS), self.longest_retry)
        return now + pause * (0.5 + 0.5 * jitter)
