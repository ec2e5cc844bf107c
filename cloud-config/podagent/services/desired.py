"""What a host shall answer and balance: manifests, addresses and ready replicas put together.

Pure. A host whose etcd is away goes on with what it knew, and so do its names and its balance.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from podagent.services import balance, names
from podagent.services.balance import Balanced
from podagent.services.endpoints import Address
from podagent.services.names import Entry
from podagent.services.records import Held
from podagent.types import Manifest, Service


@dataclass(frozen=True, slots=True)
class Desired:
    """Text for aardvark-dns, text for nft, and the replicas of services with UDP ports."""

    names: str
    table: str
    datagrams: Mapping[IPv4Address, Collection[IPv4Address]]


def desire(
    manifests: Iterable[Manifest],
    held: Iterable[Held],
    ready: Mapping[str, tuple[Address, ...]],
    *,
    host: str,
) -> Desired:
    """What is to be in place on a host.

    A workload with a service is known by the service's address alone, from when it has one: its
    ports are the service's. Without one, or with a headless one, its name is its ready replicas'.

    Args:
        manifests: those of the cluster that could be read, with unequal names.
        held: the addresses that etcd has.
        ready: see `endpoints.ready_addresses`.
        host: this host's name.
    """
    addresses = _one_each(held)
    every = sorted(manifests, key=lambda each: each.name)
    balanced = tuple(
        Balanced(address, service.ports, _ipv4(ready.get(each.name, ())))
        for each in every
        if (service := _balanced(each)) and (address := addresses.get(each.name))
    )
    entries = []
    taken = {each.name for each in every}
    for each in every:
        replicas = ready.get(each.name, ())
        answer = _stable(addresses.get(each.name)) if _balanced(each) else replicas
        entries.append(Entry(_names(each, taken), answer))
        taken.update(entries[-1].names)
    return Desired(
        names=names.make_text(entries, host=host),
        table=balance.make_table(balanced),
        datagrams={
            each.address: each.replicas
            for each in balanced
            if any(port.protocol == "udp" for port in each.ports)
        },
    )


def _one_each(held: Iterable[Held]) -> Mapping[str, IPv4Address]:
    """Addresses by workload; one that a person's hand gave twice is the first workload's."""
    owners: dict[IPv4Address, str] = {}
    for each in sorted(held, key=lambda one: one.name):
        if each.address is not None:
            owners.setdefault(each.address, each.name)
    return {name: address for address, name in owners.items()}


def _balanced(manifest: Manifest) -> Service | None:
    """A workload's service, unless it is headless."""
    service = manifest.service
    return service if service and service.ports else None


def _stable(address: IPv4Address | None) -> tuple[Address, ...]:
    return () if address is None else (address,)


def _names(manifest: Manifest, taken: Collection[str]) -> tuple[str, ...]:
    """A workload's own name, and its service's unless that is another's already."""
    service = manifest.service
    if service is None or service.name in taken:
        return (manifest.name,)
    return manifest.name, service.name


def _ipv4(addresses: Iterable[Address]) -> tuple[IPv4Address, ...]:
    return tuple(each for each in addresses if isinstance(each, IPv4Address))
