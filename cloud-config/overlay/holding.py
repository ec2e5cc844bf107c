"""The life of this host's lease: what to do next, and when. Pure; times come from `boottime`.

A lease ends a TTL after etcd took the last grant or renewal, and etcd took it after it was sent.
So until the sending + TTL nobody else can have the subnet, and `margin` before that this host
stops its traffic (the fence), whatever it knows of etcd. The margin pays for all that is slow: a
request on its way, clocks of different speed, an agent that is started again after a crash.

The lease is renewed much more often than it must be (24 times before the fence: about hourly by
default), since an outage of etcd is survived for as long as the last renewal is young: flannel
renews once a day, an hour before the end, and has that hour only. A renewal costs etcd next to
nothing: 10,000 hosts make three a second.
"""

import json
import math
import time
from dataclasses import dataclass, replace
from enum import Enum

from overlay.lease import Lease, LeaseError, Subnets, parse_subnets, parse_terms
from updater.errors import InputError

_RENEWALS = 24
_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0
_MOST_DOUBLINGS = 16


def boottime() -> float:
    """Seconds since the boot, with those in which the machine slept.

    CLOCK_MONOTONIC stands still in suspend (clock_gettime(2)) while etcd's clock runs on: by it, a
    host that slept for a day would wake up and go on with a subnet that another host has by now.
    Neither is moved when the time of day is set.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a lease lives in etcd, and how long before its end traffic stops; in seconds."""

    ttl: int = 24 * 60 * 60
    margin: int = 60 * 60

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
        return min(max(1.0, life / _RENEWALS), life / 3)

    @property
    def longest_retry(self) -> float:
        """Seconds between tries while etcd is away: flannel's minute, less for short leases."""
        return min(_LONGEST_RETRY, max(_FIRST_RETRY, (self.ttl - self.margin) / 8))


class Task(Enum):
    """What there is to do."""

    JOIN = "join"
    RENEW = "renew"
    FENCE = "fence"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Step:
    """Do this at `at` (by `boottime`), at once if that is past; and look again then."""

    task: Task
    at: float


@dataclass(frozen=True, slots=True)
class Holding:
    """What we hold; `until` is the fence, `due` the next try to join or to renew.

    `lost` says why the lease is no more ours while its traffic may still run; `problem` what
    failed in the last try; `previous` is what we had last.
    """

    lease: Lease | None = None
    until: float = 0.0
    due: float = 0.0
    failures: int = 0
    problem: str | None = None
    lost: str | None = None
    previous: Subnets | None = None

    def may_forward(self, now: float) -> bool:
        """Whether traffic of the subnet may run: only what is true now, ask again after `until`."""
        return self.lease is not None and self.lost is None and now < self.until


def next_step(holding: Holding, now: float) -> Step:
    """What to do; after each step the caller tells how it went by one of the functions below."""
    if holding.lease is None:
        return Step(Task.JOIN if now >= holding.due else Task.WAIT, holding.due)
    if not holding.may_forward(now):
        return Step(Task.FENCE, now)
    if now >= holding.due:
        return Step(Task.RENEW, holding.due)
    return Step(Task.WAIT, min(holding.due, holding.until))


def held(  # noqa: PLR0917 - a moment, a length of time and a share
    timing: Timing,
    lease: Lease,
    sent: float,
    seconds: float,
    jitter: float,
    problem: str | None = None,
) -> Holding:
    """After etcd granted or renewed.

    Args:
        sent: when the grant or the renewal was sent, not when it was answered.
        seconds: the TTL that etcd answered; infinite for a reservation.
        jitter: at random from 0 to 1, so that hosts that joined at once part.
        problem: what did not work though the lease is ours.
    """
    return Holding(
        lease=lease,
        until=sent + seconds - (timing.margin if math.isfinite(seconds) else 0),
        due=sent + timing.renewal * (0.75 + 0.25 * jitter),
        problem=problem,
        previous=lease.subnets,
    )


def failed(timing: Timing, holding: Holding, problem: str, now: float, jitter: float) -> Holding:
    """A try to join or to renew failed and may be repeated: later each time, up to a minute."""
    pause = min(_FIRST_RETRY * 2 ** min(holding.failures, _MOST_DOUBLINGS), timing.longest_retry)
    due = now + pause * (0.5 + 0.5 * jitter)
    return replace(holding, failures=holding.failures + 1, problem=problem, due=due)


def lost(holding: Holding, reason: str) -> Holding:
    """The lease is no more ours, as etcd says: the next step is the fence."""
    return replace(holding, lost=reason) if holding.lease else holding


def fenced(holding: Holding, now: float) -> Holding:
    """Traffic has stopped; the next step is to begin anew."""
    return Holding(due=now, problem=holding.lost or holding.problem, previous=holding.previous)


def changed(holding: Holding, lease: Lease) -> Holding:
    """Our lease has new terms, or was made a reservation, at another revision."""
    return replace(holding, lease=lease)


def hurry(holding: Holding, now: float) -> Holding:
    """Ask etcd at once: something happened after which the lease may be gone.

    Such as a broken watch, or a jump of the time of day: a virtual machine that its host stopped
    for a while knows of it by nothing else, as all clocks of its own stood still.
    """
    return replace(holding, due=min(holding.due, now), failures=0)


def save(holding: Holding) -> bytes:
    """What an agent that is started again must know, to be written below /run before any traffic.

    There it ends with the boot, as do the kernel's devices and this clock.
    """
    lease = holding.lease
    if lease is None:
        return b"{}"
    document = {
        "subnets": str(lease.subnets),
        "terms": lease.terms.encode().decode(),
        "lease": lease.lease,
        "revision": lease.revision,
        "until": holding.until if math.isfinite(holding.until) else None,
    }
    return json.dumps(document).encode()


def restore(text: bytes, now: float) -> Holding:
    """The reverse of `save`, with the renewal due at once.

    Raises:
        ValueError: it is not what `save` wrote.
    """
    document = json.loads(text)
    if document == {}:
        return Holding()
    try:
        lease = Lease(
            parse_subnets(document["subnets"]),
            parse_terms(document["terms"].encode()),
            int(document["lease"]),
            int(document["revision"]),
        )
        until = math.inf if document["until"] is None else float(document["until"])
    except (KeyError, TypeError, AttributeError, LeaseError) as error:
        raise ValueError(f"not a saved lease: {error!r}") from error
    return Holding(lease=lease, until=until, due=now, previous=lease.subnets)
