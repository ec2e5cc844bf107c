"""Version 1's `params` of bonds and bridges, in the words of version 2."""

from contextlib import suppress

from cloudconfig.model.network_devices import BY_FILE
from cloudconfig.model.network_v1_nodes import Draft, mapping, normal, several, text, unknown
from hostkit.document.kinds import Text
from hostkit.document.schema import Reading, Wrong, entries, is_null
from hostkit.document.source import Node, Scalar, Sequence, shown

_BOND = {
    "mode": "mode",
    "lacp_rate": "lacp_rate",
    "miimon": "mii_monitor_interval",
    "min_links": "min_links",
    "xmit_hash_policy": "transmit_hash_policy",
    "ad_select": "ad_select",
    "all_slaves_active": "all_slaves_active",
    "arp_interval": "arp_interval",
    "arp_ip_target": "arp_ip_targets",
    "arp_validate": "arp_validate",
    "arp_all_targets": "arp_all_targets",
    "updelay": "up_delay",
    "downdelay": "down_delay",
    "fail_over_mac": "fail_over_mac_policy",
    "num_grat_arp": "gratuitous_arp",
    "num_unsol_na": "gratuitous_arp",
    "packets_per_slave": "packets_per_slave",
    "primary": "primary",
    "primary_reselect": "primary_reselect_policy",
    "resend_igmp": "resend_igmp",
    "lp_interval": "learn_packet_interval",
}
# The numbers that the bonding driver has for its words.
_NUMBERS = {
    "mode": (
        *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad"),
        *("balance-tlb", "balance-alb"),
    ),
    "lacp_rate": ("slow", "fast"),
    "transmit_hash_policy": ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"),
    "ad_select": ("stable", "bandwidth", "count"),
    "arp_validate": ("none", "active", "backup", "all"),
    "fail_over_mac_policy": ("none", "active", "follow"),
    "primary_reselect_policy": ("always", "better", "failure"),
}
_STATE = "the driver tells it; it cannot be set"
_BOND_IGNORED = dict.fromkeys(
    ("active_slave", "ad_aggregator", "ad_num_ports", "mii_status", "ad_partner_key")
    + ("ad_partner_mac", "queue_id"),
    _STATE,
) | {"use_carrier": "drivers always tell of their carrier", "slaves": "bond_interfaces has them"}
_BOND_REFUSED = (
    *("ad_actor_key", "ad_actor_sys_prio", "ad_actor_system", "ad_user_port_key"),
    *("peer_notif_delay", "tlb_dynamic_lb"),
)
_BRIDGE = {
    "stp": "stp",
    "fd": "forward_delay",
    "ageing": "ageing_time",
    "bridgeprio": "priority",
    "hello": "hello_time",
    "maxage": "max_age",
}
_BRIDGE_PORTS = {"pathcost": "path_cost", "portprio": "port_priority"}
_BRIDGE_IGNORED = {
    "maxwait": "networkd waits for interfaces as they come",
    "waitport": "networkd waits for interfaces as they come",
    "gcint": "the kernel has it no more",
    "ports": "bridge_interfaces has them",
}
_PAIR = Text("an interface and a number, such as eth0 50", r"[^\s]{1,64}\s+[0-9]{1,5}")


def bond_parameters(node: Node, draft: Draft, reading: Reading) -> None:
    """Put a bond's `params` into it."""
    values: dict[str, Node] = {}
    for entry in () if is_null(node) else entries(node, "a mapping", reading):
        name = normal(entry.key).removeprefix("bond_")
        if name in _BOND:
            to = _BOND[name]
            listed = to == "arp_ip_targets" and isinstance(entry.value, Scalar)
            value = (
                Sequence(entry.value.place, tuple(several(entry.value))) if listed else entry.value
            )
            values[to] = _word(value, _NUMBERS.get(to, ()))
        elif name in _BOND_IGNORED:
            message = f"{shown(entry.key.text)} does nothing here: {_BOND_IGNORED[name]}"
            reading.warn(entry.key.place, message)
        elif name in _BOND_REFUSED:
            message = f"{shown(entry.key.text)} is not supported: {BY_FILE}"
            reading.note(entry.key.place, message)
        else:
            unknown(entry.key, (f"bond_{known}" for known in _BOND), reading)
    draft.put("parameters", node.place, mapping(node.place, values))


def bridge_parameters(node: Node, draft: Draft, reading: Reading) -> None:
    """Put a bridge's `params` into it."""
    values: dict[str, Node] = {}
    for entry in () if is_null(node) else entries(node, "a mapping", reading):
        name = normal(entry.key).removeprefix("bridge_")
        if name in _BRIDGE:
            values[_BRIDGE[name]] = entry.value
        elif name in _BRIDGE_PORTS:
            values[_BRIDGE_PORTS[name]] = _ports(entry.value, reading)
        elif name == "hw":
            draft.put("macaddress", entry.key.place, entry.value)
        elif name in _BRIDGE_IGNORED:
            message = f"{shown(entry.key.text)} does nothing here: {_BRIDGE_IGNORED[name]}"
            reading.warn(entry.key.place, message)
        else:
            known = (*_BRIDGE, *_BRIDGE_PORTS, *_BRIDGE_IGNORED, "hw")
            unknown(entry.key, (f"bridge_{item}" for item in known), reading)
    if values:
        draft.put("parameters", node.place, mapping(node.place, values))


def _word(node: Node, words: tuple[str, ...]) -> Node:
    """The driver's word for one of its numbers; anything else as it is."""
    if isinstance(node, Scalar) and node.text in map(str, range(len(words))):
        return text(node.place, words[int(node.text)])
    return node


def _ports(node: Node, reading: Reading) -> Node:
    ports: dict[str, Node] = {}
    items = node.items if isinstance(node, Sequence) else (node,)
    for item in items:
        with suppress(Wrong):
            name, number = _PAIR.read(item, reading).split()
            ports[name] = text(item.place, number)
    return mapping(node.place, ports)
