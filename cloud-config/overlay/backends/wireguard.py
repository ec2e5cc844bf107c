"""WireGuard as flannel builds it: a device a family, or one for both, and a peer a host.

Sources: flannel's pkg/backend/wireguard (names, ports, modes, the overhead, the route to the whole
network: WireGuard itself knows whose subnet an address is in, and refuses what is nobody's).
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from overlay.backends.base import (
    BackendError,
    Desired,
    Gathering,
    IPAddress,
    PeerError,
    Subnet,
    families,
    public_address,
)
from overlay.lease import BackendType, Lease, Subnets, Terms
from overlay.links import (
    WIREGUARD,
    WIREGUARD6,
    Address,
    Device,
    Entry,
    Route,
    State,
    WireguardLink,
    WireguardPeer,
    default_metric,
)
from overlay.network import NetworkConfig, WireguardConfig, WireguardMode
from overlay.outer import Outer
from updater.files import write_atomic

# Bytes of an outer IPv6 header (40), UDP (8) and WireGuard's own header and tag (32); flannel
# takes as much over IPv4 too, and an endpoint of either family may be chosen for a peer.
_OVERHEAD = 80
_KEY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class KeyPair:
    """This host's keys, in base64 as all of WireGuard writes them."""

    private: str = field(repr=False)
    public: str


def load_key(path: Path) -> KeyPair:
    """The host's key from a file of its own, made at the first time; it outlives reboots.

    Raises:
        BackendError: the file is not a key; it is left as it is.
        OSError: it cannot be read or written.
    """
    import os  # noqa: PLC0415 - with what follows, for hosts with this backend only

    from cryptography.hazmat.primitives.asymmetric.x25519 import (  # noqa: PLC0415
        X25519PrivateKey,
    )

    try:
        with path.open(encoding="ascii", errors="replace") as stream:
            raw = _key_bytes(stream.read(100))
    except FileNotFoundError:
        raw = os.urandom(_KEY_LENGTH)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, base64.b64encode(_clamped(raw)) + b"\n", mode=0o600)
    if raw is None:
        raise BackendError(f"{path}: no WireGuard key in base64; remove it to have a new one made")
    # The kernel tells the key back in this form (RFC 7748, section 5).
    private = _clamped(raw)
    public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    return KeyPair(base64.b64encode(private).decode(), base64.b64encode(public).decode())


def _clamped(raw: bytes) -> bytes:
    return bytes((raw[0] & 248, *raw[1:31], raw[31] & 127 | 64))


def _key_bytes(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == _KEY_LENGTH else None


@dataclass(frozen=True, slots=True)
class Wireguard:
    """The backend on this host; see `Backend`."""

    config: WireguardConfig
    network: NetworkConfig
    outer: Outer
    key: KeyPair

    @property
    def mtu(self) -> int:
        """See `_OVERHEAD`."""
        return (self.config.mtu or self.outer.mtu) - _OVERHEAD

    @property
    def terms(self) -> Terms:
        """The public key, for each family that the network has; JSON's keys are flannel's."""
        data = {"PublicKey": self.key.public}
        return Terms(
            self.outer.public_ipv4,
            self.outer.public_ipv6,
            BackendType.WIREGUARD.value,
            data if self.network.ipv4 else {},
            data if self.network.ipv6 else {},
        )

    def desired(self, ours: Subnets, peers: Iterable[Lease]) -> Desired:
        """Our devices with a route to the network, and each host as a peer."""
        gathering = Gathering(self.terms, ours, peers)
        devices: set[Device] = set()
        entries: set[Entry] = set()
        for subnet in families(ours):
            name, port = self._tunnel(subnet)
            devices.add(Device(name, self.mtu, WireguardLink(port, self.key.private)))
            own = subnet.network_address
            entries.add(Address(name, str(own), own.max_prefixlen))
            family = self.network.ipv4 if subnet.version == 4 else self.network.ipv6
            if family is not None:
                destination = str(family.network)
                entries.add(Route(name, destination, metric=default_metric(destination)))
        known: set[tuple[str, str]] = set()
        for peer in gathering.peers():
            for each in self._peers(peer, ours, gathering):
                # A host that took a new subnet has two leases for a while: the newer one holds.
                who = (each.device, each.public_key)
                if who in known or each.public_key == self.key.public:
                    gathering.leave_out(peer.subnets, "another lease has its PublicKey too")
                else:
                    known.add(who)
                    entries.add(each)
        return gathering.desired(State(frozenset(devices), frozenset(entries)))

    def _tunnel(self, subnet: Subnet) -> tuple[str, int]:
        """The device that leads to a subnet, and its port."""
        if self.config.mode is WireguardMode.SEPARATE and subnet.version == 6:
            return WIREGUARD6, self.config.listen_port_v6
        return WIREGUARD, self.config.listen_port

    def _peers(self, lease: Lease, ours: Subnets, gathering: Gathering) -> list[WireguardPeer]:
        """A host as the peer of each device that leads to it."""
        versions = {subnet.version for subnet in families(ours)}
        subnets = [each for each in families(lease.subnets) if each.version in versions]
        together = self.config.mode is not WireguardMode.SEPARATE
        peers = []
        for group in [subnets] if together and subnets else [[each] for each in subnets]:
            try:
                peers.append(self._peer(group, lease.terms))
            except PeerError as error:
                gathering.leave_out(" ".join(map(str, group)), str(error))
        return peers

    def _peer(self, subnets: list[Subnet], terms: Terms) -> WireguardPeer:
        device, port = self._tunnel(subnets[0])
        data = (terms.data if subnets[-1].version == 4 else terms.data_v6) or terms.data
        key = str(data.get("PublicKey", ""))
        if _key_bytes(key) is None:
            raise PeerError(f"its BackendData has no PublicKey of WireGuard: {key[:50]!r}")
        return WireguardPeer(
            device,
            key,
            (str(self._endpoint(subnets[0], terms)), port),
            tuple(sorted(map(str, subnets))),
            self.config.psk,
            self.config.keepalive,
        )

    def _endpoint(self, subnet: Subnet, terms: Terms) -> IPAddress:
        """Where a peer is, by the mode; `auto` as flannel's `selectPublicEndpoint`.

        It prefers IPv4 unless that is private where IPv6 is public on both sides.
        """
        mode = self.config.mode
        ipv4, ipv6 = terms.public_ipv4, terms.public_ipv6
        if mode is WireguardMode.SEPARATE:
            return public_address(terms, subnet)
        if mode is WireguardMode.AUTO and ipv4 and ipv6:
            own = self.outer.public_ipv6
            both_public = own is not None and not own.is_private and not ipv6.is_private
            return ipv6 if ipv4.is_private and both_public else ipv4
        wanted: IPAddress | None = {
            WireguardMode.AUTO: ipv4 or ipv6,
            WireguardMode.IPV4: ipv4,
        }.get(mode, ipv6)
        if wanted is None:
            raise PeerError(f"its lease has no public address for mode {mode.value}")
        return wanted
