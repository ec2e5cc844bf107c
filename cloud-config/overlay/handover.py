"""What containers get of a lease: subnet.env, podman's default network, their bridge's addresses.

The files are kept when the subnet is given up: subnet.env is where a restarted agent finds the
subnet to ask for again, and podman's own network would be one that no peer reaches either.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path

from overlay.backends.base import Subnet, families
from overlay.lease import Subnets
from overlay.links import Address
from overlay.outer import Surroundings
from overlay.plan import Change, Put, Remove
from updater.files import write_if_other

BRIDGE = "podman0"
# The default network's, in every podman (containers/common, libnetwork/netavark/network.go).
_PODMAN_ID = "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9"
_SMALL_FILE = 4096

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Handover:
    """A lease as containers see it; `networks` is the whole cluster's, `mtu` is in bytes."""

    networks: Subnets
    subnets: Subnets
    mtu: int
    masquerade: bool

    @property
    def gateways(self) -> tuple[Interface, ...]:
        """The addresses of the containers' bridge: the first of each subnet."""
        return tuple(map(gateway, families(self.subnets)))


def gateway(subnet: Subnet) -> Interface:
    """The first address of a subnet, with its prefix length."""
    return ip_interface((subnet.network_address + 1, subnet.prefixlen))


def subnet_env(handover: Handover) -> bytes:
    """The text of subnet.env: flannel's keys in flannel's order (pkg/subnet, WriteSubnetFile)."""
    lines = []
    pairs = (
        ("FLANNEL_", handover.networks.ipv4, handover.subnets.ipv4),
        ("FLANNEL_IPV6_", handover.networks.ipv6, handover.subnets.ipv6),
    )
    for name, network, subnet in pairs:
        if network is not None and subnet is not None:
            lines += [f"{name}NETWORK={network}", f"{name}SUBNET={gateway(subnet)}"]
    lines.append(f"FLANNEL_MTU={handover.mtu}")
    lines.append(f"FLANNEL_IPMASQ={str(handover.masquerade).lower()}")
    return "".join(f"{line}\n" for line in lines).encode()


def previous_subnets(subnet_file: Path) -> Subnets | None:
    """The subnets that subnet.env tells of; None if there is no such file, or not ours."""
    try:
        with subnet_file.open("rb") as stream:
            text = stream.read(_SMALL_FILE).decode("ascii", errors="replace")
    except OSError:
        return None
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    ipv4 = ipv6 = None
    with suppress(ValueError):
        ipv4 = IPv4Interface(values.get("FLANNEL_SUBNET", "")).network
    with suppress(ValueError):
        ipv6 = IPv6Interface(values.get("FLANNEL_IPV6_SUBNET", "")).network
    return Subnets(ipv4, ipv6) if ipv4 or ipv6 else None


def podman_network(handover: Handover) -> bytes:
    """Podman's default network, as netavark's front reads it (podman-network(1), `inspect`).

    Without DNS, like the one that podman makes for itself where there is no such file.
    """
    document = {
        "name": "podman",
        "id": _PODMAN_ID,
        "driver": "bridge",
        "network_interface": BRIDGE,
        "subnets": [
            {"subnet": str(each), "gateway": str(gateway(each).ip)}
            for each in families(handover.subnets)
        ],
        "ipv6_enabled": handover.subnets.ipv6 is not None,
        "internal": False,
        "dns_enabled": False,
        "options": {"mtu": str(handover.mtu)},
        "ipam_options": {"driver": "host-local"},
    }
    return json.dumps(document, indent=4).encode() + b"\n"


def hand_over(handover: Handover, subnet_file: Path, network: Path) -> bool:
    """Write what differs, podman's network first: who waits for subnet.env may start a pod.

    Returns:
        Whether podman's network has changed: containers that run keep their addresses.

    Raises:
        OSError: a file cannot be written.
    """
    changed = write_if_other(network, podman_network(handover))
    write_if_other(subnet_file, subnet_env(handover))
    return changed


def bridge_changes(around: Surroundings, handover: Handover) -> tuple[Change, ...]:
    """What makes the bridge of running containers that of the present subnet, if there is one.

    Netavark gives a bridge its addresses when it makes it, and leaves one alone that is there:
    without this, new containers would have a gateway that nobody is. What it had before goes, as
    that subnet may be another host's: containers that still have an address of it are cut off
    until they are made anew.
    """
    bridge = next((each for each in around.interfaces if each.name == BRIDGE), None)
    if bridge is None:
        return ()
    wanted = set(handover.gateways)
    return (
        *(Put(_address(each)) for each in handover.gateways if each not in bridge.addresses),
        *(Remove(_address(each)) for each in bridge.addresses if each not in wanted),
    )


def _address(interface: Interface) -> Address:
    return Address(BRIDGE, str(interface.ip), interface.network.prefixlen)
