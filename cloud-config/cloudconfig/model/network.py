"""`bedplate.network` and NoCloud's `network-config`: interfaces and addresses.

The words are those of cloud-init's network configuration: version 2, which is netplan's, and
version 1, which is rewritten in them (`network_v1`).
https://docs.cloud-init.io/en/latest/reference/network-config.html
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cloudconfig.kinds import Integer
from cloudconfig.model.network_checks import Path as FaultPath
from cloudconfig.model.network_checks import faults
from cloudconfig.model.network_devices import (
    DUMMY,
    ETHERNET,
    VLAN,
    VRF,
    Device,
    Dummy,
    Ethernet,
    Vlan,
    Vrf,
)
from cloudconfig.model.network_groups import BOND, BRIDGE, Bond, Bridge
from cloudconfig.model.network_kinds import CARD, NEW_NAME, RENDERER, DevicesOf
from cloudconfig.model.network_tunnels import TUNNEL, Tunnel
from cloudconfig.model.network_v1 import SCHEMA as VERSION_1_SCHEMA
from cloudconfig.model.network_v1 import as_version_2
from hostkit.document.schema import Kind, Part, Reading, Section, Wrong, key
from hostkit.document.source import DocumentError, Node, Place, Problem, Scalar, decode, parse
from hostkit.document.source import Mapping as MappingNode
from hostkit.document.source import Sequence as SequenceNode


@dataclass(frozen=True, slots=True)
class Network:
    """All interfaces that a document names, by kind and name."""

    version: int = key(Integer(1, 2), "Of these words.", default=2)
    renderer: str | None = key(RENDERER, "Always networkd.", default=None)
    ethernets: Mapping[str, Ethernet] = key(DevicesOf(CARD, ETHERNET), "Cards.", default={})
    bonds: Mapping[str, Bond] = key(DevicesOf(NEW_NAME, BOND), "Several cards as one.", default={})
    bridges: Mapping[str, Bridge] = key(
        DevicesOf(NEW_NAME, BRIDGE), "Several interfaces as one network.", default={}
    )
    vlans: Mapping[str, Vlan] = key(DevicesOf(NEW_NAME, VLAN), "Tagged networks.", default={})
    vrfs: Mapping[str, Vrf] = key(
        DevicesOf(NEW_NAME, VRF), "Interfaces with a routing table of their own.", default={}
    )
    tunnels: Mapping[str, Tunnel] = key(
        DevicesOf(NEW_NAME, TUNNEL), "WireGuard and VXLAN.", default={}
    )
    dummy_devices: Mapping[str, Dummy] = key(
        DevicesOf(NEW_NAME, DUMMY), "Interfaces that lead nowhere.", default={}
    )

    @property
    def devices(self) -> tuple[tuple[str, str, Device], ...]:
        """Every interface: the key it stands below, its name, itself."""
        return tuple(
            (kind, name, device) for kind in KINDS for name, device in getattr(self, kind).items()
        )


_FAULTS = 500  # looked for; who has made so many is helped by fewer
KINDS = ("ethernets", "bonds", "bridges", "vlans", "vrfs", "tunnels", "dummy_devices")
_SECTION = Section(
    Network,
    refused={
        "wifis": "there is no wireless network here",
        "modems": "there is no modem here",
        "nm_devices": "this host is configured by systemd-networkd",
        "openvswitch": "Open vSwitch is not on this host; use bridges",
        "virtual_ethernets": "pods get theirs by themselves; for an address of its own, a host has"
        " dummy-devices",
        "config": "it belongs to version 1: write `version: 1` above it; to leave the network to"
        " DHCP, leave network out",
        "network": "it stands twice, or beside what it should hold",
    },
)


class NetworkKind(Kind):
    """A whole network configuration of either version, with or without `network` above it."""

    @property
    def label(self) -> str:
        """What it is."""
        return "a network configuration of version 1 or 2"

    def read(self, node: Node, reading: Reading) -> Network:
        """The network, checked as a whole; what is wrong is told at its place."""
        node = self.as_section(node, reading)
        network: Network = _SECTION.read(node, reading)
        wrong = False
        for fault in islice(faults(network.devices), _FAULTS):
            place = _locate(node, fault.path)
            if fault.serious:
                wrong = True
                reading.note(place, fault.message)
            else:
                reading.warn(place, fault.message)
        if wrong:
            raise Wrong
        return network

    @staticmethod
    def as_section(node: Node, reading: Reading) -> Node:
        """The same in version 2, without `network` above it; raises Wrong where that fails."""
        node = _unwrapped(node)
        return as_version_2(node, reading) if _version(node) == "1" else node

    def json_schema(self) -> dict[str, object]:
        """Version 2 in full; version 1 by its outline."""
        bare = [_SECTION.json_schema(), VERSION_1_SCHEMA]
        wrapper = {
            "type": "object",
            "properties": {"network": {"anyOf": bare}},
            "required": ["network"],
            "additionalProperties": False,
        }
        return {"anyOf": [*bare, wrapper]}

    def parts(self) -> tuple[Part, ...]:
        """Version 2."""
        return (Part(_SECTION, "", ("anyOf", 0)),)

    def write(self, value: Network) -> object:
        """In the words of version 2."""
        return _SECTION.write(value)


NETWORK = NetworkKind()


def read_network_config(data: bytes, file: Path, reading: Reading | None = None) -> Network:
    """The network in NoCloud's `network-config`; an empty file asks for nothing.

    Warnings are left in `reading.warnings`.

    Raises:
        DocumentError: all that is wrong with it, each with its line and column.
    """
    reading = reading or Reading(as_coreos=True)
    text = decode(data, file)
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return Network()
    network: Network | None = None
    try:
        with suppress(Wrong):
            network = NETWORK.read(parse(text, file, doubles=reading.problems), reading)
    except RecursionError:
        raise DocumentError([Problem(Place(file, 1, 1), "nested too deeply")]) from None
    if network is None or reading.problems:
        problems = sorted(
            reading.problems, key=lambda wrong: (wrong.place.line, wrong.place.column)
        )
        raise DocumentError(problems)
    return network


def _unwrapped(node: Node) -> Node:
    if isinstance(node, MappingNode) and [item.key.text for item in node.entries] == ["network"]:
        return node.entries[0].value
    return node


def _version(node: Node) -> str:
    if isinstance(node, MappingNode):
        for entry in node.entries:
            if entry.key.text == "version" and isinstance(entry.value, Scalar):
                return entry.value.text
    return ""


def _locate(node: Node, path: FaultPath) -> Place:
    """Where `path` leads, or as far as it goes: keys, and scalars of lists."""
    place = node.place
    for step in path:
        if isinstance(node, MappingNode):
            found = [item for item in node.entries if item.key.text.replace("-", "_") == step]
            found = found or [item for item in node.entries if item.key.text == step]
            if not found:
                break
            place, node = found[0].key.place, found[0].value
            if isinstance(node, Scalar):
                place = node.place
        elif isinstance(node, SequenceNode):
            places = [item.place for item in node.items if _is(item, step)]
            return places[0] if places else place
    return place


def _is(node: Node, text: str) -> bool:
    if isinstance(node, MappingNode):
        return any(entry.key.text == text for entry in node.entries)
    return isinstance(node, Scalar) and node.text == text
