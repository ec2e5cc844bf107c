"""VXLAN as flannel builds it: a device a family, and three entries a peer.

Sources: flannel's pkg/backend/vxlan/vxlan_network.go (routes, ARP and forwarding entries) and
device.go (the device). The rest is Linux's: nothing is learned, nothing asks the wire.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from overlay.backends.base import (
    Desired,
    Gathering,
    IPAddress,
    PeerError,
    Subnet,
    direct_route,
    families,
    on_link,
    public_address,
)
from overlay.lease import BackendType, Lease, Subnets, Terms
from overlay.links import (
    VXLAN6_PREFIX,
    VXLAN_PREFIX,
    Address,
    Device,
    Entry,
    Forward,
    Neighbour,
    Route,
    State,
    VxlanLink,
    default_metric,
)
from overlay.network import VxlanConfig
from overlay.outer import Outer

# Bytes of an outer IP header, UDP (8), VXLAN (8) and the inner Ethernet header (14): RFC 7348,
# section 5. flannel takes 50 for IPv6 too, whose header is 20 bytes longer: full packets break.
_OVERHEAD = {4: 50, 6: 70}
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_GROUP_BIT = 1  # of a MAC's first byte; 2: not given by a manufacturer


@dataclass(frozen=True, slots=True)
class Vxlan:
    """The backend on this host; see `Backend`. `machine_id` is /etc/machine-id's."""

    config: VxlanConfig
    outer: Outer
    machine_id: str

    @property
    def mtu(self) -> int:
        """With both families the smaller: containers have one interface for both."""
        return min(self._mtu(own.version) for own in self._own())

    @property
    def terms(self) -> Terms:
        """The VNI and the device's MAC of each family; JSON's keys are flannel's."""
        data = {
            own.version: {"VNI": self.config.vni, "VtepMAC": self.mac(own.version)}
            for own in self._own()
        }
        public_ipv4, public_ipv6 = self.outer.public_ipv4, self.outer.public_ipv6
        kind = BackendType.VXLAN.value
        return Terms(public_ipv4, public_ipv6, kind, data.get(4, {}), data.get(6, {}))

    def mac(self, version: int) -> str:
        """The address of our device, the same after each restart, reboot and `ip link del`.

        So no peer has anything to follow then. It is worked out rather than kept: from the
        machine (machine-id(5) asks for a keyed hash), and from the public address, because cloned
        machines have one machine id, and two peers of one MAC could not be told apart.
        """
        public = self.outer.public_ipv4 if version == 4 else self.outer.public_ipv6
        message = f"bedplate vxlan {self.config.vni} {version} {public}"
        octets = bytearray(hmac.digest(self.machine_id.encode(), message.encode(), hashlib.sha256))
        octets[0] = octets[0] & ~_GROUP_BIT | 2
        return octets[:6].hex(":")

    def desired(self, ours: Subnets, peers: Iterable[Lease]) -> Desired:
        """Our devices, and the way to each peer."""
        gathering = Gathering(self.terms, ours, peers)
        devices = {own.version: self._device(own) for own in self._own()}
        entries: set[Entry] = set()
        for subnet in families(ours):
            if device := devices.get(subnet.version):
                address = subnet.network_address
                entries.add(Address(device.name, str(address), address.max_prefixlen))
        hosts: dict[str | None, IPAddress | None] = {each.mac: None for each in devices.values()}
        for peer in gathering.peers():
            for subnet in families(peer.subnets):
                if device := devices.get(subnet.version):
                    try:
                        entries.update(self._way(device.name, subnet, peer.terms, hosts))
                    except PeerError as error:
                        gathering.leave_out(subnet, str(error))
        return gathering.desired(State(frozenset(devices.values()), frozenset(entries)))

    def _own(self) -> list[IPv4Interface | IPv6Interface]:
        """The addresses that tunnels start from: one a family that the network has."""
        return [own for own in (self.outer.ipv4, self.outer.ipv6) if own is not None]

    def _mtu(self, version: int) -> int:
        return (self.config.mtu or self.outer.mtu) - _OVERHEAD[version]

    def _device(self, own: IPv4Interface | IPv6Interface) -> Device:
        prefix = VXLAN_PREFIX if own.version == 4 else VXLAN6_PREFIX
        return Device(
            f"{prefix}{self.config.vni}",
            self._mtu(own.version),
            VxlanLink(self.config.vni, self.config.port, str(own.ip), self.outer.index),
            self.mac(own.version),
        )

    def _way(
        self,
        device: str,
        subnet: Subnet,
        terms: Terms,
        hosts: dict[str | None, IPAddress | None],
    ) -> tuple[Entry, ...]:
        """What leads to one subnet of a peer; `hosts` is who has which MAC, and is added to.

        Raises:
            PeerError: its lease is not enough for that.
        """
        public = public_address(terms, subnet)
        if self.config.direct_routing and on_link(self.outer, public):
            return (direct_route(self.outer, subnet, public),)
        mac = self._peer_mac(subnet, terms)
        if hosts.setdefault(mac, public) != public:
            raise PeerError(f"its VtepMAC {mac} is {hosts[mac] or 'this host'}'s too")
        gateway, destination = str(subnet.network_address), str(subnet)
        return (
            Neighbour(device, gateway, mac),
            Forward(device, mac, str(public)),
            Route(device, destination, gateway, onlink=True, metric=default_metric(destination)),
        )

    def _peer_mac(self, subnet: Subnet, terms: Terms) -> str:
        key, data = ("BackendData", terms.data)
        if subnet.version == 6:
            key, data = ("BackendV6Data", terms.data_v6)
        if data.get("VNI", self.config.vni) != self.config.vni:
            raise PeerError(f"the VNI of its {key} is {data['VNI']}, ours {self.config.vni}")
        mac = str(data.get("VtepMAC", "")).lower()
        if not _MAC.fullmatch(mac) or int(mac[:2], 16) & _GROUP_BIT or not mac.strip("0:"):
            raise PeerError(f"its {key} has no VtepMAC of a host: {str(mac)[:20]!r}")
        return mac
