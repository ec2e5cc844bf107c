"""The kernel's network state as far as the overlay has a say: what is wanted and what is there.

Both have one shape, so that a plan is a difference of sets. With 2,000 peers there are 6,000
entries in each: addresses are text, as `str(ipaddress...)` writes it and the kernel's netlink
gives it, because text hashes fast and nothing here calculates with it.
"""

import re
from dataclasses import dataclass, field

# The routing protocol number (rtnetlink(7), rtm_protocol) of routes that are ours. Those below
# 5 are the kernel's, 8-18, 42, 84, 99 and 186-192 have a routing daemon's name in iproute2's
# rt_protos; this one has none.
PROTOCOL = 113

VXLAN_PREFIX, VXLAN6_PREFIX = "flannel.", "flannel-v6."
WIREGUARD, WIREGUARD6 = "flannel-wg", "flannel-wg-v6"
_OURS = re.compile(r"flannel(-v6)?\.[0-9]+|flannel-wg(-v6)?")

# Of a route without a metric of its own (linux/ipv6_route.h, IP6_RT_PRIO_USER; IPv4 has 0).
_METRIC = 0
_METRIC6 = 1024


def is_ours(device: str) -> bool:
    """Whether a device is the overlay's by its name, in whatever configuration there ever was."""
    return _OURS.fullmatch(device) is not None


def default_metric(destination: str) -> int:
    """The metric of a route that was asked for without one."""
    return _METRIC6 if ":" in destination else _METRIC


@dataclass(frozen=True, slots=True)
class VxlanLink:
    """What makes a device a VXLAN tunnel end (ip-link(8)); `outer` is an interface's index."""

    vni: int
    port: int
    local: str
    outer: int
    learning: bool = False


@dataclass(frozen=True, slots=True)
class WireguardLink:
    """What makes a device a WireGuard tunnel end (wg(8))."""

    port: int
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Device:
    """A device of ours; `link` is None if it has our name and is of another kind."""

    name: str
    mtu: int
    link: VxlanLink | WireguardLink | None
    mac: str | None = None
    up: bool = True


@dataclass(frozen=True, slots=True)
class Address:
    """A device's own address, without IPv6's link-local ones."""

    device: str
    address: str
    length: int

    @property
    def key(self) -> tuple[object, ...]:
        """What the kernel tells entries apart by: another of the same key takes this one's place.

        One address may be there with two lengths.
        """
        return (Address, self.device, self.address, self.length)

    def __str__(self) -> str:
        return f"address {self.address}/{self.length} dev {self.device}"


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route of the main table; `onlink`: the gateway needs no route of its own."""

    device: str
    destination: str
    gateway: str | None = None
    onlink: bool = False
    metric: int = _METRIC
    protocol: int = PROTOCOL

    @property
    def key(self) -> tuple[object, ...]:
        """See `Address.key`: the device is no part of it."""
        return (Route, self.destination, self.metric)

    def __str__(self) -> str:
        via = f" via {self.gateway}" if self.gateway else ""
        return f"route {self.destination}{via} dev {self.device}"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent entry of a device's ARP or neighbour discovery table."""

    device: str
    address: str
    mac: str

    @property
    def key(self) -> tuple[object, ...]:
        """See `Address.key`."""
        return (Neighbour, self.device, self.address)

    def __str__(self) -> str:
        return f"neighbour {self.address} lladdr {self.mac} dev {self.device}"


@dataclass(frozen=True, slots=True)
class Forward:
    """A permanent entry of a VXLAN device's forwarding table: behind which host a MAC is."""

    device: str
    mac: str
    remote: str

    @property
    def key(self) -> tuple[object, ...]:
        """See `Address.key`."""
        return (Forward, self.device, self.mac)

    def __str__(self) -> str:
        return f"forwarding entry {self.mac} dst {self.remote} dev {self.device}"


@dataclass(frozen=True, slots=True)
class WireguardPeer:
    """A peer of a WireGuard device; `allowed` is sorted, `keepalive` in seconds, 0 for none."""

    device: str
    public_key: str
    endpoint: tuple[str, int] | None
    allowed: tuple[str, ...]
    preshared_key: str | None = field(default=None, repr=False)
    keepalive: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """See `Address.key`."""
        return (WireguardPeer, self.device, self.public_key)

    def __str__(self) -> str:
        return f"peer {self.public_key} dev {self.device}"


Entry = Address | Route | Neighbour | Forward | WireguardPeer


@dataclass(frozen=True, slots=True)
class State:
    """Our devices with all that is on them, and our routes on others; empty: withdrawn.

    A wanted state has one device of a name and one entry of a key.
    """

    devices: frozenset[Device] = frozenset()
    entries: frozenset[Entry] = frozenset()
