"""Stable addresses of services: which workload is to have which one. The choice is pure.

Any host may do what the plan says: each transaction wants the manifest's key to be as it was when
the plan was made, so a host that knows less than another does nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Network, NetmaskValueError
from random import Random

from hostkit.etcd import Compare, Delete, Operation, Put, Store
from podagent.cluster.records import manifest_key
from podagent.cluster.view import Workload
from podagent.services.records import Held, address_key, encode_address, service_key
from updater.errors import InputError

# What many clusters of Kubernetes have; it does not meet flannel's usual 10.244.0.0/16 or
# podman's 10.88.0.0/16.
DEFAULT_RANGE = IPv4Network("10.96.0.0/16")
_LONGEST, _SHORTEST = 28, 12  # prefixes
# The first addresses are left to those who ask for one, as long as there are others: Kubernetes'
# rule (KEP-3070, "Reserve Service IP Ranges For Dynamic and Static IP Allocation").
_FEWEST_STATIC, _MOST_STATIC = 16, 256


class AddressError(InputError):
    """A service cannot have an address, or not the one that it asks for."""


@dataclass(frozen=True, slots=True)
class Take:
    """Give a workload this address in place of what it has; `manifest` is its key's revision."""

    name: str
    manifest: int
    address: IPv4Address
    previous: Held | None


@dataclass(frozen=True, slots=True)
class Free:
    """Give up an address; `manifest` is the revision of its workload's key, 0: there is none."""

    held: Held
    manifest: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write, and by workload why it has no address, or not the one it asks for."""

    actions: tuple[Take | Free, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)


def read_range(value: object) -> IPv4Network:
    """The range that addresses are from: `bedplate.cluster.services_range` of the cloud-config.

    Raises:
        ValueError: it is none, or one of an odd size.
    """
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 - what readers of settings expect
    try:
        found = IPv4Network(value)
    except (AddressValueError, NetmaskValueError) as error:
        raise ValueError(value) from error
    if not _SHORTEST <= found.prefixlen <= _LONGEST or found.is_multicast or found.is_loopback:
        raise ValueError(value)
    return found


def plan(
    workloads: Iterable[Workload],
    held: Iterable[Held],
    *,
    span: IPv4Network,
    networks: Sequence[IPv4Network | IPv6Network] = (),
    random: Random,
) -> Plan:
    """Who is to get and to lose an address.

    Args:
        workloads: all of the cluster's. One that is refused keeps what it has.
        held: the addresses that etcd has.
        span: the range to choose from.
        networks: the overlay's and the host's own, which the range must not meet.
        random: equal hosts choose unequal addresses, so that they rarely meet.
    """
    known = {each.name: each for each in workloads}
    has = {each.name: each for each in held}
    taken = {each.address: each.name for each in has.values() if each.address is not None}
    faults: dict[str, str] = {}
    asked: dict[str, IPv4Address | None] = {}
    actions: list[Take | Free] = []
    for name in sorted(known.keys() | has.keys()):
        workload = known.get(name)
        if workload is not None and workload.refused:
            continue
        try:
            if workload is not None and _wants_one(workload):
                asked[name] = _asked(workload)
            elif name in has:
                actions.append(Free(has[name], workload.revision if workload else 0))
        except AddressError as error:
            faults[name] = str(error)
    # Those that ask for one come first, or another might be given it.
    for name, wish in sorted(asked.items(), key=lambda item: item[1] is None):
        mine = has.get(name)
        if mine and mine.address and wish in {None, mine.address}:
            continue
        try:
            address = _choose(wish, taken, span, networks, random)
        except AddressError as error:
            faults[name] = str(error)
        else:
            taken[address] = name
            actions.append(Take(name, known[name].revision, address, mine))
    return Plan(tuple(actions), faults)


def _wants_one(workload: Workload) -> bool:
    """Whether it has a service that is more than a name."""
    service = workload.manifest.service if workload.manifest else None
    return service is not None and bool(service.ports)


def _asked(workload: Workload) -> IPv4Address | None:
    service = workload.manifest.service if workload.manifest else None
    if service is None or service.address is None:
        return None
    try:
        return IPv4Address(service.address)
    except AddressValueError as error:
        raise AddressError(
            f"clusterIP {service.address} is no IPv4 address; leave it out to be given one"
        ) from error


def _choose(
    asked: IPv4Address | None,
    taken: Mapping[IPv4Address, str],
    span: IPv4Network,
    networks: Sequence[IPv4Network | IPv6Network],
    random: Random,
) -> IPv4Address:
    for network in networks:
        if span.overlaps(network):
            raise AddressError(
                f"the range {span} of services meets the network {network}; give another one as "
                "bedplate.cluster.services_range"
            )
    first, last = int(span[1]), int(span[-2])
    if asked is not None:
        if not first <= int(asked) <= last:
            raise AddressError(f"clusterIP {asked} is not in the range {span} of services")
        if asked in taken:
            raise AddressError(f"clusterIP {asked} is {taken[asked]}'s")
        return asked
    static = min(max(_FEWEST_STATIC, span.num_addresses // 16), _MOST_STATIC)
    numbers = sorted(map(int, taken))
    for lowest in (first + static, first):
        number = _pick(lowest, last, [each for each in numbers if lowest <= each <= last], random)
        if number is not None:
            return IPv4Address(number)
    raise AddressError(
        f"every address of the range {span} of services is taken; give a larger one as "
        "bedplate.cluster.services_range"
    )


def _pick(first: int, last: int, taken: Sequence[int], random: Random) -> int | None:
    """One of the numbers from first to last that are not taken, each as likely as the others."""
    left = last - first + 1 - len(taken)
    if left <= 0:
        return None
    number = first + random.randrange(left)
    for each in taken:
        if each > number:
            break
        number += 1
    return number


def write(store: Store, action: Take | Free) -> bool:
    """One transaction; whether it was done, or something had changed meanwhile.

    Raises:
        EtcdError: etcd did not answer; it may have been done. Hear what is there, and plan anew.
    """
    if isinstance(action, Take):
        name, before = action.name, action.previous
        compare = [Compare.absent(address_key(action.address))]
        then: list[Operation] = [
            Put(service_key(name), encode_address(action.address)),
            Put(address_key(action.address), name.encode()),
        ]
    else:
        name, before = action.held.name, action.held
        compare = []
        then = [Delete(service_key(name))]
    compare += [
        Compare.mod_revision(manifest_key(name), action.manifest),
        Compare.mod_revision(service_key(name), before.revision if before else 0),
    ]
    if before is not None and before.address is not None:
        then.append(Delete(address_key(before.address)))
    return store.transact(compare, then).succeeded
