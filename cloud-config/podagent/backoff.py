"""How long to wait before something that failed is tried again: kubelet's rule.

10 s, doubled with each try up to 300 s, and forgotten when it went well for 10 minutes
(k8s.io/client-go/util/flowcontrol, Backoff, with kubelet's MaxContainerBackOff). The first restart
of a container comes at once, as there.
"""

from dataclasses import dataclass

FIRST = 10.0  # seconds
LONGEST = 300.0
FORGET = 2 * LONGEST


@dataclass(frozen=True, slots=True)
class Backoff:
    """What is remembered of tries; times are Unix seconds.

    `total` counts the tries since the agent began, `delay` those in a row.
    """

    delay: float = 0  # seconds to wait after the next end
    last: float = 0  # when the last try was
    total: int = 0
    why: str = ""  # the last try failed with this; "" when it went well


def due(backoff: Backoff | None, ended: float, now: float) -> float:
    """When to try again what ended then; now or earlier means now.

    A time that is to come cannot have been (the clock was set back), and does not count.
    """
    if backoff is None or _forgotten(backoff, ended):
        return now
    return max((at for at in (ended, backoff.last) if at <= now), default=now) + backoff.delay


def tried(backoff: Backoff | None, ended: float, now: float, why: str = "") -> Backoff:
    """What to remember once it was tried again; `why` if that failed."""
    before = backoff or Backoff()
    doubled = FIRST if _forgotten(before, ended) else min(2 * before.delay, LONGEST)
    return Backoff(doubled, now, before.total + 1, why)


def failed(backoff: Backoff | None, now: float, why: str) -> Backoff:
    """What to remember of a try that failed at once: there was no run that could end."""
    return tried(backoff, now, now, why)


def retry(backoff: Backoff | None, now: float) -> float:
    """When to do again what failed at once; now or earlier means now."""
    return now if backoff is None else due(backoff, backoff.last, now)


def _forgotten(backoff: Backoff, ended: float) -> bool:
    return backoff.delay == 0 or ended - backoff.last > FORGET
