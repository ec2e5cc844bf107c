"""What the probes of a container say: started, alive, ready; and when each is due.

The rules are kubelet's (pkg/kubelet/prober/worker.go): until the startup probe has succeeded the
others rest; a container without probes is started and ready as soon as it runs; readiness begins
with no and liveness with yes; results count only in a row; once a container is to be restarted
nothing is asked any more. Times are of a clock that does not jump, as the caller has it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from podagent.types import Container, Probe


class ProbeKind(StrEnum):
    """What a probe is for."""

    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"


@dataclass(frozen=True, slots=True)
class Tally:
    """Results of one probe."""

    next: float  # when it is due
    well: bool  # the verdict
    last: bool = False
    row: int = 0  # how many results in a row were like the last


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one run of a container; `run` is ContainerState.started of it."""

    run: float
    tallies: tuple[tuple[ProbeKind, Tally], ...] = ()
    failure: str = ""  # why the container is to be restarted
    unready: str = ""  # why it is not ready

    def tally(self, kind: ProbeKind) -> Tally | None:
        """What this probe said; None when the container has no such probe."""
        return next((tally for each, tally in self.tallies if each is kind), None)

    @property
    def started(self) -> bool:
        """Whether what needs the container may go on."""
        tally = self.tally(ProbeKind.STARTUP)
        return tally is None or tally.well

    @property
    def ready(self) -> bool:
        """Whether the container can take requests, if it runs."""
        tally = self.tally(ProbeKind.READINESS)
        return self.started and not self.failure and (tally is None or tally.well)


def probes(container: Container) -> Iterator[tuple[ProbeKind, Probe]]:
    """The probes that a container has."""
    pairs = (
        (ProbeKind.STARTUP, container.startup),
        (ProbeKind.LIVENESS, container.liveness),
        (ProbeKind.READINESS, container.readiness),
    )
    return ((kind, probe) for kind, probe in pairs if probe is not None)


def begin(container: Container, run: float, age: float, now: float) -> Health:
    """A run that nothing is known of yet.

    Args:
        container: what it has for probes.
        run: ContainerState.started.
        age: seconds that it runs already; some, when the agent is younger.
        now: of the caller's clock.
    """
    return Health(
        run,
        tuple(
            (kind, Tally(now + max(0.0, probe.delay - max(age, 0.0)), kind is ProbeKind.LIVENESS))
            for kind, probe in probes(container)
        ),
    )


def due(health: Health) -> tuple[tuple[ProbeKind, float], ...]:
    """The probes to ask, and when; none for a container that is to be restarted."""
    if health.failure:
        return ()
    return tuple(
        (kind, tally.next)
        for kind, tally in health.tallies
        if (kind is ProbeKind.STARTUP) is not health.started
    )


def next_due(health: Health) -> float:
    """When the next of them is due; infinity for none."""
    return min((at for _, at in due(health)), default=math.inf)


def told(
    container: Container, health: Health, kind: ProbeKind, *, well: bool, why: str, now: float
) -> Health:
    """What is known after an answer; `why` it is not well, `now` when the answer came.

    An answer that nobody asked for (the container has no such probe any more, or none is due)
    changes nothing.
    """
    probe = dict(probes(container)).get(kind)
    tally = health.tally(kind)
    if probe is None or tally is None or kind not in dict(due(health)):
        return health
    row = tally.row + 1 if tally.row and tally.last is well else 1
    verdict = tally.well
    if row >= (probe.successes if well else probe.failures):
        verdict = well
    counted = Tally(max(tally.next + probe.period, now), verdict, well, row)
    after = replace(
        health, tallies=tuple((k, counted if k is kind else t) for k, t in health.tallies)
    )
    if kind is ProbeKind.READINESS:
        return replace(after, unready="" if verdict else after.unready if well else why)
    if not verdict and not well and row >= probe.failures:
        return replace(after, failure=f"{kind} probe failed {row} times: {why}")
    return after
