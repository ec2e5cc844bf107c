"""Podman's names: one for each pod and each container, and no two alike on a host. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from podagent.types import Instance


@dataclass(frozen=True, slots=True)
class Lost:
    """An instance that cannot have a name that it needs."""

    instance: Instance
    why: str
    same_id: bool  # another instance has its id


def podman_names(instance: Instance) -> tuple[str, ...]:
    """The names that `podman kube play` gives a pod and its containers."""
    spec = instance.manifest.pod
    return (
        instance.id,
        *(f"{instance.id}-{each.name}" for each in (*spec.init, *spec.containers)),
    )


def claim(
    desired: Iterable[Instance], standing: Collection[str], foreign: Iterable[str]
) -> tuple[list[Instance], list[Lost]]:
    """Who can have the names that it needs, in the order given, and who cannot.

    A name is first a foreign pod's, then that of a pod of ours which stands already, then the
    first's.

    Args:
        desired: in order of need.
        standing: ids of our pods that podman has.
        foreign: names of pods and containers that are not ours.
    """
    order = list(desired)
    owners = dict.fromkeys(foreign, "a pod or container that is not ours")
    lost: dict[int, Lost] = {}
    for place, instance in sorted(enumerate(order), key=lambda each: each[1].id not in standing):
        names = podman_names(instance)
        taken = next((name for name in names if name in owners), None)
        if taken is None:
            owners.update(dict.fromkeys(names, f"pod {instance.id}"))
        else:
            why = f"podman's name {taken} belongs to {owners[taken]}"
            lost[place] = Lost(instance, why, instance.id in owners)
    return [each for place, each in enumerate(order) if place not in lost], list(lost.values())
