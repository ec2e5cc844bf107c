"""The backends by their names in the network's configuration."""

from collections.abc import Iterable
from pathlib import Path

from overlay.backends.base import Backend
from overlay.backends.hostgw import HostGw
from overlay.backends.vxlan import Vxlan
from overlay.backends.wireguard import Wireguard, load_key
from overlay.lease import Lease, Subnets
from overlay.links import Neighbour, Route
from overlay.network import (
    HostGwConfig,
    NetworkConfig,
    VxlanConfig,
    WireguardConfig,
    WireguardMode,
)
from overlay.outer import Outer
from overlay.plan import Change, Remove, make_plan


def outer_families(network: NetworkConfig) -> tuple[bool, bool]:
    """Whether the outer interface must have an IPv4 address, and an IPv6 one."""
    if isinstance(network.backend, WireguardConfig):
        if network.backend.mode is WireguardMode.IPV4:
            return True, False
        if network.backend.mode is WireguardMode.IPV6:
            return False, True
    return network.ipv4 is not None, network.ipv6 is not None


def make_backend(
    network: NetworkConfig, outer: Outer, *, machine_id: str, key_file: Path
) -> Backend:
    """The network's backend on this host; `key_file` is where WireGuard's key is kept.

    Raises:
        BackendError: it cannot work here.
        OSError: the key cannot be read or written.
    """
    config = network.backend
    if isinstance(config, VxlanConfig):
        return Vxlan(config, outer, machine_id)
    if isinstance(config, HostGwConfig):
        return HostGw(outer)
    return Wireguard(config, network, outer, load_key(key_file))


def plan_peers(
    backend: Backend, ours: Subnets, before: Iterable[Lease], now: Iterable[Lease]
) -> tuple[Change, ...]:
    """The changes for a few leases that came, changed or went, without a look at all others.

    A host may have two leases for a while, which share what is found by its MAC or key: that
    stays until the next plan of the whole, which has to follow. What is found by a subnet, which
    is one lease's alone, goes at once.
    """
    changes = make_plan(backend.desired(ours, now).state, backend.desired(ours, before).state)
    return tuple(
        change
        for change in changes
        if not isinstance(change, Remove) or isinstance(change.entry, Route | Neighbour)
    )
