"""This host's one lease in etcd: granted, renewed, and the fence at which its replicas must stop.

Unlike a subnet's, this lease is kept beyond the fence: what runs under it was stopped there, but
as long as etcd has it nobody else took our slots, and a renewal that succeeds lets them run again.
Pure but for `tend`; times come from `boottime`.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from hostkit.etcd import Granted, Limits
from hostkit.timing import Timing
from updater.errors import BedplateError

# A host that dies gives its slots back after 30 s. Three renewals may fail before the fence.
TIMING = Timing(ttl=30, margin=10, renewals=4)
# So that a member that hangs leaves time to ask others; for a client that does nothing else.
LIMITS = Limits(connect_seconds=2, call_seconds=3)


class Store(Protocol):
    """What of etcd's client is needed here; see `hostkit.etcd.Client`."""

    def grant(self, seconds: int) -> Granted:
        """A new lease."""

    def keep_alive(self, lease: int) -> int:
        """Renew a lease: its seconds, 0 when it has ended."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """Our lease, 0 without one; `until` is the fence, `due` the next try to renew or to be granted.

    `problem` is why the last try failed.
    """

    lease: int = 0
    until: float = 0.0
    due: float = 0.0
    failures: int = 0
    problem: str | None = None

    def may_run(self, now: float) -> bool:
        """Whether replicas in this lease's slots may run: true only now, ask again at `until`."""
        return self.lease != 0 and now < self.until

    def next_time(self, now: float) -> float:
        """When there is something to do: ask etcd, or stop the replicas."""
        return min(self.due, self.until) if self.may_run(now) else self.due


def held(timing: Timing, lease: int, sent: float, seconds: float, jitter: float) -> Tenure:
    """After etcd granted or renewed.

    Args:
        timing: the lease's terms.
        lease: its number.
        sent: when the call was sent, not when it was answered.
        seconds: the TTL that etcd answered.
        jitter: at random from 0 to 1, so that hosts that began at once part.
    """
    return Tenure(lease, timing.fence(sent, seconds), timing.due(sent, jitter))


def failed(timing: Timing, tenure: Tenure, problem: str, now: float, jitter: float) -> Tenure:
    """A call failed; what we hold is ours until the fence."""
    due = timing.retry(tenure.failures, now, jitter)
    return replace(tenure, due=due, failures=tenure.failures + 1, problem=problem)


def ended(tenure: Tenure, now: float) -> Tenure:
    """Etcd has our lease no more, so our slots are anyone's: nothing may run, ask for a new one."""
    return Tenure(due=now, problem=f"the lease {tenure.lease:x} has ended in etcd")


def hurry(tenure: Tenure, now: float) -> Tenure:
    """Ask etcd at once: something happened after which the lease may be gone.

    Such as a jump of the time of day, the only sign of a virtual machine that was stopped.
    """
    return replace(tenure, due=min(tenure.due, now), failures=0)


def save(tenure: Tenure) -> bytes:
    """What an agent that is started again must know, to be written below /run before any claim."""
    return json.dumps({"lease": tenure.lease, "until": tenure.until}).encode()


def restore(timing: Timing, text: bytes, now: float) -> Tenure:
    """The reverse of `save`, with the renewal due at once.

    Raises:
        ValueError: it is not what `save` wrote in this boot.
    """
    document = json.loads(text)
    try:
        lease, until = int(document["lease"]), float(document["until"])
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"not a saved lease: {error!r}") from error
    if lease < 0 or not math.isfinite(until) or until > now + timing.ttl:
        raise ValueError(f"not a lease of this boot: until {until}, and it is {now}")
    return Tenure(lease, until, due=now)


def tend(
    store: Store, timing: Timing, tenure: Tenure, now: Callable[[], float], random: Random
) -> Tenure:
    """Renew our lease, or be granted one, and what we hold after it; never raises for etcd.

    As long as the client's limits allow: its caller has a thread of its own for it.
    """
    sent = now()
    try:
        if not tenure.lease:
            granted = store.grant(timing.ttl)
            return held(timing, granted.id, sent, granted.seconds, random.random())
        seconds = store.keep_alive(tenure.lease)
    except BedplateError as error:
        return failed(timing, tenure, str(error), now(), random.random())
    if seconds <= 0:
        return ended(tenure, now())
    return held(timing, tenure.lease, sent, seconds, random.random())
