# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""What interfaces of every kind may have: addresses, routes, rules, name servers, overrides."""

from dataclasses import dataclass
from enum import Enum

from cloudconfig.kinds import BOOLEAN, HOSTNAME, Integer
from cloudconfig.model.network_kinds import (
    ADDRESS,
    DESTINATION,
    METRIC,
    MTU,
    NETWORK_ADDRESS,
    SEARCH_DOMAIN,
    TABLE,
    USE_DOMAINS,
    Aliased,
    Destination,
    IpAddress,
    IpInterface,
    IpNetwork,
    interface_of,
)
from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import Kind, ListOf, Reading, Section, key
from hostkit.document.source import Mapping, Node, shown


class RouteType(Enum):
    """What becomes of packets that a route is for (ip-route(8))."""

    UNICAST = "unicast"
    ANYCAST = "anycast"
    BLACKHOLE = "blackhole"
    BROADCAST = "broadcast"
    LOCAL = "local"
    MULTICAST = "multicast"
    NAT = "nat"
    PROHIBIT = "prohibit"
    THROW = "throw"
    UNREACHABLE = "unreachable"
    XRESOLVE = "xresolve"


NOWHERE = (RouteType.BLACKHOLE, RouteType.PROHIBIT, RouteType.THROW, RouteType.UNREACHABLE)


class Scope(Enum):
    """How far a route reaches."""

    GLOBAL = "global"
    LINK = "link"
    HOST = "host"


class Lifetime(Enum):
    """How long an address is preferred."""

    FOREVER = "forever"
    ZERO = "0"


@dataclass(frozen=True, slots=True)
class AddressOptions:
    """What may stand below an address."""

    lifetime: Lifetime | None = key(
        Choice(Lifetime), "`0`: only used by programs that ask for it.", default=None
    )
    label: str | None = key(
        Text("a label of 15 characters at most", r"[A-Za-z0-9_.:\-]{1,15}"),
        "The label of ip-address(8).",
        default=None,
    )


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface, with the length of its prefix."""

    interface: IpInterface
    options: AddressOptions = AddressOptions()


_OPTIONS = Section(AddressOptions)


class AddressKind(Kind):
    """An address, or one key that is an address with options below it."""

    @property
    def label(self) -> str:
        """What it is."""
        return "an address with its prefix such as 192.0.2.7/24"

    def read(self, node: Node, reading: Reading) -> Address:
        """The address."""
        if not isinstance(node, Mapping):
            return Address(self._interface(node, reading))
        if len(node.entries) != 1:
            raise reading.fail(node.place, f"{len(node.entries)} keys; expected {self.label}")
        (entry,) = node.entries
        interface = self._interface(entry.key, reading)
        options = _OPTIONS.read(entry.value, reading)
        if options.label is not None and interface.version == 6:
            reading.warn(entry.key.place, "a label does nothing here: only IPv4 addresses have one")
        return Address(interface, options)

    def _interface(self, node: Node, reading: Reading) -> IpInterface:
        text = self.text(node, reading)
        try:
            return interface_of(text)
        except ValueError:
            raise reading.fail(node.place, f"{shown(text)} is not {self.label}") from None

    def json_schema(self) -> dict[str, object]:
        """Text, or a mapping with one key."""
        options = {"type": "object", "maxProperties": 1}
        return {"anyOf": [{"type": "string"}, options]}

    def write(self, value: Address) -> object:
        """As it is read."""
        options = _OPTIONS.write(value.options)
        return {str(value.interface): options} if options else str(value.interface)


@dataclass(frozen=True, slots=True)
class Nameservers:
    """Who is asked for names, over this interface."""

    addresses: tuple[IpAddress, ...] = key(ListOf(ADDRESS), "Their addresses.", default=())
    search: tuple[str, ...] = key(
        ListOf(SEARCH_DOMAIN), "Domains that short names are tried in.", default=()
    )


@dataclass(frozen=True, slots=True)
class Dhcp4Overrides:
    """What is made of a DHCPv4 lease; what is left out is as a lease says."""

    use_dns: bool | None = key(BOOLEAN, "Its name servers.", default=None)
    use_ntp: bool | None = key(BOOLEAN, "Its time servers.", default=None)
    use_domains: str | None = key(USE_DOMAINS, "Its domain, or only for routing.", default=None)
    use_hostname: bool | None = key(BOOLEAN, "Its name for this host.", default=None)
    use_mtu: bool | None = key(BOOLEAN, "Its MTU.", default=None)
    use_routes: bool | None = key(BOOLEAN, "Its routes.", default=None)
    send_hostname: bool | None = key(BOOLEAN, "Tell it this host's name.", default=None)
    hostname: str | None = key(HOSTNAME, "Tell it this name.", default=None)
    route_metric: int | None = key(METRIC, "The metric of its routes; 100.", default=None)


@dataclass(frozen=True, slots=True)
class Dhcp6Overrides:
    """What is made of a DHCPv6 lease, which has neither routes nor an MTU."""

    use_dns: bool | None = key(BOOLEAN, "Its name servers.", default=None)
    use_ntp: bool | None = key(BOOLEAN, "Its time servers.", default=None)
    use_domains: str | None = key(USE_DOMAINS, "Its domain, or only for routing.", default=None)
    use_hostname: bool | None = key(BOOLEAN, "Its name for this host.", default=None)
    send_hostname: bool | None = key(BOOLEAN, "Tell it this host's name.", default=None)
    hostname: str | None = key(
        Text("a host's name without a domain", r"[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?"),
        "Tell it this name.",
        default=None,
    )
    route_metric: int | None = key(METRIC, "The metric of routers' routes.", default=None)


@dataclass(frozen=True, slots=True)
class RaOverrides:
    """What is made of a router's advertisements."""

    use_dns: bool | None = key(BOOLEAN, "Its name servers.", default=None)
    use_domains: str | None = key(USE_DOMAINS, "Its domains, or only for routing.", default=None)
    table: int | None = key(TABLE, "The routing table of its routes.", default=None)


@dataclass(frozen=True, slots=True)
class Route:
    """A route; `default` is of the family of `via` or `source`."""

    to: Destination = key(DESTINATION, "Where to.")
    via: IpAddress | None = key(ADDRESS, "Over which router.", default=None)
    source: IpAddress | None = key(ADDRESS, "With which address of ours.", default=None)
    metric: int | None = key(METRIC, "Smaller ones win.", default=None)
    on_link: bool = key(
        BOOLEAN, "The router is on this link, whatever addresses say.", default=False
    )
    type: RouteType | None = key(Choice(RouteType), "What becomes of packets.", default=None)
    scope: Scope | None = key(Choice(Scope), "How far it reaches.", default=None)
    table: int | None = key(TABLE, "In which routing table.", default=None)
    mtu: int | None = key(MTU, "The MTU along it.", default=None)
    congestion_window: int | None = key(Integer(1, 1023), "In segments.", default=None)
    advertised_receive_window: int | None = key(Integer(1, 1023), "In segments.", default=None)
    advertised_mss: int | None = key(Integer(1, 65535), "In bytes.", default=None)

    @property
    def version(self) -> int | None:
        """4 or 6; None when nothing tells."""
        for part in (self.to, self.via, self.source):
            if part is not None and part != "default":
                return part.version
        return None


def _route_problem(route: Route) -> str | None:
    parts = (route.to, route.via, route.source)
    if len({part.version for part in parts if part is not None and part != "default"}) > 1:
        return "IPv4 and IPv6 in one route"
    if route.version is None:
        return "the key to is default without via; write 0.0.0.0/0 or ::/0"
    if route.on_link and route.via is None:
        return "on-link without via, the router that it is about"
    if route.type in NOWHERE and route.via is not None:
        return f"via with the type {route.type.value}, which leads nowhere"
    return None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that says which routing table is for which packets."""

    source: IpNetwork | None = key(NETWORK_ADDRESS, "Packets from here.", default=None)
    to: IpNetwork | None = key(NETWORK_ADDRESS, "Packets to there.", default=None)
    table: int | None = key(TABLE, "The routing table.", default=None)
    priority: int | None = key(METRIC, "Smaller ones are looked at first.", default=None)
    mark: int | None = key(Integer(1, 4294967295), "Packets marked by the firewall.", default=None)
    type_of_service: int | None = key(Integer(0, 255), "Packets of that service.", default=None)


def _rule_problem(rule: Rule) -> str | None:
    if rule.source is None and rule.to is None:
        return "neither from nor to; write 0.0.0.0/0 or ::/0 for any"
    if rule.source and rule.to and rule.source.version != rule.to.version:
        return "IPv4 and IPv6 in one rule"
    return None


_BY_ROUTERS = "DHCPv6 has none; routers tell it (accept-ra, ra-overrides)"
ADDRESSES = ListOf(AddressKind())
DHCP4_OVERRIDES = Section(Dhcp4Overrides)
DHCP6_OVERRIDES = Section(
    Dhcp6Overrides, ignored={"use_routes": _BY_ROUTERS, "use_mtu": _BY_ROUTERS}
)
# Python has the word `from` for itself.
ROUTES = ListOf(
    Aliased(Section(Route, _route_problem), {"from": "source", "advmss": "advertised_mss"})
)
RULES = ListOf(Aliased(Section(Rule, _rule_problem), {"from": "source"}))
