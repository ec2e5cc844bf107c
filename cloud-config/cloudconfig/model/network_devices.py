# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""Interfaces of version 2: what those of every kind have, cards, and the simple virtual ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from cloudconfig.kinds import BOOLEAN, Either, Integer
from cloudconfig.model.network_kinds import (
    CARD,
    GLOB,
    IPV4,
    IPV6,
    MAC,
    MTU,
    NEW_NAME,
    RENDERER,
    TABLE,
)
from cloudconfig.model.network_parts import (
    ADDRESSES,
    DHCP4_OVERRIDES,
    DHCP6_OVERRIDES,
    ROUTES,
    RULES,
    Address,
    Dhcp4Overrides,
    Dhcp6Overrides,
    Nameservers,
    RaOverrides,
    Route,
    Rule,
)
from hostkit.document.kinds import Choice
from hostkit.document.schema import ListOf, Section, key

BY_FILE = "write a file of systemd-networkd with write_files, below /etc/systemd/network"


class LinkLocal(Enum):
    """A family of addresses."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


class ClientId(Enum):
    """How a DHCP server knows this host."""

    MAC = "mac"
    DUID = "duid"


class AddressGeneration(Enum):
    """How an IPv6 address is made from a router's prefix."""

    EUI64 = "eui64"
    STABLE_PRIVACY = "stable-privacy"


class Activation(Enum):
    """Who brings an interface up."""

    MANUAL = "manual"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What an interface of any kind may have."""

    renderer: str | None = key(RENDERER, "Always networkd.", default=None)
    dhcp4: bool = key(BOOLEAN, "Ask for an IPv4 address.", default=False)
    dhcp6: bool = key(BOOLEAN, "Ask for an IPv6 address.", default=False)
    dhcp4_overrides: Dhcp4Overrides | None = key(
        DHCP4_OVERRIDES, "What is made of the lease.", default=None
    )
    dhcp6_overrides: Dhcp6Overrides | None = key(
        DHCP6_OVERRIDES, "What is made of the lease.", default=None
    )
    dhcp_identifier: ClientId | None = key(
        Choice(ClientId), "How the server knows this host; duid.", default=None
    )
    accept_ra: bool | None = key(
        BOOLEAN, "Listen to IPv6 routers; else as the kernel does.", default=None
    )
    ra_overrides: RaOverrides | None = key(
        Section(RaOverrides), "What is made of what routers say.", default=None
    )
    link_local: tuple[LinkLocal, ...] | None = key(
        ListOf(Choice(LinkLocal)), "Families with a link-local address; IPv6.", default=None
    )
    addresses: tuple[Address, ...] = key(ADDRESSES, "Addresses, each with a prefix.", default=())
    gateway4: IPv4Address | None = key(
        IPV4, "The default router; better said in routes.", default=None
    )
    gateway6: IPv6Address | None = key(
        IPV6, "The default router; better said in routes.", default=None
    )
    nameservers: Nameservers | None = key(Section(Nameservers), "Name servers.", default=None)
    routes: tuple[Route, ...] = key(ROUTES, "Routes.", default=())
    routing_policy: tuple[Rule, ...] = key(RULES, "Which table for which packets.", default=())
    macaddress: str | None = key(MAC, "Give it this hardware address.", default=None)
    mtu: int | None = key(MTU, "The largest packet, in bytes.", default=None)
    ipv6_mtu: int | None = key(Integer(1280, 65536), "The same of IPv6.", default=None)
    ipv6_privacy: bool | None = key(BOOLEAN, "Change IPv6 addresses often.", default=None)
    ipv6_address_generation: AddressGeneration | None = key(
        Choice(AddressGeneration), "How IPv6 addresses are made.", default=None
    )
    ipv6_address_token: IPv6Address | None = key(
        IPV6, "The host's part of IPv6 addresses, such as ::7.", default=None
    )
    optional: bool = key(BOOLEAN, "Whether a boot goes on without it.", default=False)
    critical: bool = key(BOOLEAN, "Never give its addresses up.", default=False)
    ignore_carrier: bool = key(BOOLEAN, "Configure it without a cable too.", default=False)
    activation_mode: Activation | None = key(
        Choice(Activation), "Leave it to others, or keep it down.", default=None
    )


@dataclass(frozen=True, slots=True)
class Match:
    """Which cards; all that is said must fit."""

    name: str | None = key(GLOB, "Their names.", default=None)
    macaddress: str | None = key(MAC, "Their hardware address.", default=None)
    driver: tuple[str, ...] | str | None = key(
        Either(scalar=GLOB, sequence=ListOf(GLOB)), "Their kernel driver.", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ethernet(Device):
    """Cards: the one of this name, or those that `match`."""

    match: Match | None = key(Section(Match), "Which cards; else that of this name.", default=None)
    set_name: str | None = key(NEW_NAME, "Call it this.", default=None)
    wakeonlan: bool | None = key(BOOLEAN, "Let it wake the host.", default=None)
    emit_lldp: bool = key(BOOLEAN, "Tell neighbours of this host by LLDP.", default=False)
    receive_checksum_offload: bool | None = key(BOOLEAN, "ethtool(8), rx.", default=None)
    transmit_checksum_offload: bool | None = key(BOOLEAN, "ethtool(8), tx.", default=None)
    tcp_segmentation_offload: bool | None = key(BOOLEAN, "ethtool(8), tso.", default=None)
    tcp6_segmentation_offload: bool | None = key(BOOLEAN, "ethtool(8), tso.", default=None)
    generic_segmentation_offload: bool | None = key(BOOLEAN, "ethtool(8), gso.", default=None)
    generic_receive_offload: bool | None = key(BOOLEAN, "ethtool(8), gro.", default=None)
    large_receive_offload: bool | None = key(BOOLEAN, "ethtool(8), lro.", default=None)


def device_problem(device: Device) -> str | None:
    """What of an interface of any kind does not fit together."""
    if device.ipv6_address_generation is not None and device.ipv6_address_token is not None:
        return "ipv6-address-generation beside ipv6-address-token; they exclude each other"
    return None


def _ethernet_problem(ethernet: Ethernet) -> str | None:
    if ethernet.set_name is not None and ethernet.match is None:
        return "set-name without match, which says what card is called so"
    return device_problem(ethernet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vlan(Device):
    """A tagged network on another interface."""

    id: int = key(Integer(0, 4094), "Its tag.")
    link: str = key(CARD, "The interface below it, by its name in this document.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dummy(Device):
    """An interface that leads nowhere, for addresses that are always there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vrf(Device):
    """Interfaces with a routing table of their own."""

    table: int = key(TABLE, "The table.")
    interfaces: tuple[str, ...] = key(
        ListOf(CARD), "What is in it, by names in this document.", default=()
    )


_VIRTUAL = "it is made here, not matched; match and set-name are for ethernets"
_SRIOV = "virtual functions are made by the machine that this one is a guest of"
REFUSED: Mapping[str, str] = {
    "auth": "802.1X needs a program that is not on this host",
    "openvswitch": "Open vSwitch is not on this host; use bridges",
    "networkmanager": "this host is configured by systemd-networkd",
    "hairpin": BY_FILE,
    "port_mac_learning": BY_FILE,
    "neigh_suppress": BY_FILE,
    "access_points": "there is no wireless network here",
}
IGNORED: Mapping[str, str] = {
    "optional_addresses": "networkd waits for interfaces, not kinds of address; see optional",
}
VIRTUAL_REFUSED: Mapping[str, str] = {
    **REFUSED,
    "match": _VIRTUAL,
    "set_name": _VIRTUAL,
    "wakeonlan": _VIRTUAL,
}
ETHERNET = Section(
    Ethernet,
    _ethernet_problem,
    refused={
        **REFUSED,
        "link": _SRIOV,
        "virtual_function_count": _SRIOV,
        "embedded_switch_mode": _SRIOV,
        "delay_virtual_functions_rebind": _SRIOV,
        "infiniband_mode": BY_FILE,
        "id": "a VLAN stands in vlans",
        "interfaces": "a bond stands in bonds, a bridge in bridges",
    },
    ignored=IGNORED,
)


def virtual(
    model: type[Device],
    check: Callable[[Any], str | None] = device_problem,
    refused: Mapping[str, str] = REFUSED,
) -> Section:
    """The section of an interface that is made, not found."""
    return Section(model, check, refused={**VIRTUAL_REFUSED, **refused}, ignored=IGNORED)


VLAN = virtual(Vlan)
DUMMY = virtual(Dummy)
VRF = virtual(Vrf)
