"""This host's traffic: what the kernel and the containers are to have, and have it they will.

Desired and observed state are compared by `plan`; here both are fetched and the changes made.
"""

from dataclasses import dataclass, replace

from overlay import masquerade
from overlay.backends import plan_peers
from overlay.backends.base import Backend, Desired
from overlay.handover import BRIDGE, Handover, bridge_changes, hand_over
from overlay.lease import Lease, Subnets
from overlay.links import Address, State
from overlay.netlink import Kernel
from overlay.network import NetworkConfig
from overlay.outer import Surroundings
from overlay.places import Places
from overlay.plan import Change, Remove, after, make_plan
from overlay.settings import Settings


@dataclass(frozen=True, slots=True)
class Part:
    """This host's part of the network: all that decides what its kernel is to hold."""

    network: NetworkConfig
    backend: Backend
    ours: Lease
    peers: tuple[Lease, ...]

    def handover(self, settings: Settings) -> Handover:
        """What containers get of it."""
        networks = Subnets(
            self.network.ipv4.network if self.network.ipv4 else None,
            self.network.ipv6.network if self.network.ipv6 else None,
        )
        return Handover(networks, self.ours.subnets, self.backend.mtu, settings.masquerade)


class Forwarding:
    """Makes and stops the traffic of our subnet; `changes` counts what had to be done."""

    def __init__(self, kernel: Kernel, places: Places) -> None:
        self.changes = 0
        self._kernel = kernel
        self._cut_off: tuple[str, ...] = ()
        self._places = places
        self._part: Part | None = None
        self._observed: State | None = None
        self._followed: tuple[Change, ...] = ()  # made since then

    def forget(self) -> None:
        """Look at the kernel again before the next change: somebody else was at it."""
        self._observed = None
        self._followed = ()

    def withdraw(self) -> None:
        """Stop all traffic; what is there may be an earlier agent's.

        Raises:
            NetlinkError: the kernel refused.
            ProgramError: nft did.
        """
        self.forget()
        self._part = None
        self._make(State())
        # Without it, what now takes the way to the outside does so by the host's address.
        if masquerade.observe():
            masquerade.remove()

    def bring(self, part: Part, settings: Settings, around: Surroundings | None) -> Desired:
        """Let traffic run, and hand our subnet over to containers.

        Args:
            part: what to bring the kernel to.
            settings: the host's own wishes.
            around: the host's interfaces, if they were just looked at.

        Returns:
            What was wanted: with whom there is no way to.

        Raises:
            NetlinkError: the kernel refused some of it.
            ProgramError: nft did.
            OSError: a file cannot be written.
        """
        desired = part.backend.desired(part.ours.subnets, part.peers)
        handover = part.handover(settings)
        # Before the routes: containers' bridge may have a subnet that is a peer's by now.
        if around is not None:
            changes = bridge_changes(around, handover)
            self._apply(changes)
            self._cut_off += tuple(
                f"{each.entry.address}/{each.entry.length}"
                for each in changes
                if isinstance(each, Remove) and isinstance(each.entry, Address)
            )
        self._make(desired.state)
        self._part = part
        if around is not None:
            self._masquerade(handover)
        hand_over(handover, settings.subnet_file, self._places.podman_network)
        return desired

    def follow(self, part: Part) -> bool:
        """Bring only what changed of the peers since `bring`, which has to come again soon.

        Among 2,000 peers that takes a sixth of the time; see `plan_peers` for what it leaves.

        Returns:
            Whether that can be done: else more than peers changed, or the kernel is not known.

        Raises:
            NetlinkError: the kernel refused some of it.
        """
        before, observed = self._part, self._observed
        if before is None or observed is None or replace(before, peers=part.peers) != part:
            return False
        # A lease that was not read anew is the same object.
        same = {id(peer) for peer in before.peers} & {id(peer) for peer in part.peers}
        changes = plan_peers(
            part.backend,
            part.ours.subnets,
            [peer for peer in before.peers if id(peer) not in same],
            [peer for peer in part.peers if id(peer) not in same],
        )
        followed = self._followed + changes
        self.forget()
        self._apply(changes)
        self._part, self._observed, self._followed = part, observed, followed
        return True

    def notices(self, around: Surroundings) -> tuple[str, ...]:
        """What to tell of containers that were there before the present subnet."""
        if not any(each.name == BRIDGE for each in around.interfaces):
            self._cut_off = ()
        return tuple(
            f"the containers' bridge was {each} before: containers that run since then are cut off "
            "until they are made anew"
            for each in self._cut_off
        )

    def _masquerade(self, handover: Handover) -> None:
        networks = handover.networks
        table = masquerade.make_table(networks.ipv4, networks.ipv6, masquerade=handover.masquerade)
        if masquerade.observe() != table:
            masquerade.put(table)
            self.changes += 1

    def _make(self, wanted: State) -> None:
        if self._observed is None:
            self._observed = self._kernel.observe()
        observed = after(self._observed, self._followed)
        changes = make_plan(wanted, observed)
        self.forget()
        self._apply(changes)
        self._observed = after(observed, changes)

    def _apply(self, changes: tuple[Change, ...]) -> None:
        if changes:
            self.changes += len(changes)
            self._kernel.apply(changes)
