"""What is wrong with a network as a whole: names that mean nothing, loops, doubles.

Pure: interfaces in, faults out, each with the path of the key that it is about.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cloudconfig.model.network_devices import Device, Ethernet, LinkLocal, Vlan, Vrf
from cloudconfig.model.network_groups import Bond, BondMode, Bridge
from cloudconfig.model.network_kinds import Subnets
from cloudconfig.model.network_parts import Route
from cloudconfig.model.network_tunnels import Tunnel

Path = tuple[str, ...]
Devices = Sequence[tuple[str, str, Device]]
_PRIMARY = (BondMode.ACTIVE_BACKUP, BondMode.BALANCE_ALB, BondMode.BALANCE_TLB)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong, and the keys that lead there; a warning unless it is `serious`."""

    path: Path
    message: str
    serious: bool = True


def faults(devices: Devices) -> Iterator[Fault]:
    """All that is wrong, in the order of checks.

    With a name or a reference that means nothing, that alone is told: what follows from it
    would only be noise.
    """
    first = [*_names(devices), *_references(devices)]
    yield from first
    if not first:
        yield from _loops(devices)
        yield from _members(devices)
        yield from _vlans(devices)
        yield from _addresses(devices)
        for kind, name, device in devices:
            yield from _gateways(kind, name, device)
            yield from _families(kind, name, device)
            yield from _cards(kind, name, device)
            yield from _bonds(kind, name, device)
        yield from _default_routes(devices)


def members(device: Device) -> tuple[str, ...]:
    """The interfaces that a bond, a bridge or a VRF is made of."""
    return device.interfaces if isinstance(device, Bond | Bridge | Vrf) else ()


def lower(device: Device) -> str | None:
    """The interface that a VLAN or a VXLAN lies on."""
    return device.link if isinstance(device, Vlan | Tunnel) else None


def _names(devices: Devices) -> Iterator[Fault]:
    kinds: dict[str, str] = {}
    cards: dict[str, str] = {}
    matched: dict[str, str] = {}
    for kind, name, device in devices:
        if name in kinds:
            message = f"the name '{name}' stands in {_word(kinds[name])} too"
            yield Fault((kind, name), message)
        kinds.setdefault(name, kind)
        real = _real_name(name, device)
        if real is not None and cards.setdefault(real, name) != name:
            yield Fault((kind, name, "set_name"), f"'{cards[real]}' is called {real} too")
        match = device.match if isinstance(device, Ethernet) else None
        if match and match.macaddress:
            first = matched.setdefault(match.macaddress.lower(), name)
            if first != name:
                message = f"'{first}' is the card {match.macaddress} already"
                yield Fault((kind, name, "match", "macaddress"), message)


def _real_name(name: str, device: Device) -> str | None:
    """What the kernel calls it; None when that is not said."""
    if not isinstance(device, Ethernet):
        return name
    return device.set_name or (name if device.match is None else None)


def _references(devices: Devices) -> Iterator[Fault]:
    known = {name for _, name, _ in devices}
    for kind, name, device in devices:
        for member in members(device):
            if member not in known:
                yield Fault((kind, name, "interfaces", member), _unknown(member))
        link = lower(device)
        if link is not None and link not in known:
            yield Fault((kind, name, "link"), _unknown(link))
        if isinstance(device, Bridge) and device.parameters:
            yield from _ports(kind, name, device)


def _ports(kind: str, name: str, bridge: Bridge) -> Iterator[Fault]:
    known = set(bridge.interfaces)
    for key in ("path_cost", "port_priority"):
        for port in getattr(bridge.parameters, key):
            if port not in known:
                message = f"'{port}' is none of the bridge's interfaces"
                yield Fault((kind, name, "parameters", key, port), message)


def _unknown(name: str) -> str:
    return f"no interface of the name '{name}' in this document; add it, below ethernets if a card"


def _loops(devices: Devices) -> Iterator[Fault]:
    below: dict[str, set[str]] = {name: set(members(device)) for _, name, device in devices}
    above: dict[str, set[str]] = {name: set() for name in below}
    for _, name, device in devices:
        if (link := lower(device)) is not None:
            below[name].add(link)
        for found in below[name]:
            above[found].add(name)
    # What has nothing below it, or above it, is in no loop; without it the same is said again.
    looped = set(below) - _peeled(below, above)
    looped -= _peeled({name: above[name] & looped for name in looped}, below)
    for kind, name, device in devices:
        if name in looped:
            key = "interfaces" if members(device) else "link"
            yield Fault((kind, name, key), f"'{name}' is made of itself")


def _peeled(needs: dict[str, set[str]], needed: dict[str, set[str]]) -> set[str]:
    """The names from which a way along `needs` always ends."""
    left = {name: len(found) for name, found in needs.items()}
    ready = [name for name, count in left.items() if count == 0]
    peeled: set[str] = set()
    while ready:
        name = ready.pop()
        peeled.add(name)
        for other in needed[name] & left.keys():
            left[other] -= 1
            if left[other] == 0:
                ready.append(other)
    return peeled


def _members(devices: Devices) -> Iterator[Fault]:
    kinds = {name: (kind, device) for kind, name, device in devices}
    taken: dict[str, str] = {}
    for kind, name, device in devices:
        for member in members(device):
            path = (kind, name, "interfaces", member)
            if taken.setdefault(member, name) != name:
                yield Fault(path, f"'{member}' is in '{taken[member]}' already")
            elif isinstance(device, Bond | Bridge) and _has_addresses(kinds[member][1]):
                message = f"its addresses mean nothing in '{name}'; give them to '{name}'"
                yield Fault((kinds[member][0], member), message, serious=False)
            if isinstance(device, Bond) and not isinstance(kinds[member][1], Ethernet):
                yield Fault(path, f"'{member}' is no card; a bond is made of ethernets")


def _has_addresses(device: Device) -> bool:
    return bool(device.dhcp4 or device.dhcp6 or device.addresses)


def _vlans(devices: Devices) -> Iterator[Fault]:
    seen: dict[tuple[str, int], str] = {}
    for kind, name, device in devices:
        if isinstance(device, Vlan):
            first = seen.setdefault((device.link, device.id), name)
            if first != name:
                message = f"'{first}' is the VLAN {device.id} of '{device.link}' already"
                yield Fault((kind, name, "id"), message)


def _addresses(devices: Devices) -> Iterator[Fault]:
    apart = {
        member for _, _, device in devices if isinstance(device, Vrf) for member in members(device)
    }
    owners: dict[object, str] = {}
    for kind, name, device in devices:
        for address in device.addresses:
            if address.interface.is_link_local or name in apart:
                continue  # each interface, each VRF has its own
            first = owners.setdefault(address.interface.ip, name)
            if first != name:
                message = f"'{first}' has the address {address.interface.ip} too"
                yield Fault((kind, name, "addresses", str(address.interface)), message)


def _gateways(kind: str, name: str, device: Device) -> Iterator[Fault]:
    """A router outside of all subnets cannot be reached; a lease may bring its subnet."""
    asked = [("gateway4", device.gateway4), ("gateway6", device.gateway6)]
    asked += [("routes", route.via) for route in device.routes if not route.on_link]
    subnets = Subnets()
    for item in device.addresses:
        subnets.add(item.interface.network, name)
    for key, router in asked:
        if router is None or router.is_link_local:
            continue
        by_lease = device.dhcp4 if router.version == 4 else device.dhcp6 or device.accept_ra
        if not by_lease and subnets.owner(router) is None:
            message = f"the router {router} is in no subnet of '{name}'; if that is meant, write"
            message += " routes with on-link: true"
            yield Fault((kind, name, key), message, serious=False)


def _families(kind: str, name: str, device: Device) -> Iterator[Fault]:
    """Routers and DHCPv6 servers are spoken to by link-local addresses (RFC 4861, 8415)."""
    if device.link_local is None or LinkLocal.IPV6 in device.link_local:
        return
    for key in ("accept_ra", "dhcp6"):
        if getattr(device, key):
            message = "this needs link-local addresses of IPv6; add ipv6 to link-local"
            yield Fault((kind, name, key), message, serious=False)


def _cards(kind: str, name: str, device: Device) -> Iterator[Fault]:
    if not isinstance(device, Ethernet):
        return
    if device.match and (device.match.macaddress or device.match.driver):
        return
    if device.match and (device.match.name or "").startswith("eth"):
        return
    # udev looks at these by the name that the kernel gave, before a card gets its own.
    for key in ("set_name", *LINK_KEYS):
        if getattr(device, key) is not None:
            message = "this works for a card that is matched by macaddress or driver, or by the"
            message += " kernel's name for it (eth0); not by a name that it gets at boot"
            yield Fault((kind, name, key), message, serious=False)


LINK_KEYS = (
    "wakeonlan",
    "receive_checksum_offload",
    "transmit_checksum_offload",
    "tcp_segmentation_offload",
    "tcp6_segmentation_offload",
    "generic_segmentation_offload",
    "generic_receive_offload",
    "large_receive_offload",
)


def _bonds(kind: str, name: str, device: Device) -> Iterator[Fault]:
    if not isinstance(device, Bond):
        return
    options, mode = device.parameters, device.parameters.mode or BondMode.BALANCE_RR
    path = (kind, name, "parameters")
    if options.primary is not None:
        if options.primary not in device.interfaces:
            yield Fault((*path, "primary"), f"'{options.primary}' is none of its interfaces")
        if mode not in _PRIMARY:
            yield Fault((*path, "primary"), f"a bond of mode {mode.value} has no primary")
    for key in ("lacp_rate", "ad_select"):
        if getattr(options, key) is not None and mode is not BondMode.LACP:
            message = f"this is for the mode 802.3ad; the mode is {mode.value}"
            yield Fault((*path, key), message)


def _default_routes(devices: Devices) -> Iterator[Fault]:
    seen: dict[tuple[int | None, int, int], str] = {}
    for kind, name, device in devices:
        default = device.table if isinstance(device, Vrf) else 254
        mine = [(route, "routes") for route in device.routes if _is_default(route)]
        found = [(r.version, r.table or default, r.metric or 0, key) for r, key in mine]
        found += [(4, default, 0, "gateway4")] if device.gateway4 else []
        found += [(6, default, 0, "gateway6")] if device.gateway6 else []
        for version, table, metric, key in found:
            first = seen.setdefault((version, table, metric), name)
            if first != name:
                message = f"'{first}' has a default route of the same metric; give one a metric"
                yield Fault((kind, name, key), message, serious=False)
        for one, other in pairwise(found):
            if one[:3] == other[:3]:
                message = f"two default routes of '{name}' have the same metric"
                yield Fault((kind, name, other[3]), message, serious=False)


def _is_default(route: Route) -> bool:
    return route.to == "default" or route.to.prefixlen == 0


def _word(kind: str) -> str:
    return kind.replace("_", "-")
