# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""Tunnels: WireGuard and VXLAN, which are those that the image has modules for."""

import re
from dataclasses import dataclass
from enum import Enum

from cloudconfig.kinds import BOOLEAN, Integer
from cloudconfig.model.network_devices import BY_FILE, Device, device_problem, virtual
from cloudconfig.model.network_kinds import (
    ADDRESS,
    CARD,
    ENDPOINT,
    NETWORK_ADDRESS,
    PUBLIC_KEY,
    SECRET,
    Aliased,
    IpAddress,
    IpNetwork,
)
from hostkit.document.kinds import Choice, Parsed
from hostkit.document.schema import Kind, ListOf, Reading, Section, key
from hostkit.document.source import Mapping, Node, shown


def _port(text: str) -> int | None:
    if text == "auto":
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ValueError(text)
    return int(text)


class TunnelMode(Enum):
    """What a tunnel speaks."""

    WIREGUARD = "wireguard"
    VXLAN = "vxlan"


class _Mode(Kind):
    """A tunnel's mode; netplan's others are known by name."""

    others = ("gre", "gretap", "ip6gre", "ip6gretap", "ip6ip6", "ipip", "ipip6")
    more = ("isatap", "sit", "vti", "vti6")

    @property
    def label(self) -> str:
        """What it is."""
        return Choice(TunnelMode).label

    def read(self, node: Node, reading: Reading) -> Enum:
        """The mode."""
        text = self.text(node, reading)
        if text in self.others + self.more:
            message = f"{shown(text)} is not supported: use wireguard or vxlan, or {BY_FILE}"
            raise reading.fail(node.place, message)
        return Choice(TunnelMode).read(node, reading)

    def json_schema(self) -> dict[str, object]:
        """Those that work."""
        return Choice(TunnelMode).json_schema()

    def write(self, value: Enum) -> object:
        """As it is read."""
        return value.value


class _PrivateKey(Kind):
    """WireGuard's private key, as it is or as `private` in a mapping of keys."""

    @property
    def label(self) -> str:
        """What it is."""
        return SECRET.label

    @property
    def secret(self) -> bool:
        """No message and no repr shows it."""
        return True

    def read(self, node: Node, reading: Reading) -> str:
        """The key, or the path of its file."""
        if not isinstance(node, Mapping):
            return SECRET.read(node, reading)
        found = [entry.value for entry in node.entries if entry.key.text == "private"]
        for entry in node.entries:
            if entry.key.text != "private":
                message = f"unknown key {shown(entry.key.text)}; WireGuard has private"
                reading.note(entry.key.place, message)
        if not found:
            raise reading.fail(node.place, "missing: private, the tunnel's own key")
        return SECRET.read(found[0], reading)

    def json_schema(self) -> dict[str, object]:
        """Text, or a mapping with one key."""
        mapping = {"type": "object", "properties": {"private": SECRET.json_schema()}}
        return {"anyOf": [SECRET.json_schema(), mapping]}


@dataclass(frozen=True, slots=True)
class PeerKeys:
    """What a peer is known by."""

    public: str = key(PUBLIC_KEY, "Its public key.")
    shared: str | None = key(SECRET, "A key that both know, or its file.", default=None)


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a WireGuard tunnel."""

    keys: PeerKeys = key(Section(PeerKeys), "What it is known by.")
    endpoint: str | None = key(ENDPOINT, "Where it is.", default=None)
    allowed_ips: tuple[IpNetwork, ...] = key(
        ListOf(NETWORK_ADDRESS), "The addresses behind it.", default=()
    )
    keepalive: int | None = key(
        Integer(1, 65535), "Seconds between packets that keep the way open.", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel(Device):
    """A network within another."""

    mode: TunnelMode = key(_Mode(), "What it speaks.")
    keys: str | None = key(
        _PrivateKey(), "WireGuard's private key, or the path of its file.", default=None
    )
    port: int | None = key(
        Parsed("a port, or auto", _port),
        "The UDP port it listens on; VXLAN's is 4789.",
        default=None,
    )
    mark: int | None = key(
        Integer(1, 4294967295), "WireGuard: the firewall mark of its packets.", default=None
    )
    peers: tuple[Peer, ...] = key(ListOf(Section(Peer)), "WireGuard's other ends.", default=())
    id: int | None = key(Integer(1, 16777215), "VXLAN: the network's number.", default=None)
    link: str | None = key(
        CARD, "VXLAN: the interface below it, by its name in this document.", default=None
    )
    local: IpAddress | None = key(ADDRESS, "VXLAN: our address below.", default=None)
    remote: IpAddress | None = key(ADDRESS, "VXLAN: the other's, or a group's.", default=None)
    ttl: int | None = key(Integer(1, 255), "VXLAN: how far packets go.", default=None)
    mac_learning: bool | None = key(BOOLEAN, "VXLAN: learn who is where.", default=None)


_FOR_VXLAN = ("id", "link", "local", "remote", "ttl", "mac_learning")
_FOR_WIREGUARD = ("keys", "mark", "peers")


def tunnel_problem(tunnel: Tunnel) -> str | None:
    """What is missing, or is of another mode."""
    wireguard = tunnel.mode is TunnelMode.WIREGUARD
    others = _FOR_VXLAN if wireguard else _FOR_WIREGUARD
    for name in others:
        if getattr(tunnel, name) not in (None, ()):
            return f"{name.replace('_', '-')} means nothing with the mode {tunnel.mode.value}"
    if wireguard and tunnel.keys is None:
        return "no key: the private key that `wg genkey` makes"
    if not wireguard and tunnel.id is None:
        return "no id: the number of the VXLAN"
    return device_problem(tunnel)


_REFUSED = (
    *("type_of_service", "ageing", "aging", "limit", "arp_proxy", "notifications"),
    *("short_circuit", "checksums", "extensions", "port_range", "flow_label", "do_not_fragment"),
)
TUNNEL = Aliased(virtual(Tunnel, tunnel_problem, dict.fromkeys(_REFUSED, BY_FILE)), {"key": "keys"})
