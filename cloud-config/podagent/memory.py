"""What the agent remembers between two plans. All of it may be lost: the plan only gets bolder.

Without it, containers that crash are started again once without a wait, images are pulled once
more before they are played, and unused images live longer.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from podagent import backoff, probing
from podagent.actions import Action, Play, Pull, RemoveImage, StartContainer
from podagent.backoff import Backoff
from podagent.images import Names, wanted_ids
from podagent.observed import Observed
from podagent.probing import Health
from podagent.types import Instance, PodSpec

ContainerKey = tuple[str, str]  # instance id, container
PodKey = tuple[str, str]  # instance id, manifest digest
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Memory:
    """Tries that failed, what was pulled, what probes said. Times are Unix seconds."""

    starts: Mapping[ContainerKey, Backoff] = field(default_factory=dict)
    plays: Mapping[PodKey, Backoff] = field(default_factory=dict)
    pulls: Mapping[str, Backoff] = field(default_factory=dict)  # by image, as manifests have it
    pulled: frozenset[tuple[str, str, str]] = frozenset()  # instance id, manifest digest, image
    health: Mapping[ContainerKey, Health] = field(default_factory=dict)
    unused: Mapping[str, float] = field(default_factory=dict)  # image id: since when
    # What the pods that stand were played from; one of an older manifest lives by that to its end.
    specs: Mapping[PodKey, PodSpec] = field(default_factory=dict)


def looked(
    memory: Memory,
    desired: Collection[Instance],
    observed: Observed,
    now: float,
    clock: float,
) -> Memory:
    """What to remember once podman's state was read; to be called before each plan.

    Args:
        memory: what was remembered.
        desired: the pods of this host; what concerns others is forgotten.
        observed: podman's state.
        now: Unix seconds.
        clock: seconds of the clock that probes go by, which does not jump.
    """
    specs = {(each.id, each.manifest.digest): each.manifest.pod for each in desired}
    pods = {name for name, _ in specs}
    images = {each.image for spec in specs.values() for each in (*spec.init, *spec.containers)}
    used = observed.images_in_use | wanted_ids(desired, Names.of(observed.images))
    known = {**memory.specs, **specs}
    standing = {
        (pod.id, pod.digest): known[pod.id, pod.digest]
        for pod in observed.pods
        if pod.id in pods and (pod.id, pod.digest) in known
    }
    return Memory(
        starts={key: each for key, each in memory.starts.items() if key[0] in pods},
        plays={key: each for key, each in memory.plays.items() if key in specs},
        pulls={image: each for image, each in memory.pulls.items() if image in images},
        pulled=frozenset(each for each in memory.pulled if each[:2] in specs),
        health=_health(memory.health, standing, observed, now, clock),
        unused={
            image.id: min(memory.unused.get(image.id, now), now)
            for image in observed.images
            if image.id not in used
        },
        specs=standing,
    )


def _health(
    before: Mapping[ContainerKey, Health],
    specs: Mapping[PodKey, PodSpec],
    observed: Observed,
    now: float,
    clock: float,
) -> dict[ContainerKey, Health]:
    """What probes said of runs that are not over, or not yet followed by another."""
    health: dict[ContainerKey, Health] = {}
    for pod in observed.pods:
        spec = specs.get((pod.id, pod.digest))
        if spec is None:
            continue
        containers = {each.name: each for each in (*spec.init, *spec.containers)}
        for state in pod.containers:
            key, container = (pod.id, state.name), containers.get(state.name)
            known = before.get(key)
            if known is not None and known.run == state.started:
                health[key] = known
            elif state.running and container is not None:
                health[key] = probing.begin(container, state.started, now - state.started, clock)
    return health


def applied(memory: Memory, action: Action, now: float, error: str = "") -> Memory:
    """What to remember of an action that was applied; `error` if it failed."""
    match action:
        case StartContainer():
            return _started(memory, action, now, error)
        case Play():
            return _played(memory, action, now, error)
        case Pull():
            return _pulled(memory, action, now, error)
        case RemoveImage() if error:
            # Not at once again: it grows old anew.
            return replace(memory, unused={**memory.unused, action.image: now})
    return memory


def _started(memory: Memory, action: StartContainer, now: float, error: str) -> Memory:
    key = (action.pod, action.container)
    before = memory.starts.get(key)
    if not error and before is None and not action.ended:
        return memory
    tried = backoff.tried(before, action.ended, now, error)
    return replace(memory, starts={**memory.starts, key: tried})


def _played(memory: Memory, action: Play, now: float, error: str) -> Memory:
    key = (action.pod, action.instance.manifest.digest)
    if error:
        failed = backoff.failed(memory.plays.get(key), now, error)
        # It may have failed for an image that went away.
        pulled = frozenset(each for each in memory.pulled if each[:2] != key)
        return replace(memory, plays={**memory.plays, key: failed}, pulled=pulled)
    # Another pod now: what its containers did before does not count.
    starts = {each: value for each, value in memory.starts.items() if each[0] != action.pod}
    return replace(memory, plays=_without(memory.plays, key), starts=starts)


def _pulled(memory: Memory, action: Pull, now: float, error: str) -> Memory:
    if error:
        failed = backoff.failed(memory.pulls.get(action.image), now, error)
        return replace(memory, pulls={**memory.pulls, action.image: failed})
    done = {(*key, action.image) for key in action.needed_by}
    return replace(memory, pulls=_without(memory.pulls, action.image), pulled=memory.pulled | done)


def _without(mapping: Mapping[_Key, _Value], key: _Key) -> dict[_Key, _Value]:
    return {each: value for each, value in mapping.items() if each != key}
