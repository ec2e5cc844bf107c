"""What is there, as rows: hosts, workloads, pods, services, leases. Pure.

What stands in etcd was written by others: no character of it reaches a terminal unless it is
printable.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from builder.fleet.rollout import state_of
from builder.fleet.safe import clean
from hostkit.etcd import KeyValue
from overlay.lease import Broken, read_lease
from podagent.cluster.records import Report, SlotRecord, instance_id
from podagent.cluster.view import Entry, View, Workload
from podagent.services.endpoints import ready_addresses
from podagent.services.records import read_held

VERSION_LABEL = "bedplate.internal/version"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host that is there; `why` is why it takes no further replicas."""

    name: str
    accepts: bool
    why: str
    version: str
    pods: int
    ready: int
    addresses: tuple[str, ...]
    labels: Mapping[str, str]
    api_port: int


@dataclass(frozen=True, slots=True)
class WorkloadRow:
    """A manifest in etcd, and how far it is; `replicas` of a DaemonSet are its hosts."""

    name: str
    kind: str
    replicas: int
    held: int
    updated: int
    ready: int
    progress: str
    why: str


@dataclass(frozen=True, slots=True)
class PodRow:
    """A pod as its host reports it, or a slot whose host has not said a word yet."""

    host: str
    pod: str
    slot: int | None
    phase: str
    ready: bool
    restarts: int
    addresses: tuple[str, ...]
    reason: str
    digest: str
    images: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A name that resolves, and what is behind it; without `ports` it is no more than a name."""

    name: str
    service: str
    address: str
    ports: tuple[str, ...]
    ready: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubnetRow:
    """A key of the overlay; `seconds` are left of its etcd lease, None: it is a reservation."""

    subnets: tuple[str, ...]
    public_ip: str
    host: str
    backend: str
    lease: str
    seconds: int | None
    problem: str


@dataclass(frozen=True, slots=True)
class HostLeaseRow:
    """A host's lease in etcd and what hangs on it."""

    host: str
    lease: str
    seconds: int
    slots: int
    reports: int


def hosts(view: View) -> tuple[HostRow, ...]:
    """Every host, by name."""
    return tuple(
        HostRow(
            name=clean(name),
            accepts=entry.value.accepts,
            why=clean(entry.value.why),
            version=clean(entry.value.labels.get(VERSION_LABEL, "")),
            pods=len(mine),
            ready=sum(each.ready for each in mine),
            addresses=_cleaned(entry.value.addresses),
            labels=_clean_map(entry.value.labels),
            api_port=entry.value.api_port,
        )
        for name, entry in sorted(view.hosts.items())
        for mine in [[each.value for (host, _), each in view.reports.items() if host == name]]
    )


def workloads(view: View) -> tuple[WorkloadRow, ...]:
    """Every workload, by name."""
    return tuple(_workload(view, each) for _, each in sorted(view.workloads.items()))


def _workload(view: View, workload: Workload) -> WorkloadRow:
    found = state_of(view, workload)
    return WorkloadRow(
        name=found.name,
        kind=str(workload.manifest.kind) if workload.manifest else "",
        replicas=found.replicas,
        held=found.held,
        updated=found.updated,
        ready=found.ready,
        progress=str(found.progress),
        why=found.why,
    )


def pods(view: View) -> tuple[PodRow, ...]:
    """Every pod, by host; also those that a host refuses to make, and what is wrong with them."""
    found = [_pod(host, pod, entry.value) for (host, pod), entry in view.reports.items()]
    found += [
        _silent(slot.value, name, number)
        for name, number, slot in view.held_slots()
        if (slot.value.host, instance_id(name, number)) not in view.reports
    ]
    found += [
        _refused(host, manifest, why)
        for host, entry in view.hosts.items()
        for manifest, why in entry.value.refused.items()
    ]
    return tuple(sorted(found, key=lambda each: (each.host, each.pod)))


def _refused(host: str, manifest: str, why: str) -> PodRow:
    return PodRow(
        host=clean(host),
        pod=clean(PurePosixPath(manifest).stem),
        slot=None,
        phase="Refused",
        ready=False,
        restarts=0,
        addresses=(),
        reason=clean(why),
        digest="",
        images={},
    )


def _pod(host: str, pod: str, report: Report) -> PodRow:
    return PodRow(
        host=clean(host),
        pod=clean(pod),
        slot=report.slot,
        phase=clean(report.phase),
        ready=report.ready,
        restarts=report.restarts,
        addresses=_cleaned(report.addresses),
        reason=clean(report.error or report.stuck),
        digest=clean(report.digest),
        images=_clean_map(report.images),
    )


def _silent(slot: SlotRecord, name: str, number: int) -> PodRow:
    return PodRow(
        host=clean(slot.host),
        pod=clean(instance_id(name, number)),
        slot=number,
        phase="Unknown",
        ready=False,
        restarts=0,
        addresses=(),
        reason="leaving" if slot.leaving else "claimed, not reported yet",
        digest=clean(slot.digest),
        images={},
    )


def services(view: View) -> tuple[ServiceRow, ...]:
    """Every workload's name, whether it has a Service or not."""
    manifests = [each.manifest for each in view.workloads.values() if each.manifest]
    reports = [(pod, entry.value) for (_, pod), entry in sorted(view.reports.items())]
    ready = ready_addresses(manifests, reports)
    rows = []
    for manifest in sorted(manifests, key=lambda each: each.name):
        service = manifest.service
        entry = view.services.get(manifest.name)
        held = read_held(manifest.name, entry.value, entry.revision) if entry else None
        rows.append(
            ServiceRow(
                name=clean(manifest.name),
                service=clean(service.name) if service else "",
                address=str(held.address) if held and held.address else "",
                ports=tuple(
                    f"{each.port}->{each.target}/{each.protocol}"
                    for each in (service.ports if service else ())
                ),
                ready=tuple(map(str, ready.get(manifest.name, ()))),
            )
        )
    return tuple(rows)


def leases_in_use(view: View, subnets: Iterable[KeyValue]) -> frozenset[int]:
    """The ids of all etcd leases of which the seconds are to be asked for."""
    of_hosts = {entry.lease for entry in view.hosts.values()}
    return frozenset(of_hosts | {item.lease for item in subnets}) - {0}


def host_leases(view: View, seconds: Mapping[int, int]) -> tuple[HostLeaseRow, ...]:
    """The hosts' leases, by host; `seconds` are left of each, by its id."""
    return tuple(
        HostLeaseRow(
            host=clean(name),
            lease=f"{entry.lease:x}",
            seconds=seconds.get(entry.lease, -1),
            slots=_on(entry.lease, (slot for _, _, slot in view.held_slots())),
            reports=_on(entry.lease, view.reports.values()),
        )
        for name, entry in sorted(view.hosts.items())
    )


def _on(lease: int, entries: Iterable[Entry[T]]) -> int:
    return sum(each.lease == lease for each in entries)


def subnets(
    view: View, items: Iterable[KeyValue], seconds: Mapping[int, int]
) -> tuple[SubnetRow, ...]:
    """The overlay's leases and reservations, in the order of their keys.

    Args:
        view: for the names of the hosts.
        items: the keys below `<prefix>/subnets/`.
        seconds: as in `host_leases`.
    """
    return tuple(_subnets(view, items, seconds))


def _subnets(
    view: View, items: Iterable[KeyValue], seconds: Mapping[int, int]
) -> Iterator[SubnetRow]:
    owners = {
        address: name for name, host in view.hosts.items() for address in host.value.addresses
    }
    for item in items:
        name = item.key.rpartition("/")[2]
        found = read_lease(name, item.value, item.lease, item.mod_revision)
        left = seconds.get(item.lease, -1) if item.lease else None
        lease = f"{item.lease:x}" if item.lease else ""
        if isinstance(found, Broken):
            yield SubnetRow((clean(name),), "", "", "", lease, left, clean(found.reason))
            continue
        public = [found.terms.public_ipv4, found.terms.public_ipv6]
        address = next(str(each) for each in public if each is not None)
        both = (found.subnets.ipv4, found.subnets.ipv6)
        yield SubnetRow(
            subnets=tuple(str(each) for each in both if each is not None),
            public_ip=address,
            host=clean(owners.get(address, "")),
            backend=found.terms.backend,
            lease=lease,
            seconds=left,
            problem="",
        )


def _cleaned(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(clean, texts))


def _clean_map(texts: Mapping[str, str]) -> dict[str, str]:
    return {clean(name): clean(value) for name, value in sorted(texts.items())}
