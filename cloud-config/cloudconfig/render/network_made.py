"""The `.netdev` of an interface that is made, systemd.netdev(5)."""

from collections.abc import Callable
from enum import Enum

from cloudconfig.model.network_devices import Device, Dummy, Vlan, Vrf
from cloudconfig.model.network_groups import Bond, Bridge
from cloudconfig.model.network_tunnels import Peer, Tunnel, TunnelMode
from cloudconfig.render.network_text import Section, span


def made_file(name: str, device: Device) -> list[Section]:
    """The sections of an interface's `.netdev`; none for what is found, not made."""
    for kind, sections in _KINDS.items():
        if isinstance(device, kind):
            made: list[Section] = sections(device)
            head = Section("NetDev")
            head.add("Name", name)
            head.add("Kind", _kind(device))
            head.add("MACAddress", device.macaddress)
            return [head, *made]
    return []


def has_keys(device: Device) -> bool:
    """Whether its `.netdev` holds what nobody else may read."""
    return isinstance(device, Tunnel) and device.keys is not None


def _kind(device: Device) -> str:
    if isinstance(device, Tunnel):
        return device.mode.value
    return type(device).__name__.lower()


def _bond(bond: Bond) -> list[Section]:
    section, options = Section("Bond"), bond.parameters
    section.add("Mode", _word(options.mode))
    section.add("LACPTransmitRate", _word(options.lacp_rate))
    section.add("MIIMonitorSec", span(options.mii_monitor_interval))
    section.add("MinLinks", options.min_links)
    section.add("TransmitHashPolicy", _word(options.transmit_hash_policy))
    section.add("AdSelect", _word(options.ad_select))
    section.add("AllSlavesActive", options.all_slaves_active)
    section.add("ARPIntervalSec", span(options.arp_interval))
    section.joined("ARPIPTargets", options.arp_ip_targets)
    section.add("ARPValidate", _word(options.arp_validate))
    section.add("ARPAllTargets", _word(options.arp_all_targets))
    section.add("UpDelaySec", span(options.up_delay))
    section.add("DownDelaySec", span(options.down_delay))
    section.add("FailOverMACPolicy", _word(options.fail_over_mac_policy))
    section.add("GratuitousARP", options.gratuitous_arp)
    section.add("PacketsPerSlave", options.packets_per_slave)
    section.add("PrimaryReselectPolicy", _word(options.primary_reselect_policy))
    section.add("ResendIGMP", options.resend_igmp)
    section.add("LearnPacketIntervalSec", span(options.learn_packet_interval))
    return [section]


def _word(option: Enum | None) -> str | None:
    return option.value if option else None


def _bridge(bridge: Bridge) -> list[Section]:
    section, options = Section("Bridge"), bridge.parameters
    if options is not None:
        section.add("AgeingTimeSec", span(options.ageing_time))
        section.add("Priority", options.priority)
        section.add("ForwardDelaySec", span(options.forward_delay))
        section.add("HelloTimeSec", span(options.hello_time))
        section.add("MaxAgeSec", span(options.max_age))
        section.add("STP", options.stp)
    return [section]


def _vlan(vlan: Vlan) -> list[Section]:
    section = Section("VLAN")
    section.add("Id", vlan.id)
    return [section]


def _vrf(vrf: Vrf) -> list[Section]:
    section = Section("VRF")
    section.add("Table", vrf.table)
    return [section]


def _tunnel(tunnel: Tunnel) -> list[Section]:
    if tunnel.mode is TunnelMode.VXLAN:
        return [_vxlan(tunnel)]
    section = Section("WireGuard")
    _secret(section, "PrivateKey", tunnel.keys)
    section.add("ListenPort", tunnel.port)
    section.add("FirewallMark", tunnel.mark)
    return [section, *map(_peer, tunnel.peers)]


def _peer(peer: Peer) -> Section:
    section = Section("WireGuardPeer")
    section.add("PublicKey", peer.keys.public)
    _secret(section, "PresharedKey", peer.keys.shared)
    section.add("Endpoint", peer.endpoint)
    section.joined("AllowedIPs", peer.allowed_ips, ",")
    section.add("PersistentKeepalive", peer.keepalive)
    return section


def _secret(section: Section, key: str, value: str | None) -> None:
    """A key, or the path of its file: 43 letters and `=` are no path."""
    if value is not None and value.startswith("/") and not value.endswith("="):
        section.add(f"{key}File", value)
    else:
        section.add(key, value)


def _vxlan(tunnel: Tunnel) -> Section:
    section = Section("VXLAN")
    section.add("VNI", tunnel.id)
    group = tunnel.remote is not None and tunnel.remote.is_multicast
    section.add("Group" if group else "Remote", tunnel.remote)
    section.add("Local", tunnel.local)
    section.add("TTL", tunnel.ttl)
    section.add("MacLearning", tunnel.mac_learning)
    section.add("DestinationPort", tunnel.port)
    if tunnel.link is None:
        section.add("Independent", "yes")
    return section


_KINDS: dict[type[Device], Callable[..., list[Section]]] = {
    Bond: _bond,
    Bridge: _bridge,
    Vlan: _vlan,
    Vrf: _vrf,
    Tunnel: _tunnel,
    Dummy: lambda _: [],
}
