"""Desired pods and podman's state -> actions in order, and what waits for what. Pure.

Nothing but what podman has is needed to come to the declared state; memory only makes the way
there gentler. So an agent that ends anywhere and begins anew ends in the same state.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from podagent import backoff, images
from podagent.actions import Action, Kill, OfPod, Play, Pull, RemovePod, StopPod
from podagent.hostports import HostPorts, of_instance
from podagent.images import Limits, Names
from podagent.lifecycle import Standing, cut_off, half_made, next_steps
from podagent.memory import Memory
from podagent.naming import Lost, claim, podman_names
from podagent.observed import Observed, PodState
from podagent.types import Container, Instance, Origin, PullPolicy
from podagent.waiting import Reason, Waiting

_LIMITS = Limits()
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Under:
    """What else holds while a plan is made.

    `fenced` has the ids of pods that may not run: their lease does not hold. `busy` has those that
    actions of an earlier plan still work on, until podman's state was read after the last of them;
    nothing but Kill is planned for those. `pulling` has the images that are on their way.
    """

    limits: Limits = _LIMITS
    fenced: Collection[str] = _NONE
    busy: Collection[str] = _NONE
    pulling: Collection[str] = _NONE


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do in this order, what waits, and when to plan again without a cause (Unix time)."""

    actions: tuple[Action, ...]
    waiting: tuple[Waiting, ...]
    look_at: float | None


def make_plan(
    desired: Sequence[Instance],
    observed: Observed,
    memory: Memory,
    now: float,
    under: Under | None = None,
) -> Plan:
    """What brings podman closer to the desired pods; no actions when it is there.

    Order: what must not run is killed, containers are started again, pods that go make room, pods
    are played in order of need, images are removed and pulled.

    Args:
        desired: the pods of this host.
        observed: podman's state.
        memory: as `looked` gave it for the same state.
        now: Unix seconds.
        under: fences, and what is under way.
    """
    return _Planner(desired, observed, memory, now, under or Under()).plan()


def in_order(desired: Iterable[Instance]) -> list[Instance]:
    """By need: what the host's network hangs on, then what is the host's own, then by name."""
    return sorted(
        desired,
        key=lambda each: (
            not each.manifest.pod.host_network,
            each.origin is not Origin.FOLDER,
            each.id,
        ),
    )


@dataclass(slots=True)
class _Lists:
    """A plan in the making."""

    kills: list[OfPod] = field(default_factory=list)
    steps: list[OfPod] = field(default_factory=list)
    removals: list[OfPod] = field(default_factory=list)
    plays: list[OfPod] = field(default_factory=list)
    pulls: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)


class _Planner:
    """One plan; see `make_plan`."""

    def __init__(
        self,
        desired: Sequence[Instance],
        observed: Observed,
        memory: Memory,
        now: float,
        under: Under,
    ) -> None:
        self._desired = in_order(desired)
        self._observed = observed
        self._memory = memory
        self._now = now
        self._under = under
        self._pods = {pod.id: pod for pod in observed.pods}
        self._names = Names.of(observed.images)
        self._lists = _Lists()
        self._leaving: dict[str, str] = {}  # podman's names: the pod that gives them up
        self._ports = HostPorts()  # given up

    def plan(self) -> Plan:
        lists = self._lists
        wanted = {each.id for each in self._desired}
        for pod in self._observed.pods:
            if pod.id in self._under.fenced:
                self._kill(pod)
            elif pod.id not in wanted:
                self._clear(pod)
        # Whatever is to go is known before anything is played in its place.
        free, lost = claim(self._desired, self._pods, self._observed.foreign)
        for each in lost:
            self._hold(each)
        undecided = [each for each in free if not self._goes_on(each)]
        ready = [each for each in undecided if self._make_way(each)]
        for instance in ready:
            self._play(instance)
        removed, later = images.removals(
            self._observed,
            images.wanted_ids(self._desired, self._names),
            self._memory.unused,
            self._now,
            self._under.limits,
        )
        times = [each.until for each in lists.waiting if each.until is not None]
        return Plan(
            (
                *lists.kills,
                *lists.steps,
                *lists.removals,
                *lists.plays,
                *removed,
                *(Pull(image, tuple(keys)) for image, keys in lists.pulls.items()),
            ),
            tuple(lists.waiting),
            min([*times, *([] if later is None else [later])], default=None),
        )

    # --- What goes --------------------------------------------------------------------------------

    def _kill(self, pod: PodState) -> None:
        self._leave(pod)
        busy = pod.id in self._under.busy
        if pod.running or busy:
            self._lists.kills.append(Kill(pod.id))
        if not busy:
            self._lists.kills.append(RemovePod(pod.id))

    def _clear(self, pod: PodState) -> None:
        """Stop and remove a pod, unless that is under way."""
        self._leave(pod)
        if pod.id in self._under.busy:
            return
        if pod.running:
            self._lists.removals.append(StopPod(pod.id, pod.grace))
        self._lists.removals.append(RemovePod(pod.id))

    def _leave(self, pod: PodState) -> None:
        self._ports.add(pod)
        for name in (pod.id, *(each.podman_name for each in pod.containers)):
            self._leaving[name] = pod.id

    # --- What stays -------------------------------------------------------------------------------

    def _goes_on(self, instance: Instance) -> bool:
        """Whether this pod stands, or something works on it; what it needs next is planned."""
        pod = self._pods.get(instance.id)
        if instance.id in self._under.fenced:
            self._wait(instance, Reason.FENCED, "this host's lease does not hold")
            return True
        if instance.id in self._under.busy:
            if pod is not None and pod.digest != instance.manifest.digest:
                self._leave(pod)
            return True
        if pod is None or pod.digest != instance.manifest.digest or half_made(instance, pod):
            return False
        standing = Standing.of(instance, pod, self._memory)
        if standing is not None and cut_off(standing) and standing.outcome() is None:
            return False
        self._keep(instance, pod)
        return True

    def _hold(self, lost: Lost) -> None:
        """Leave a pod as it is that cannot become another now."""
        instance, pod = lost.instance, self._pods.get(lost.instance.id)
        self._wait(instance, Reason.NAME_TAKEN, lost.why)
        spoken_for = lost.same_id or instance.id in {*self._under.fenced, *self._under.busy}
        if pod is None or spoken_for:
            return
        if pod.digest == instance.manifest.digest and half_made(instance, pod):
            self._clear(pod)
        else:
            self._keep(instance, pod)

    def _keep(self, instance: Instance, pod: PodState) -> None:
        standing = Standing.of(instance, pod, self._memory)
        if standing is None or not standing.whole:
            return
        steps = next_steps(standing, self._now)
        self._lists.steps += steps.actions
        self._lists.waiting += steps.waiting

    # --- What comes -------------------------------------------------------------------------------

    def _make_way(self, instance: Instance) -> bool:
        """Whether all is there to play this pod; then what stands in its place goes.

        A pod of another manifest runs on until then.
        """
        pod = self._pods.get(instance.id)
        changed = pod is not None and pod.digest != instance.manifest.digest
        ready = self._may_play(instance, pod) and self._has_images(instance, pod)
        if pod is not None and changed and not ready:
            self._keep(instance, pod)
        elif pod is not None:
            self._clear(pod)
        return ready

    def _may_play(self, instance: Instance, pod: PodState | None) -> bool:
        limits, free = self._under.limits, self._observed.disk.free_share
        if free < limits.new_pods and (pod is None or pod.digest != instance.manifest.digest):
            self._wait(instance, Reason.DISK_PRESSURE, f"{free:.1%} of /var is free")
            return False
        tries = self._memory.plays.get((instance.id, instance.manifest.digest))
        at = backoff.retry(tries, self._now)
        if tries is not None and at > self._now:
            self._wait(instance, Reason.CREATE_ERROR, tries.why, at)
            return False
        return True

    def _has_images(self, instance: Instance, pod: PodState | None) -> bool:
        new = pod is None or pod.digest != instance.manifest.digest
        spec = instance.manifest.pod
        containers = {each.image: each for each in (*spec.init, *spec.containers)}
        # All are looked at, so that they are pulled together.
        missing = [each for each in containers.values() if not self._has(instance, each, new=new)]
        return not missing

    def _has(self, instance: Instance, container: Container, *, new: bool) -> bool:
        """Whether this image is there; if not, it is pulled, or the pod waits."""
        image, key = container.image, (instance.id, instance.manifest.digest)
        if (*key, image) in self._memory.pulled:
            return True
        there = self._names.find(image) is not None
        asks = container.pull is PullPolicy.ALWAYS and new and not images.by_digest(image)
        if there and not asks:
            return True
        tries = self._memory.pulls.get(image)
        at = backoff.retry(tries, self._now)
        if container.pull is PullPolicy.NEVER:
            self._wait(instance, Reason.IMAGE_NEVER, f"podman has no image {image}")
        elif tries is not None and at > self._now:
            self._wait(instance, Reason.IMAGE_BACK_OFF, tries.why, at, container.name)
        else:
            if image not in self._under.pulling:
                self._lists.pulls.setdefault(image, []).append(key)
            self._wait(instance, Reason.PULLING, image, None, container.name)
        return False

    def _play(self, instance: Instance) -> None:
        """Play a pod, unless what it needs is another's that is about to go."""
        for name in podman_names(instance):
            other = self._leaving.get(name, instance.id)
            if other != instance.id:
                self._wait(instance, Reason.OTHER_POD_ENDS, f"pod {other} has the name {name}")
                return
        holder = self._ports.clash(instance.id, of_instance(instance)) if self._ports else None
        if holder is not None:
            self._wait(instance, Reason.OTHER_POD_ENDS, f"pod {holder} has ports of the host")
            return
        self._lists.plays.append(Play(instance))

    def _wait(
        self,
        instance: Instance,
        reason: Reason,
        message: str,
        until: float | None = None,
        container: str = "",
    ) -> None:
        self._lists.waiting.append(Waiting(instance.id, reason, message, until, container))
