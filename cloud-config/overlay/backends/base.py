"""What the backends have in common: from all hosts' leases to what this host's kernel needs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Protocol

from overlay.lease import Lease, Subnets, Terms
from overlay.links import Route, State, default_metric
from overlay.outer import Outer
from updater.errors import InputError

Subnet = IPv4Network | IPv6Network
IPAddress = IPv4Address | IPv6Address


class BackendError(InputError):
    """The network's backend cannot work on this host; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A peer, or one of its families, that this host has no way to."""

    subnet: str
    reason: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What the kernel should hold, and whom it cannot reach with that."""

    state: State
    unreachable: tuple[Unreachable, ...] = ()


class Backend(Protocol):
    """A way for containers of different hosts to reach each other."""

    @property
    def mtu(self) -> int:
        """The largest packet, in bytes, that fits into the network."""

    @property
    def terms(self) -> Terms:
        """What this host's lease tells its peers."""

    def desired(self, ours: Subnets, peers: Iterable[Lease]) -> Desired:
        """What the kernel should hold while these leases stand; our own may be among them."""


class PeerError(Exception):
    """A peer's lease does not tell how to reach it; the message says what is missing."""


class Gathering:
    """Collects the peers that can be reached, and the reasons why others cannot."""

    def __init__(self, terms: Terms, ours: Subnets, peers: Iterable[Lease]) -> None:
        """The newest lease comes first: what clashes with it later is an older one's."""
        self._terms = terms
        self._ours = ours
        self._peers = sorted(peers, key=lambda lease: lease.revision, reverse=True)
        self._unreachable: list[Unreachable] = []

    def peers(self) -> Iterator[Lease]:
        """Those whose backend is ours and whose subnets are not."""
        for peer in self._peers:
            if peer.subnets == self._ours:
                continue
            if peer.subnets.overlaps(self._ours):
                self.leave_out(peer.subnets, f"its subnet overlaps ours, {self._ours}")
            elif peer.terms.same_host(self._terms):
                self.leave_out(peer.subnets, "it is an older lease of this host")
            elif peer.terms.backend != self._terms.backend:
                theirs = peer.terms.backend or "not told"
                self.leave_out(peer.subnets, f"its backend is {theirs}, ours {self._terms.backend}")
            else:
                yield peer

    def leave_out(self, subnet: object, reason: str) -> None:
        """Note that there is no way to a subnet."""
        self._unreachable.append(Unreachable(str(subnet), reason))

    def desired(self, state: State) -> Desired:
        """The end of it."""
        return Desired(state, tuple(self._unreachable))


def families(subnets: Subnets) -> Iterator[Subnet]:
    """A host's subnets one by one."""
    if subnets.ipv4:
        yield subnets.ipv4
    if subnets.ipv6:
        yield subnets.ipv6


def public_address(terms: Terms, subnet: Subnet) -> IPAddress:
    """Where a host is, by the family of one of its subnets.

    Raises:
        PeerError: its lease does not say.
    """
    found = terms.public_ipv4 if subnet.version == 4 else terms.public_ipv6
    if found is None:
        raise PeerError("its lease has no PublicIP" + ("" if subnet.version == 4 else "v6"))
    return found


def on_link(outer: Outer, address: IPAddress) -> bool:
    """Whether a host can be reached without a router."""
    if isinstance(address, IPv4Address):
        return outer.ipv4 is not None and address in outer.ipv4.network
    return outer.ipv6 is not None and address in outer.ipv6.network


def direct_route(outer: Outer, subnet: Subnet, gateway: IPAddress) -> Route:
    """The route to a peer that is on our own link, without a tunnel."""
    destination = str(subnet)
    return Route(outer.name, destination, str(gateway), metric=default_metric(destination))
