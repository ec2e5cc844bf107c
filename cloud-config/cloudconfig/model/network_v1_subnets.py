"""Version 1's `subnets` and routes, in the words of version 2."""

import re
from contextlib import suppress
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from cloudconfig.model.network_v1_nodes import Draft, mapping, normal, several, text, unknown
from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import Reading, Wrong, entries, is_null
from hostkit.document.source import Mapping as MappingNode
from hostkit.document.source import Node, Scalar, Sequence, shown


class Subnet(Enum):
    """How an interface gets an address."""

    DHCP = "dhcp"
    DHCP4 = "dhcp4"
    DHCP6 = "dhcp6"
    STATIC = "static"
    STATIC6 = "static6"
    MANUAL = "manual"
    STATEFUL = "ipv6_dhcpv6-stateful"
    STATELESS = "ipv6_dhcpv6-stateless"
    SLAAC = "ipv6_slaac"


class Control(Enum):
    """When an interface is brought up."""

    AUTO = "auto"
    HOTPLUG = "hotplug"
    MANUAL = "manual"


# What each asks for, as keys of version 2 that are true.
_ASKED = {
    Subnet.DHCP: ("dhcp4",),
    Subnet.DHCP4: ("dhcp4",),
    Subnet.DHCP6: ("dhcp6",),
    Subnet.STATEFUL: ("dhcp6", "accept_ra"),
    Subnet.STATELESS: ("dhcp6", "accept_ra"),
    Subnet.SLAAC: ("accept_ra",),
}
_KNOWN = ("type", "control", "address", "netmask", "gateway", "dns_nameservers", "dns_search")
_NEEDLESS = {
    "broadcast": "it follows from the netmask",
    "network": "it follows from the address",
    "ipv4": "it is seen by the address",
    "ipv6": "it is seen by the address",
}
_ROUTE = ("destination", "network", "netmask", "gateway", "metric", "mtu")
_LINE = Text("one word", r"[^\s]{1,128}")


def subnets(node: Node, draft: Draft, reading: Reading) -> None:
    """Add what a list of subnets asks for to an interface."""
    if is_null(node):
        return
    if not isinstance(node, Sequence):
        raise reading.fail(node.place, "expected a list of subnets")
    for item in node.items:
        with suppress(Wrong):
            _subnet(item, draft, reading)


def _subnet(node: Node, draft: Draft, reading: Reading) -> None:
    found = _entries(node, (*_KNOWN, "routes"), reading)
    if "type" not in found:
        raise reading.fail(node.place, f"missing: type, {Choice(Subnet).label}")
    kind = Choice(Subnet).read(found["type"], reading)
    for key in _ASKED.get(Subnet(kind), ()):
        draft.put(key, found["type"].place, "true")
    if "control" in found:
        _control(found["control"], draft, reading)
    if kind in (Subnet.STATIC, Subnet.STATIC6) and "address" not in found:
        raise reading.fail(node.place, f"missing: address, of a subnet of type {kind.value}")
    if "address" in found:
        draft.addresses.append(_address(found, reading))
    if "gateway" in found:
        place = found["gateway"].place
        draft.routes.append(mapping(place, {"to": text(place, "default"), "via": found["gateway"]}))
    if "routes" in found:
        for item in several(found["routes"]):
            with suppress(Wrong):
                draft.routes.append(route(item, reading))
    draft.dns.extend(several(found["dns_nameservers"]) if "dns_nameservers" in found else ())
    draft.search.extend(several(found["dns_search"]) if "dns_search" in found else ())


def _entries(node: Node, known: tuple[str, ...], reading: Reading) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for entry in entries(node, "a mapping", reading):
        name = normal(entry.key)
        if name in _NEEDLESS and name not in known:
            reading.warn(entry.key.place, f"{shown(name)} does nothing here: {_NEEDLESS[name]}")
        elif name not in known:
            unknown(entry.key, known, reading)
        elif not is_null(entry.value):
            found[name] = entry.value
    return found


def _control(node: Node, draft: Draft, reading: Reading) -> None:
    control = Choice(Control).read(node, reading)
    if control is Control.MANUAL:
        draft.put("activation_mode", node.place, "manual")
    elif control is Control.HOTPLUG:
        draft.put("optional", node.place, "true")


def _address(found: dict[str, Node], reading: Reading) -> Scalar:
    node = found["address"]
    address = _LINE.read(node, reading)
    if "/" in address:
        return text(node.place, address)
    if "netmask" not in found:
        message = f"{shown(address)} has no netmask; write it such as {shown(address + '/24')}"
        raise reading.fail(node.place, message)
    return text(node.place, f"{address}/{_prefix(found['netmask'], reading)}")


def _prefix(node: Node, reading: Reading) -> int:
    """The length of a prefix: of a netmask, or as it is."""
    mask = _LINE.read(node, reading)
    if re.fullmatch(r"/?[0-9]{1,3}", mask):
        return int(mask.removeprefix("/"))
    with suppress(ValueError):
        address = IPv6Address(mask) if ":" in mask else IPv4Address(mask)
        bits = f"{int(address):0{address.max_prefixlen}b}"
        if "01" not in bits:
            return bits.count("1")
    raise reading.fail(node.place, f"{shown(mask)} is not a netmask such as 255.255.255.0")


def route(node: Node, reading: Reading) -> MappingNode:
    """A route of version 2."""
    found = _entries(node, _ROUTE, reading)
    to = found.get("destination", found.get("network"))
    if to is None or "gateway" not in found:
        missing = "destination" if to is None else "gateway"
        raise reading.fail(node.place, f"missing: {missing}, of a route")
    if "netmask" in found:
        network = _LINE.read(to, reading).split("/")[0]
        to = text(to.place, f"{network}/{_prefix(found['netmask'], reading)}")
    values = {"to": to, "via": found["gateway"]}
    values |= {name: found[name] for name in ("metric", "mtu") if name in found}
    return mapping(node.place, values)
