"""Which pods the cluster wants of this host, and which may not run here. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from podagent.cluster.placement import pinned
from podagent.cluster.plan import Me, SlotId, Verdict, verdicts
from podagent.cluster.records import instance_id, manifest_key
from podagent.cluster.view import View, slot_count
from podagent.observed import PodState
from podagent.types import Instance, Manifest, Origin

Lookup = Callable[[str], Manifest | None]  # by digest


@dataclass(frozen=True, slots=True)
class Here:
    """What this host has: podman's pods of ours, and the folder's by name.

    `slots` are those that podman has a pod for, or will have in a moment, with its digest.
    """

    pods: tuple[PodState, ...]
    slots: Mapping[SlotId, str]
    own: frozenset[str]

    @classmethod
    def of(
        cls, pods: Iterable[PodState], playing: Iterable[Instance], own: Iterable[str]
    ) -> "Here":
        """As podman has it, and what is being played meanwhile."""
        pods = tuple(pods)
        slots = {
            (each.manifest.name, each.slot): each.manifest.digest
            for each in playing
            if each.slot is not None
        }
        for pod in pods:
            if pod.slot is not None:
                slots[pod.id.removesuffix(f"-{pod.slot}"), pod.slot] = pod.digest
        return cls(pods, slots, frozenset(own))


@dataclass(frozen=True, slots=True)
class Declared:
    """What the cluster asks for.

    `fenced` has the pods that are killed, `kept` those that are left as they are, since what they
    were played from is not known, `refused` what cannot be used, and why.
    """

    instances: tuple[Instance, ...] = ()
    fenced: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)


def without_cluster(here: Here) -> Declared:
    """For a host that is in no cluster any more: nobody renews the lease of its replicas."""
    return Declared(fenced=frozenset(instance_id(*slot) for slot in here.slots))


def declare(
    view: View,
    me: Me,
    labels: Mapping[str, str],
    here: Here,
    lookup: Lookup,
    *,
    may_run: bool,
) -> Declared:
    """What the cluster wants of this host.

    Of two that would have one name the folder's is kept, then the one that is for this host by its
    name or labels, then the first by name.

    Args:
        view: what is known of it.
        me: this host, with the lease that it has.
        labels: this host's.
        here: what it has.
        lookup: any manifest of the cluster's that is known, those in force too.
        may_run: as our `Tenure` says.
    """
    found = verdicts(view, me, here.slots, may_run=may_run)
    run = [slot for slot, verdict in sorted(found.items()) if verdict is Verdict.RUN]
    replicas = {slot: _replica(view, here, slot, lookup) for slot in run}
    fixed = _fixed(view, me.name, labels, here, lookup)
    instances, clashes = _apart(here.own, (*fixed, *filter(None, replicas.values())))
    unknown = {instance_id(*slot) for slot, each in replicas.items() if each is None}
    names = {*here.own, *(each.id for each in instances)}
    unusable = {
        manifest_key(each.name): each.refused for each in view.workloads.values() if each.refused
    }
    return Declared(
        instances,
        frozenset(
            instance_id(*slot)
            for slot, verdict in found.items()
            if verdict is Verdict.KILL and slot in here.slots
        ),
        frozenset((unknown | _unheard(view, here)) - names),
        unusable | clashes,
    )


def _replica(view: View, here: Here, slot: SlotId, lookup: Lookup) -> Instance | None:
    """A slot's replica in the version that the slot's record says."""
    name, number = slot
    entry = view.slots.get(name, {}).get(number)
    manifest = lookup(entry.value.digest if entry else here.slots.get(slot, ""))
    if manifest is None:
        return None
    return Instance(instance_id(name, number), manifest, Origin.CLUSTER, number)


def _fixed(
    view: View, me: str, labels: Mapping[str, str], here: Here, lookup: Lookup
) -> tuple[Instance, ...]:
    """The pods without slots: they outlive any outage of etcd, and need no lease."""
    if view.revision:
        manifests = pinned(view, me, labels)
    else:
        known = [lookup(pod.digest) for pod in here.pods if pod.slot is None]
        manifests = tuple(each for each in known if each and slot_count(each) is None)
    return tuple(Instance(each.name, each, Origin.CLUSTER, None) for each in manifests)


def _unheard(view: View, here: Here) -> set[str]:
    """The pods that may be the cluster's, for all that is known before it was heard.

    One that runs and is not known is none: it was started in this boot, and all that the cluster
    had played in this boot is known.
    """
    if view.revision:
        return set()
    return {pod.id for pod in here.pods if pod.slot is None and not pod.running}


def _apart(
    own: Iterable[str], instances: Iterable[Instance]
) -> tuple[tuple[Instance, ...], dict[str, str]]:
    """Those that have a name of their own, and why the others are refused."""
    taken = dict.fromkeys(own, "a pod of the host's own")
    free: list[Instance] = []
    refused: dict[str, str] = {}
    for each in instances:
        if each.id in taken:
            refused[manifest_key(each.manifest.name)] = (
                f"{manifest_key(each.manifest.name)}: its pod {each.id} has the name of "
                f"{taken[each.id]}; give one of them another name"
            )
        else:
            taken[each.id] = f"a pod of {manifest_key(each.manifest.name)}"
            free.append(each)
    return tuple(free), refused
