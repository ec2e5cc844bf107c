"""Which probes to run now, and what their answers do to what is remembered. Pure."""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from podagent import probing
from podagent.memory import Memory
from podagent.observed import Observed
from podagent.probing import ProbeKind
from podagent.types import Container, Probe


@dataclass(frozen=True, slots=True)
class Question:
    """One probe of one run of a container, to be run now."""

    pod: str  # the instance's id
    container: Container
    podman_name: str
    addresses: tuple[str, ...]  # the pod's; none in the host's network
    kind: ProbeKind
    probe: Probe
    run: float  # ContainerState.started

    @property
    def key(self) -> tuple[str, str, ProbeKind]:
        """What no second question may be asked about at the same time."""
        return self.pod, self.container.name, self.kind


def questions(
    memory: Memory,
    observed: Observed,
    clock: float,
    asked: Collection[tuple[str, str, ProbeKind]] = (),
) -> tuple[list[Question], float]:
    """The probes that are due, and when the next will be; infinity for never.

    Args:
        memory: as `looked` gave it for the same state.
        observed: podman's state.
        clock: seconds of the clock that probes go by.
        asked: keys of those that run already.
    """
    found: list[Question] = []
    later = math.inf
    for pod in observed.pods:
        spec = memory.specs.get((pod.id, pod.digest))
        boxes = {} if spec is None else {each.name: each for each in (*spec.init, *spec.containers)}
        for state in pod.containers:
            health, box = memory.health.get((pod.id, state.name)), boxes.get(state.name)
            if health is None or box is None or not state.running:
                continue
            known = dict(probing.probes(box))
            for kind, at in probing.due(health):
                one = Question(
                    pod.id, box, state.podman_name, pod.addresses, kind, known[kind], state.started
                )
                if one.key in asked:
                    continue
                if at <= clock:
                    found.append(one)
                else:
                    later = min(later, at)
    return found, later


def answered(memory: Memory, question: Question, *, well: bool, why: str, clock: float) -> Memory:
    """What to remember after an answer; one of a run that is over changes nothing."""
    key = (question.pod, question.container.name)
    health = memory.health.get(key)
    if health is None or health.run != question.run:
        return memory
    after = probing.told(question.container, health, question.kind, well=well, why=why, now=clock)
    return replace(memory, health={**memory.health, key: after})
