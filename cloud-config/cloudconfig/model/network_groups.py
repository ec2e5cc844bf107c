# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""Bonds and bridges: interfaces made of others."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address

from cloudconfig.kinds import BOOLEAN, Integer
from cloudconfig.model.network_devices import Device, virtual
from cloudconfig.model.network_kinds import CARD, IPV4, MILLISECONDS, SECONDS, Aliased
from hostkit.document.kinds import Choice
from hostkit.document.schema import ListOf, MapOf, Section, key


class BondMode(Enum):
    """How a bond spreads packets over its interfaces (the kernel's bonding.rst)."""

    BALANCE_RR = "balance-rr"
    ACTIVE_BACKUP = "active-backup"
    BALANCE_XOR = "balance-xor"
    BROADCAST = "broadcast"
    LACP = "802.3ad"
    BALANCE_TLB = "balance-tlb"
    BALANCE_ALB = "balance-alb"


class LacpRate(Enum):
    """How often the other side is asked to speak."""

    SLOW = "slow"
    FAST = "fast"


class HashPolicy(Enum):
    """By what of a packet its interface is chosen."""

    LAYER2 = "layer2"
    LAYER23 = "layer2+3"
    LAYER34 = "layer3+4"
    ENCAP23 = "encap2+3"
    ENCAP34 = "encap3+4"
    VLAN_SRCMAC = "vlan+srcmac"


class AdSelect(Enum):
    """Which group of interfaces is used."""

    STABLE = "stable"
    BANDWIDTH = "bandwidth"
    COUNT = "count"


class ArpValidate(Enum):
    """On which interfaces ARP replies are looked at."""

    NONE = "none"
    ACTIVE = "active"
    BACKUP = "backup"
    ALL = "all"


class ArpTargets(Enum):
    """How many targets must answer."""

    ANY = "any"
    ALL = "all"


class MacPolicy(Enum):
    """What hardware addresses interfaces have."""

    NONE = "none"
    ACTIVE = "active"
    FOLLOW = "follow"


class Reselect(Enum):
    """When the primary interface takes over again."""

    ALWAYS = "always"
    BETTER = "better"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class BondParameters:
    """Options of the bonding driver, in netplan's words."""

    mode: BondMode | None = key(
        Choice(BondMode), "How packets are spread; balance-rr.", default=None
    )
    lacp_rate: LacpRate | None = key(Choice(LacpRate), "For 802.3ad: slow.", default=None)
    mii_monitor_interval: int | None = key(
        MILLISECONDS, "How often cables are looked at; never.", default=None
    )
    min_links: int | None = key(Integer(0, 65535), "How many links it needs.", default=None)
    transmit_hash_policy: HashPolicy | None = key(
        Choice(HashPolicy), "By what of a packet its way is chosen.", default=None
    )
    ad_select: AdSelect | None = key(Choice(AdSelect), "For 802.3ad: which group.", default=None)
    all_slaves_active: bool | None = key(
        BOOLEAN, "Take packets from links that wait too.", default=None
    )
    arp_interval: int | None = key(MILLISECONDS, "How often targets are asked.", default=None)
    arp_ip_targets: tuple[IPv4Address, ...] = key(ListOf(IPV4), "Those targets.", default=())
    arp_validate: ArpValidate | None = key(
        Choice(ArpValidate), "Where replies are looked at.", default=None
    )
    arp_all_targets: ArpTargets | None = key(
        Choice(ArpTargets), "How many must answer.", default=None
    )
    up_delay: int | None = key(MILLISECONDS, "Wait before a link is used.", default=None)
    down_delay: int | None = key(MILLISECONDS, "Wait before it is not.", default=None)
    fail_over_mac_policy: MacPolicy | None = key(
        Choice(MacPolicy), "What hardware addresses links have.", default=None
    )
    gratuitous_arp: int | None = key(
        Integer(0, 255), "Times that neighbours are told of a change.", default=None
    )
    packets_per_slave: int | None = key(
        Integer(0, 65535), "For balance-rr: packets before the next link.", default=None
    )
    primary_reselect_policy: Reselect | None = key(
        Choice(Reselect), "When the primary takes over again.", default=None
    )
    resend_igmp: int | None = key(
        Integer(0, 255), "Times that multicast is joined anew.", default=None
    )
    learn_packet_interval: int | None = key(SECONDS, "How often switches are taught.", default=None)
    primary: str | None = key(CARD, "The interface that is used if it can be.", default=None)


def _bond_problem(parameters: BondParameters) -> str | None:
    if len(parameters.arp_ip_targets) > 16:
        return "more than 16 arp-ip-targets"
    if parameters.arp_interval and not parameters.arp_ip_targets:
        return "arp-interval without arp-ip-targets, whom to ask"
    if parameters.arp_interval and parameters.mii_monitor_interval:
        return "arp-interval beside mii-monitor-interval; a bond is watched in one way"
    interval = parameters.learn_packet_interval
    if interval is not None and (interval < 1000 or interval % 1000):
        return "learn-packet-interval is not of whole seconds"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond(Device):
    """Several cards as one."""

    interfaces: tuple[str, ...] = key(
        ListOf(CARD), "What it is made of, by names in this document.", default=()
    )
    parameters: BondParameters = key(
        Aliased(
            Section(BondParameters, _bond_problem),
            {
                "all_members_active": "all_slaves_active",
                "packets_per_member": "packets_per_slave",
                "gratuitious_arp": "gratuitous_arp",
            },
        ),
        "How it works.",
        default=BondParameters(),
    )


@dataclass(frozen=True, slots=True)
class BridgeParameters:
    """Options of a bridge, in netplan's words."""

    ageing_time: int | None = key(SECONDS, "How long addresses are remembered.", default=None)
    priority: int | None = key(Integer(0, 65535), "Smaller ones become the root.", default=None)
    port_priority: Mapping[str, int] = key(
        MapOf(CARD.pattern, Integer(0, 63)), "The same of its interfaces.", default={}
    )
    forward_delay: int | None = key(SECONDS, "Time to listen and learn.", default=None)
    hello_time: int | None = key(SECONDS, "Time between two hellos.", default=None)
    max_age: int | None = key(SECONDS, "How long a hello counts.", default=None)
    path_cost: Mapping[str, int] = key(
        MapOf(CARD.pattern, Integer(1, 65535)), "The cost of its interfaces.", default={}
    )
    stp: bool = key(BOOLEAN, "Find loops by the spanning tree protocol.", default=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(Device):
    """Several interfaces as one network."""

    interfaces: tuple[str, ...] = key(
        ListOf(CARD), "What it is made of, by names in this document.", default=()
    )
    parameters: BridgeParameters | None = key(
        Aliased(Section(BridgeParameters), {"aging_time": "ageing_time"}),
        "How it works.",
        default=None,
    )


BOND = virtual(Bond)
BRIDGE = virtual(Bridge)
