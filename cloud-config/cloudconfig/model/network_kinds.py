# ruff: noqa: D102 (what overrides a method of Kind is documented there)
"""The kinds of value that interfaces and addresses are made of.

Every text that ends in a file of networkd is checked by pattern here: none holds a newline, a
space or a `%`, which systemd would read as more than a value.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any, Literal

from cloudconfig.kinds import BOOLEAN, Integer, seconds
from hostkit.document.kinds import Parsed, Text
from hostkit.document.schema import Kind, Part, Reading, Section, Wrong, entries
from hostkit.document.source import Entry, Node, Scalar, shown
from hostkit.document.source import Mapping as MappingNode

IpAddress = IPv4Address | IPv6Address
IpInterface = IPv4Interface | IPv6Interface
IpNetwork = IPv4Network | IPv6Network
Destination = IpNetwork | Literal["default"]

# What `ipaddress` takes besides: zones (`%eth0`, of any characters), netmasks, digits of others.
_PLAIN = re.compile(r"[0-9A-Fa-f.:]{2,45}")
_WITH_PREFIX = re.compile(r"[0-9A-Fa-f.:]{2,45}/[0-9]{1,3}")


def address_of(text: str) -> IpAddress:
    """An address without its prefix.

    Raises:
        ValueError: it is none.
    """
    if not _PLAIN.fullmatch(text):
        raise ValueError(text)
    return ip_address(text)


def ipv4_of(text: str) -> IPv4Address:
    """An IPv4 address; raises ValueError when it is none."""
    if not _PLAIN.fullmatch(text):
        raise ValueError(text)
    return IPv4Address(text)


def ipv6_of(text: str) -> IPv6Address:
    """An IPv6 address; raises ValueError when it is none."""
    if not _PLAIN.fullmatch(text):
        raise ValueError(text)
    return IPv6Address(text)


def interface_of(text: str) -> IpInterface:
    """An address with the length of its prefix, "192.0.2.7/24"; raises ValueError for others."""
    if not _WITH_PREFIX.fullmatch(text):
        raise ValueError(text)
    return ip_interface(text)


def network_of(text: str) -> IpNetwork:
    """A network, or one address as the network that holds nothing else.

    Bits beyond the prefix are taken as zero, as netplan and networkd do.

    Raises:
        ValueError: it is none.
    """
    if not (_WITH_PREFIX.fullmatch(text) or _PLAIN.fullmatch(text)):
        raise ValueError(text)
    return ip_network(text, strict=False)


def destination_of(text: str) -> Destination:
    """Where a route goes: a network, or `default`; raises ValueError for others."""
    return "default" if text == "default" else network_of(text)


@dataclass(frozen=True, slots=True)
class Interval(Kind):
    """A length of time in milliseconds; a bare number counts in `unit` milliseconds."""

    unit: int

    @property
    def label(self) -> str:
        return f"a length of time; a bare number is in {'s' if self.unit == 1000 else 'ms'}"

    def read(self, node: Node, reading: Reading) -> int:
        text = self.text(node, reading)
        with suppress(ValueError):
            if re.fullmatch(r"[0-9]{1,9}", text):
                return int(text) * self.unit
            return round(seconds(text) * 1000)
        raise reading.fail(node.place, f"{shown(text)} is not {self.label}")

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "integer"]}

    def write(self, value: int) -> object:
        return f"{value}ms"


class Renderer(Kind):
    """Who sets the network up, which a Bedplate host has no choice of."""

    @property
    def label(self) -> str:
        return "networkd"

    def read(self, node: Node, reading: Reading) -> str:
        text = self.text(node, reading)
        if text != "networkd":
            message = f"{shown(text)} is not here: leave renderer out, or write networkd"
            raise reading.fail(node.place, message)
        return text

    def json_schema(self) -> dict[str, object]:
        return {"const": "networkd"}


class UseDomains(Kind):
    """True, false, or `route`: systemd.network(5), "UseDomains="."""

    @property
    def label(self) -> str:
        return "true, false or route"

    def read(self, node: Node, reading: Reading) -> str:
        text = self.text(node, reading)
        if text == "route":
            return text
        with suppress(Wrong):
            return "yes" if BOOLEAN.read(node, Reading(as_coreos=True)) else "no"
        raise reading.fail(node.place, f"{shown(text)} is not {self.label}")

    def json_schema(self) -> dict[str, object]:
        return {"anyOf": [BOOLEAN.json_schema(), {"const": "route"}]}


@dataclass(frozen=True, slots=True)
class Secret(Kind):
    """Text that no message repeats: a key of WireGuard, or the path of a file that holds it."""

    # 32 bytes in base64: 42 letters, one of which four bits count, and the padding.
    pattern: str = r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=|/[A-Za-z0-9_.\-/]{1,255}"

    @property
    def label(self) -> str:
        return "a key of 44 characters as `wg genkey` gives it, or the path of a file with it"

    @property
    def secret(self) -> bool:
        return True

    def read(self, node: Node, reading: Reading) -> str:
        text = self.text(node, reading)
        if not re.fullmatch(self.pattern, text):
            raise reading.fail(node.place, f"this is not {self.label}")
        return text

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class DevicesOf(Kind):
    """Interfaces by their names; a `renderer` among them is for all of them."""

    name: Text
    device: Kind

    @property
    def label(self) -> str:
        return "a mapping of interfaces by name"

    def read(self, node: Node, reading: Reading) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for entry in entries(node, self.label, reading):
            with suppress(Wrong):
                if entry.key.text == "renderer" and isinstance(entry.value, Scalar):
                    RENDERER.read(entry.value, reading)
                    continue
                name = self.name.read(entry.key, reading)
                values[name] = self.device.read(entry.value, reading)
        return values

    def json_schema(self) -> dict[str, object]:
        return {
            "type": "object",
            "properties": {"renderer": RENDERER.json_schema()},
            "additionalProperties": self.device.json_schema(),
        }

    def parts(self) -> tuple[Part, ...]:
        return (Part(self.device, ".*", ("additionalProperties",)),)

    def write(self, value: dict[str, Any]) -> object:
        return {name: self.device.write(item) for name, item in value.items()}


@dataclass(frozen=True, slots=True)
class Aliased(Kind):
    """A section some of whose keys have another name in documents."""

    section: Section
    names: Mapping[str, str]  # as it stands in documents: the field

    @property
    def label(self) -> str:
        return self.section.label

    def read(self, node: Node, reading: Reading) -> Any:  # noqa: ANN401 (the section's model)
        return self.section.read(renamed(node, self.names), reading)

    def json_schema(self) -> dict[str, object]:
        schema = self.section.json_schema()
        known = schema["properties"]
        if isinstance(known, dict):
            schema["properties"] = known | {name: known[to] for name, to in self.names.items()}
        return schema

    def parts(self) -> tuple[Part, ...]:
        return (Part(self.section, "", (), {to: name for name, to in self.names.items()}),)

    def write(self, value: object) -> object:
        return self.section.write(value)


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """A mapping with some keys called otherwise, each at its place; other nodes as they are."""
    if not isinstance(node, MappingNode):
        return node
    found = []
    for entry in node.entries:
        text = names.get(entry.key.text.replace("-", "_"), entry.key.text)
        found.append(Entry(Scalar(entry.key.place, entry.key.kind, text), entry.value))
    return MappingNode(node.place, tuple(found))


@dataclass(slots=True)
class Subnets:
    """Networks, and whose each is; found by an address in time that does not grow with them."""

    owners: dict[tuple[int, int], dict[int, str]] = field(default_factory=dict)

    def add(self, network: IpNetwork, owner: str) -> None:
        """Add one; the first owner of a network keeps it."""
        key = (network.version, network.prefixlen)
        self.owners.setdefault(key, {}).setdefault(int(network.network_address), owner)

    def owner(self, address: IpAddress) -> str | None:
        """Whose network `address` is in; of several, the first whose kind was added."""
        for (version, length), networks in self.owners.items():
            if version == address.version:
                rest = address.max_prefixlen - length
                found = networks.get(int(address) >> rest << rest)
                if found is not None:
                    return found
        return None


RENDERER = Renderer()
USE_DOMAINS = UseDomains()
SECRET = Secret()
MILLISECONDS = Interval(1)
SECONDS = Interval(1000)
ADDRESS = Parsed("an IP address", address_of)
IPV4 = Parsed("an IPv4 address", ipv4_of)
IPV6 = Parsed("an IPv6 address", ipv6_of)
NETWORK_ADDRESS = Parsed("a network such as 192.0.2.0/24, or an address", network_of)
DESTINATION = Parsed("a network such as 192.0.2.0/24, an address, or default", destination_of)
# A card's own address: its first byte's lowest bit would make it a group's.
MAC = Text(
    "a card's address such as 52:54:00:12:34:56",
    r"[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}",
)
# What systemd's ifname_valid takes, less what has a meaning in its files.
_NAME = r"(?!(all|default|lo|[0-9]+)$)[A-Za-z0-9_][A-Za-z0-9_.\-]"
NEW_NAME = Text("an interface's name of at most 15 characters such as lan0", _NAME + r"{0,14}")
CARD = Text(
    "a name such as enp1s0: letters, digits, `_`, `.` and `-`", r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}"
)
GLOB = Text(
    "a name, in which *, ? and [] may stand for others", r"[A-Za-z0-9_.*?\[\]\-]+", limit=64
)
SEARCH_DOMAIN = Text(
    "a domain such as example.org",
    r"~?(\.|[A-Za-z0-9_]([A-Za-z0-9_\-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_\-]*[A-Za-z0-9_])?)*\.?)",
    limit=254,
)
ENDPOINT = Text(
    "host:port, [IPv6 address]:port", r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.\-]{1,253}):[0-9]{1,5}"
)
PUBLIC_KEY = Text(
    "a public key of 44 characters as `wg pubkey` gives it",
    r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=",
)
MTU = Integer(68, 65536)
METRIC = Integer(0, 4294967295)
TABLE = Integer(1, 4294967295)
