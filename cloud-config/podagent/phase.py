"""A pod's phase, readiness and reasons for reports, in Kubernetes' words. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from podagent.lifecycle import Outcome, Standing
from podagent.memory import Memory
from podagent.observed import NEVER, ContainerState, PodState
from podagent.types import Container, Instance, Origin
from podagent.waiting import Reason, Waiting


class Phase(StrEnum):
    """Kubernetes' phases of a pod."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Doing(StrEnum):
    """Kubernetes' states of a container."""

    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class ContainerReport:
    """One container, for people and for etcd; `restarts` counts since the agent began."""

    name: str
    doing: Doing
    ready: bool
    restarts: int
    reason: str  # "" when all is well
    message: str
    image: str
    image_digest: str
    exit_code: int | None
    started: float  # Unix seconds; 0 never
    finished: float


@dataclass(frozen=True, slots=True)
class PodReport:
    """One pod; `digest` is that of the manifest that it was played from, "" when there is none."""

    id: str
    origin: Origin
    digest: str
    slot: int | None
    phase: Phase
    ready: bool
    reason: str  # why it is not what is declared; "" when it is
    message: str
    addresses: tuple[str, ...]
    restarts: int
    containers: tuple[ContainerReport, ...]


def report(
    instance: Instance, pod: PodState | None, memory: Memory, waiting: Iterable[Waiting]
) -> PodReport:
    """What to say of an instance.

    Args:
        instance: as it is desired.
        pod: what stands in its name, perhaps of an older manifest.
        memory: as the plan had it.
        waiting: the plan's; those of other pods are passed over.
    """
    mine = [each for each in waiting if each.pod == instance.id]
    standing = None if pod is None else Standing.of(instance, pod, memory)
    containers: tuple[ContainerReport, ...] = ()
    if standing is not None:
        containers = tuple(
            _container(standing, container, state, mine)
            for container in (*standing.spec.init, *standing.spec.containers)
            if (state := standing.states.get(container.name)) is not None
        )
    reason, message = _why(mine, containers)
    if pod is None and not reason:
        reason = Reason.CREATING
    return PodReport(
        id=instance.id,
        origin=instance.origin,
        digest=pod.digest if pod is not None else "",
        slot=instance.slot,
        phase=phase(standing) if standing is not None else Phase.PENDING,
        ready=standing is not None and is_ready(standing),
        reason=reason,
        message=message,
        addresses=pod.addresses if pod is not None else (),
        restarts=sum(each.restarts for each in containers),
        containers=containers,
    )


def phase(standing: Standing) -> Phase:
    """Pending until all containers have run, then Running until all have ended for good."""
    outcome = standing.outcome()
    if outcome is not None:
        return Phase.SUCCEEDED if outcome is Outcome.SUCCEEDED else Phase.FAILED
    spec = standing.spec.containers
    started = [each for each in standing.of_containers(spec) if each.started != NEVER]
    return Phase.RUNNING if len(started) == len(spec) else Phase.PENDING


def is_ready(standing: Standing) -> bool:
    """Whether all containers, and the init containers that run on, run and are ready."""
    lasting = [
        *(each for each in standing.spec.init if each.restart_always),
        *standing.spec.containers,
    ]
    states = standing.of_containers(lasting)
    return len(states) == len(lasting) and all(
        each.running and standing.healthy(each).ready for each in states
    )


def _container(
    standing: Standing, container: Container, state: ContainerState, waiting: Sequence[Waiting]
) -> ContainerReport:
    mine = next((each for each in waiting if each.container == container.name), None)
    health, tries = standing.healthy(state), standing.starts.get((standing.pod.id, state.name))
    ready = state.running and health.ready
    if state.running:
        doing, reason = Doing.RUNNING, ""
        message = health.failure or health.unready
    elif mine is not None:
        doing, reason, message = Doing.WAITING, str(mine.reason), mine.message
    elif state.ended:
        doing, reason, message = Doing.TERMINATED, *_end(state)
        ready = state.succeeded and container in standing.spec.init
    else:
        doing, reason, message = Doing.WAITING, Reason.INITIALIZING, ""
    return ContainerReport(
        name=state.name,
        doing=doing,
        ready=ready,
        restarts=tries.total if tries is not None else 0,
        reason=reason,
        message=message,
        image=state.image,
        image_digest=state.image_digest,
        exit_code=state.exit_code if state.ended else None,
        started=state.started,
        finished=state.finished,
    )


def _end(state: ContainerState) -> tuple[str, str]:
    """Reason and message of a run's end."""
    if state.cut_off:
        return "Unknown", "the host went down"
    if state.succeeded:
        return "Completed", ""
    return "Error", f"it ended with {state.exit_code}"


def _why(waiting: Sequence[Waiting], containers: Iterable[ContainerReport]) -> tuple[str, str]:
    """The reason that stands for the pod: the plan's first, or that of a container in trouble."""
    if waiting:
        return waiting[0].reason, waiting[0].message
    for each in containers:
        if each.doing is Doing.TERMINATED and each.exit_code not in {0, None}:
            return each.reason, f"{each.name}: {each.message}"
        if each.doing is Doing.RUNNING and not each.ready and each.message:
            return "NotReady", f"{each.name}: {each.message}"
    return "", ""
