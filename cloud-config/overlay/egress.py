"""By what this host's packets leave: the outer interface, and the backend that is made for it."""

from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING

from overlay.backends import make_backend, outer_families
from overlay.handover import BRIDGE
from overlay.network import NetworkConfig, NetworkConfigError
from overlay.outer import Outer, Surroundings, choose
from overlay.places import Places
from overlay.settings import Settings

if TYPE_CHECKING:
    from overlay.backends.base import Backend
    from overlay.lease import Terms


class Egress:
    """What was chosen last; it stays in force as long as nothing better can be found.

    `around` is what the host's interfaces were at the last look.
    """

    def __init__(self, places: Places) -> None:
        self.around = Surroundings()
        self.outer: Outer | None = None
        self.network: NetworkConfig | None = None
        self.backend: Backend | None = None
        self._places = places

    @property
    def terms(self) -> "Terms | None":
        """What peers are to be told of this host; None as long as that is not known."""
        return self.backend.terms if self.backend else None

    def see(self, around: Surroundings) -> bool:
        """Take note of the interfaces; whether connections have lost their own end's address."""
        before, self.around = set(self._addresses()), around
        return not before <= set(self._addresses())

    def choose(self, network: NetworkConfig, settings: Settings, *, joined: bool) -> bool:
        """Choose anew; whether peers are to be told something else from now on.

        Args:
            network: the network's configuration.
            settings: the host's own wishes.
            joined: this host has a subnet already, so that it is too late to refuse the network.

        Raises:
            OuterError: there is no fitting interface.
            NetworkConfigError: the network has our own way out in it.
            BackendError: the backend cannot work here.
            OSError: WireGuard's key cannot be read or written.
        """
        before = self.terms
        if network != self.network:
            self.network, self.backend = network, None
        ipv4, ipv6 = outer_families(network)
        outer = choose(self.around, settings.outer, ipv4=ipv4, ipv6=ipv6)
        clashes = network.clashes(each for each in (outer.ipv4, outer.ipv6) if each)
        if clashes and not joined:
            # Its routes would take the way to the peers themselves, and to etcd.
            raise NetworkConfigError("; ".join(clashes))
        self.backend = make_backend(
            network,
            outer,
            machine_id=_machine_id(self._places),
            key_file=self._places.wireguard_key,
        )
        self.outer = outer
        return self.terms != before

    def notices(self) -> tuple[str, ...]:
        """What a person should know of the network as this host sees it."""
        if self.network is None:
            return ()
        return (*self.network.warnings, *self.network.clashes(self._addresses()))

    def _addresses(self) -> list[IPv4Interface | IPv6Interface]:
        """The host's own, without that of its containers."""
        others = [each for each in self.around.interfaces if each.name != BRIDGE]
        return [address for each in others for address in each.addresses]


def _machine_id(places: Places) -> str:
    """See machine-id(5); empty if there is none, as in tests."""
    try:
        return places.machine_id.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
