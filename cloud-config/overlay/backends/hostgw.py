"""host-gw: every peer is the gateway of its own subnet, on one link, without a tunnel."""

from collections.abc import Iterable
from dataclasses import dataclass

from overlay.backends.base import (
    BackendError,
    Desired,
    Gathering,
    PeerError,
    Subnet,
    direct_route,
    families,
    on_link,
    public_address,
)
from overlay.lease import BackendType, Lease, Subnets, Terms
from overlay.links import Entry, Route, State
from overlay.outer import Outer


@dataclass(frozen=True, slots=True)
class HostGw:
    """The backend on this host; see `Backend`.

    Raises:
        BackendError: peers are told another address than the outer interface's, so that their
            routes would lead nowhere (flannel refuses that as well: pkg/backend/hostgw).
    """

    outer: Outer

    def __post_init__(self) -> None:
        pairs = (
            (self.outer.ipv4, self.outer.public_ipv4),
            (self.outer.ipv6, self.outer.public_ipv6),
        )
        for own, public in pairs:
            if own is not None and own.ip != public:
                raise BackendError(
                    f"backend host-gw: the public address {public} is not that of"
                    f" {self.outer.name}, {own.ip}; peers could not route to it: take vxlan,"
                    " or drop the setting"
                )

    @property
    def mtu(self) -> int:
        """Nothing is wrapped."""
        return self.outer.mtu

    @property
    def terms(self) -> Terms:
        """The addresses are all that a peer needs."""
        return Terms(self.outer.public_ipv4, self.outer.public_ipv6, BackendType.HOST_GW.value)

    def desired(self, ours: Subnets, peers: Iterable[Lease]) -> Desired:
        """A route to each peer that is on our link."""
        gathering = Gathering(self.terms, ours, peers)
        entries: set[Entry] = set()
        for peer in gathering.peers():
            for subnet in families(peer.subnets):
                try:
                    entries.add(self._route(subnet, peer.terms))
                except PeerError as error:
                    gathering.leave_out(subnet, str(error))
        return gathering.desired(State(entries=frozenset(entries)))

    def _route(self, subnet: Subnet, terms: Terms) -> Route:
        public = public_address(terms, subnet)
        if not on_link(self.outer, public):
            own = self.outer.ipv4 if subnet.version == 4 else self.outer.ipv6
            place = own.network if own else f"{self.outer.name}, which has no such address"
            raise PeerError(f"{public} is not on our link ({place}); host-gw needs one link")
        return direct_route(self.outer, subnet, public)
