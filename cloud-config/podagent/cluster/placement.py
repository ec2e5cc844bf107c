"""Which host takes a free slot: pure, and the same on every host that sees the same.

The free slots are given out one after the other, each to the host with the fewest replicas of the
workload, then to that with the fewest slots in all, then by a hash. A host claims what falls to it,
in that order: then what others see meanwhile leads them to the same result, and hosts race only
when hosts come and go. Nothing that runs is ever moved for a better spread.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping

from podagent.cluster.records import HostRecord
from podagent.cluster.view import Entry, View, Workload, slot_count
from podagent.types import Manifest


def matches(manifest: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a host with these labels is one that the workload is for."""
    return all(labels.get(name) == value for name, value in manifest.selector.items())


def pinned(view: View, me: str, labels: Mapping[str, str]) -> tuple[Manifest, ...]:
    """The workloads without slots that are for this host: DaemonSets, and Pods that name it.

    They need no fence.
    """
    return tuple(
        each.manifest
        for each in _by_name(view)
        if each.manifest is not None
        and slot_count(each.manifest) is None
        and each.manifest.node in (None, me)
        and matches(each.manifest, labels)
    )


def claims(view: View, me: str) -> tuple[tuple[str, int], ...]:
    """The slots that this host is to claim now, by workload and number, in this order."""
    if me not in view.hosts or not view.hosts[me].value.accepts:
        return ()
    return tuple((name, number) for name, number, host in _given_out(view) if host == me)


def homeless(view: View) -> tuple[tuple[str, int], ...]:
    """The free slots that no host may take."""
    return tuple((name, number) for name, number, host in _given_out(view) if host is None)


def _given_out(view: View) -> Iterator[tuple[str, int, str | None]]:
    """Every free slot with the host that is to take it."""
    in_all = Counter(entry.value.host for _, _, entry in view.held_slots())
    for workload in _by_name(view):
        taken = view.slots.get(workload.name, {})
        free = [number for number in range(workload.slots) if number not in taken]
        if not free or workload.manifest is None or workload.refused:
            continue
        of_this = Counter(
            entry.value.host for number, entry in taken.items() if number < workload.slots
        )
        takers = _takers(workload.manifest, view.hosts)
        loads = {host: (of_this[host], in_all[host]) for host in takers}
        for number in free:
            host = _choose(loads, f"{workload.name}/{number}/")
            if host is not None:
                in_all[host] += 1
                loads[host] = loads[host][0] + 1, in_all[host]
            yield workload.name, number, host


def _by_name(view: View) -> list[Workload]:
    return sorted(view.workloads.values(), key=lambda each: each.name)


def _takers(manifest: Manifest, hosts: Mapping[str, Entry[HostRecord]]) -> list[str]:
    return [
        name
        for name, entry in hosts.items()
        if entry.value.accepts and matches(manifest, entry.value.labels)
    ]


def _choose(loads: Mapping[str, tuple[int, int]], slot: str) -> str | None:
    least = min(loads.values(), default=None)
    ties = (host for host, load in loads.items() if load == least)
    return min(ties, key=lambda host: _hash(slot + host), default=None)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
