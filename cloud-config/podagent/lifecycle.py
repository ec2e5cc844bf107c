"""What one pod that stands needs next: containers to start, start again or stop. Pure.

Kubernetes' rules (kubelet's computePodActions and computeInitContainerActions): init containers
one after the other, each until it succeeds; init containers that are always restarted (sidecars)
run on beside the others; then the containers, restarted by the pod's restartPolicy with back-off.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from podagent import backoff, probing
from podagent.actions import OfPod, StartContainer, StopContainer
from podagent.backoff import Backoff
from podagent.memory import Memory
from podagent.observed import NEVER, ContainerState, PodState
from podagent.probing import Health
from podagent.types import Container, Instance, PodSpec, RestartPolicy
from podagent.waiting import Reason, Waiting


class Outcome(StrEnum):
    """How a pod ended that will not run again."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(slots=True)
class Steps:
    """What is due in one pod, and what waits; filled while it is looked at."""

    actions: list[OfPod] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Standing:
    """A pod as it is, and what it was played from; containers that it has not are passed over."""

    pod: PodState
    spec: PodSpec
    starts: Mapping[tuple[str, str], Backoff]
    health: Mapping[tuple[str, str], Health]
    states: Mapping[str, ContainerState]

    @classmethod
    def of(cls, instance: Instance, pod: PodState, memory: Memory) -> "Standing | None":
        """The pod that stands for an instance; None for one of a manifest that is not known."""
        spec = memory.specs.get((pod.id, pod.digest))
        if pod.digest == instance.manifest.digest:
            spec = instance.manifest.pod
        if spec is None:
            return None
        return cls(pod, spec, memory.starts, memory.health, pod.by_name())

    def healthy(self, state: ContainerState) -> Health:
        """What probes said of a container's last run; nothing good where they were not asked."""
        found = self.health.get((self.pod.id, state.name))
        if found is not None and found.run == state.started:
            return found
        container = self.container(state.name)
        if container is None:
            return Health(state.started)
        return probing.begin(container, state.started, 0, 0)

    def container(self, name: str) -> Container | None:
        """A container of the manifest."""
        everyone = (*self.spec.init, *self.spec.containers)
        return next((each for each in everyone if each.name == name), None)

    @property
    def whole(self) -> bool:
        """Whether it has all its containers."""
        return all(each.name in self.states for each in (*self.spec.init, *self.spec.containers))

    def of_containers(self, containers: Iterable[Container]) -> list[ContainerState]:
        """The states of those that there are."""
        return [self.states[each.name] for each in containers if each.name in self.states]

    @property
    def initialised(self) -> bool:
        """Whether the init containers have had their turn; then they have it no more."""
        main = self.of_containers(self.spec.containers)
        return any(each.started != NEVER for each in main)

    def restarts(self, state: ContainerState) -> bool:
        """Whether a container that ended is to run again."""
        if self.spec.restart is RestartPolicy.ON_FAILURE:
            return not state.succeeded or bool(self.healthy(state).failure)
        return self.spec.restart is RestartPolicy.ALWAYS

    def outcome(self) -> Outcome | None:
        """How the pod ended; None for one that runs or will."""
        if self._init_failed():
            return Outcome.FAILED
        main = self.of_containers(self.spec.containers)
        if not main or not all(each.ended and not self.restarts(each) for each in main):
            return None
        return Outcome.SUCCEEDED if all(each.succeeded for each in main) else Outcome.FAILED

    def _init_failed(self) -> bool:
        if self.spec.restart is not RestartPolicy.NEVER or self.initialised:
            return False
        init = self.of_containers(each for each in self.spec.init if not each.restart_always)
        return any(each.ended and not each.succeeded for each in init)


def half_made(instance: Instance, pod: PodState) -> bool:
    """Whether an agent or podman was ended while it made this pod of this manifest."""
    spec, there = instance.manifest.pod, pod.by_name()
    return any(each.name not in there for each in (*spec.init, *spec.containers))


def cut_off(standing: Standing) -> bool:
    """Whether the host went down under a pod whose init containers have to run again.

    They prepare what a boot may have taken away; podman does not run them again by itself, and so
    such a pod is played anew. One without init containers is just started.
    """
    return (
        bool(standing.spec.init)
        and not standing.pod.running
        and any(each.cut_off for each in standing.pod.containers)
    )


def next_steps(standing: Standing, now: float) -> Steps:
    """What is due in a pod that has all its containers."""
    steps = Steps()
    if standing.outcome() is not None:
        for state in standing.pod.containers:
            if state.running:
                _stop(standing, state, "the pod has ended", steps)
        return steps
    for state in standing.pod.containers:
        failure = standing.healthy(state).failure
        if state.running and failure:
            _stop(standing, state, failure, steps)
    if _prepare(standing, now, steps):
        for state in standing.of_containers(standing.spec.containers):
            if not state.running and (not state.ended or standing.restarts(state)):
                _start(standing, state, now, steps)
    return steps


def _prepare(standing: Standing, now: float, steps: Steps) -> bool:
    """Bring the init containers on; whether the others may start."""
    for container in standing.spec.init:
        state = standing.states.get(container.name)
        if state is None:
            continue
        if container.restart_always:
            if not state.running:
                _start(standing, state, now, steps)
            if standing.initialised or (state.running and standing.healthy(state).started):
                continue
            return False
        if standing.initialised or state.succeeded:
            continue
        if not state.running:
            _start(standing, state, now, steps)
        return False
    return True


def _stop(standing: Standing, state: ContainerState, why: str, steps: Steps) -> None:
    steps.actions.append(StopContainer(standing.pod.id, state.name, standing.pod.grace, why))


def _start(standing: Standing, state: ContainerState, now: float, steps: Steps) -> None:
    tries = standing.starts.get((standing.pod.id, state.name))
    # The end of a run that the host's took with it is not known, and was no fault of its own.
    ended = state.finished if state.ended and not state.cut_off else NEVER
    at = backoff.due(tries, ended, now)
    if at <= now:
        steps.actions.append(StartContainer(standing.pod.id, state.name, ended))
        return
    why = tries.why if tries is not None else ""
    steps.waiting.append(
        Waiting(
            standing.pod.id,
            Reason.START_ERROR if why else Reason.CRASH_LOOP,
            why or f"it ended with {state.exit_code}",
            at,
            state.name,
        )
    )
