"""The life of this host's lease: what to do next, and when. Pure; times come from `boottime`.

At the fence (see `hostkit.timing`) this host stops the subnet's traffic.

The lease is renewed much more often than it must be (24 times before the fence: about hourly by
default), since an outage of etcd is survived for as long as the last renewal is young: flannel
renews once a day, an hour before the end, and has that hour only. A renewal costs etcd next to
nothing: 10,000 hosts make three a second.
"""

import json
import math
from dataclasses import dataclass, replace
from enum import Enum

from hostkit.timing import Timing
from overlay.lease import Lease, LeaseError, Subnets, parse_subnets, parse_terms


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
        until=timing.fence(sent, seconds),
        due=timing.due(sent, jitter),
        problem=problem,
        previous=lease.subnets,
    )


def failed(timing: Timing, holding: Holding, problem: str, now: float, jitter: float) -> Holding:
    """A try to join or to renew failed and may be repeated: later each time, up to a minute."""
    due = timing.retry(holding.failures, now, jitter)
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
