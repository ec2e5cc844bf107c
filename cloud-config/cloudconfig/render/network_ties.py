"""What lies in and on what: networkd is told by the lower interface, documents by the upper."""

from dataclasses import dataclass, field

from cloudconfig.model.network import Network
from cloudconfig.model.network_groups import BridgeParameters


@dataclass(slots=True)
class Ties:
    """What an interface is a part of, and what lies on it."""

    bond: str | None = None
    primary: bool = False
    bridge: str | None = None
    bridge_parameters: BridgeParameters = field(default_factory=BridgeParameters)
    vrf: str | None = None
    vlans: list[str] = field(default_factory=list)
    vxlans: list[str] = field(default_factory=list)


def ties(network: Network) -> dict[str, Ties]:
    """The ties of every interface by its name; references are those of a checked network."""
    found = {name: Ties() for _, name, _ in network.devices}
    for name, bond in network.bonds.items():
        for member in bond.interfaces:
            found[member].bond = name
            found[member].primary = bond.parameters.primary == member
    for name, bridge in network.bridges.items():
        for member in bridge.interfaces:
            found[member].bridge = name
            found[member].bridge_parameters = bridge.parameters or BridgeParameters()
    for name, vrf in network.vrfs.items():
        for member in vrf.interfaces:
            found[member].vrf = name
    _stack(network, found)
    return found


def _stack(network: Network, found: dict[str, Ties]) -> None:
    for name, vlan in network.vlans.items():
        found[vlan.link].vlans.append(name)
    for name, tunnel in network.tunnels.items():
        if tunnel.link is not None:
            found[tunnel.link].vxlans.append(name)
