"""What holds for any network: it is read whole or refused, and rendered as systemd reads it."""

import json
import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudconfig.desired import File
from cloudconfig.model.network import KINDS, NETWORK, Network, read_network_config
from cloudconfig.render.network import render
from hostkit.document.schema import Reading
from hostkit.document.source import DocumentError, parse

FILE = Path("network-config")
# systemd.syntax(7): what else a line of these files may be is never needed.
LINE = re.compile(r"\[[A-Za-z0-9]+\]|[A-Za-z0-9]+=[!-~]+( [!-~]+)*|")

flags = st.booleans() | st.sampled_from(["yes", "no", "on", "off"])
names = st.from_regex(r"[a-z][a-z0-9_.\-]{0,13}[a-z0-9]", fullmatch=True).filter(
    lambda name: name not in ("all", "default", "lo")
)
ipv4 = st.integers(0x0A000001, 0xDF000000).map(lambda number: str(IPv4Address(number)))
ipv6 = st.integers(0x2001 << 112, (0x2001 << 112) + (1 << 100)).map(
    lambda number: str(IPv6Address(number))
)
interfaces4 = st.builds(lambda ip, bits: f"{ip}/{bits}", ipv4, st.integers(1, 32))
interfaces = interfaces4 | st.builds(lambda ip, bits: f"{ip}/{bits}", ipv6, st.integers(1, 128))
domains = st.from_regex(r"~?[a-z0-9]{1,9}(\.[a-z]{2,4})?", fullmatch=True)


def some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of some keys, with dashes as people write them."""
    optional = {name.replace("_", "-"): value for name, value in keys.items()}
    return st.fixed_dictionaries({}, optional=optional)


overrides = some(
    use_dns=flags,
    use_ntp=flags,
    use_hostname=flags,
    send_hostname=flags,
    hostname=st.just("web-1"),
    route_metric=st.integers(0, 4294967295),
    use_domains=flags | st.just("route"),
)
routes = some(
    metric=st.integers(0, 4294967295),
    table=st.integers(1, 4294967295),
    mtu=st.integers(68, 65536),
    scope=st.sampled_from(["global", "link", "host"]),
).flatmap(
    lambda rest: st.one_of(
        ipv4.map(lambda via: {"to": "default", "via": via, "on-link": True} | rest),
        st.builds(lambda to, via: {"to": to, "via": via} | rest, interfaces4, ipv4),
        st.builds(lambda to: {"to": to, "type": "throw"} | rest, interfaces),
    )
)
common = {
    "dhcp4": flags,
    "dhcp6": flags,
    "dhcp4_overrides": overrides,
    "dhcp6_overrides": overrides,
    "dhcp_identifier": st.sampled_from(["mac", "duid"]),
    "accept_ra": flags,
    "ra_overrides": some(use_dns=flags, use_domains=flags, table=st.integers(1, 99)),
    "link_local": st.lists(st.sampled_from(["ipv4", "ipv6"]), unique=True),
    "gateway4": ipv4,
    "gateway6": ipv6,
    "nameservers": some(
        addresses=st.lists(ipv4 | ipv6, max_size=3), search=st.lists(domains, max_size=3)
    ),
    "routes": st.lists(routes, max_size=3),
    "routing_policy": st.lists(
        st.builds(lambda to, table: {"to": to, "table": table}, interfaces, st.integers(1, 99)),
        max_size=2,
    ),
    "mtu": st.integers(68, 65536),
    "optional": flags,
    "critical": flags,
    "activation_mode": st.sampled_from(["manual", "off"]),
    "ipv6_address_generation": st.sampled_from(["eui64", "stable-privacy"]),
}
options = some(lifetime=st.sampled_from([0, "forever"]), label=st.just("web:1"))


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    """A document of version 2 that is right: cards, and things made of them."""
    taken = draw(st.lists(names, min_size=1, max_size=7, unique=True))
    used = iter(draw(st.lists(interfaces, max_size=9, unique_by=lambda text: text.split("/")[0])))
    document: dict[str, Any] = {}
    cards: list[str] = []
    devices: list[str] = []
    for number, name in enumerate(taken):
        device = draw(some(**common))
        if (address := next(used, None)) is not None:
            device["addresses"] = [
                draw(st.just(address) | st.fixed_dictionaries({address: options}))
            ]
        kind = draw(st.sampled_from(KINDS)) if cards else "ethernets"
        if kind == "ethernets":
            if draw(st.booleans()):
                device["match"] = {"macaddress": f"52:54:00:00:00:0{number}"}
            cards.append(name)
        elif kind in ("bonds", "bridges", "vrfs"):
            device |= {"interfaces": [cards.pop()]} | ({"table": 7} if kind == "vrfs" else {})
        elif kind == "vlans":
            device |= {"id": number, "link": draw(st.sampled_from(devices))}
        elif kind == "tunnels":
            device |= {"mode": "vxlan", "id": number + 1, "link": draw(st.sampled_from(devices))}
        devices.append(name)
        document.setdefault(kind.replace("_", "-"), {})[name] = device
    return document


def read(document: object) -> Network:
    return read_network_config(json.dumps(document).encode(), FILE)


def contents(network: Network) -> dict[str, str]:
    items = render(network).items
    return {item.path.name: item.content.decode() for item in items if isinstance(item, File)}


@settings(max_examples=50)
@given(networks())
def test_what_is_right_is_rendered_as_systemd_reads_it(document: dict[str, Any]) -> None:
    network = read(document)
    files = contents(network)
    for _, name, _ in network.devices:
        sections = re.findall(r"^\[(.*)\]$", files[f"10-bedplate-{name}.network"], re.MULTILINE)
        assert sections[0] == "Match"
        assert sections == sorted(sections, key=sections.index), "a section is in one piece"
    for name, text in files.items():
        assert text.endswith("\n")
        assert text.startswith(("[Match]\n", "[NetDev]\n")), name
        for line in text.splitlines():
            assert LINE.fullmatch(line), line
        assert "[]" not in text
        assert all("=" in part for part in text.split("\n\n"))


@settings(max_examples=50)
@given(networks())
def test_every_address_is_rendered_unless_its_interface_is_a_port(document: dict[str, Any]) -> None:
    network = read(document)
    ports = {name for bond in network.bonds.values() for name in bond.interfaces}
    ports |= {name for bridge in network.bridges.values() for name in bridge.interfaces}
    for name, text in contents(network).items():
        if name.endswith(".network"):
            device = name.removeprefix("10-bedplate-").removesuffix(".network")
            found = re.findall(r"^Address=(.*)$", text, re.MULTILINE)
            (given_,) = [item for _, known, item in network.devices if known == device]
            expected = [] if device in ports else [str(item.interface) for item in given_.addresses]
            assert sorted(found) == sorted(expected)


@settings(max_examples=50)
@given(networks())
def test_what_is_written_out_is_read_as_the_same(document: dict[str, Any]) -> None:
    network = read(document)
    node = parse(json.dumps(NETWORK.write(network)), FILE)
    assert NETWORK.read(node, Reading(as_coreos=True)) == network


@st.composite
def twins(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same network in version 1 and in version 2."""
    cards = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    addresses = iter(draw(st.lists(interfaces, max_size=6, unique_by=lambda t: t.split("/")[0])))
    config: list[dict[str, Any]] = []
    ethernets: dict[str, Any] = {}
    for number, name in enumerate(cards):
        one: dict[str, Any] = {"type": "physical", "name": name, "subnets": []}
        two: dict[str, Any] = {}
        if draw(st.booleans()):
            mac = f"52:54:00:00:00:0{number}"
            one["mac_address"] = mac
            two |= {"match": {"macaddress": mac}, "set-name": name}
        if draw(st.booleans()):
            one["mtu"] = two["mtu"] = draw(st.integers(68, 65536))
        if draw(st.booleans()):
            one["subnets"].append({"type": draw(st.sampled_from(["dhcp", "dhcp4"]))})
            two["dhcp4"] = True
        if draw(st.booleans()):
            one["subnets"].append({"type": "dhcp6"})
            two["dhcp6"] = True
        if (address := next(addresses, None)) is not None:
            subnet, more = draw(static_subnets(address))
            one["subnets"].append(subnet)
            two |= more
        config.append(one)
        ethernets[name] = two
    first, second = {"version": 1, "config": config}, {"version": 2, "ethernets": ethernets}
    if draw(st.booleans()):
        config.append({"type": "vlan", "name": "v.7", "vlan_id": 7, "vlan_link": cards[0]})
        second["vlans"] = {"v.7": {"id": 7, "link": cards[0]}}
    if len(cards) > 1 and draw(st.booleans()):
        mode, miimon = draw(st.sampled_from(["802.3ad", "active-backup"])), 100
        params = {"bond-mode": mode, "bond-miimon": miimon}
        ports = cards[1:]
        config.append({"type": "bond", "name": "b.8", "bond_interfaces": ports, "params": params})
        parameters = {"mode": mode, "mii-monitor-interval": miimon}
        second["bonds"] = {"b.8": {"interfaces": ports, "parameters": parameters}}
    return first, second


@st.composite
def static_subnets(draw: st.DrawFn, address: str) -> tuple[dict[str, Any], dict[str, Any]]:
    ip, bits = address.split("/")
    four = "." in ip
    one: dict[str, Any] = {"type": "static" if four else "static6", "address": address}
    two: dict[str, Any] = {"addresses": [address]}
    if draw(st.booleans()):
        mask = IPv4Interface(address).netmask if four else IPv6Interface(address).netmask
        one |= {"address": ip, "netmask": draw(st.sampled_from([bits, str(mask)]))}
    if draw(st.booleans()):
        router = draw(ipv4 if four else ipv6)
        one["gateway"] = router
        two["routes"] = [{"to": "default", "via": router}]
    if draw(st.booleans()):
        servers, search = draw(st.lists(ipv4 | ipv6, max_size=2)), draw(st.lists(domains))
        one |= {"dns_nameservers": servers, "dns_search": search}
        two["nameservers"] = {"addresses": servers, "search": search}
    return one, two


@given(twins())
def test_versions_1_and_2_of_the_same_are_rendered_alike(
    documents: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    first, second = documents
    assert contents(read(first)) == contents(read(second))


WORDS = re.findall(
    r"[a-z0-9_.\-]+",
    """version renderer network config ethernets bonds bridges vlans vrfs tunnels dummy-devices
    type physical bond bridge vlan nameserver route loopback name mac_address subnets static dhcp
    address netmask gateway params bond-mode bridge_pathcost vlan_id vlan_link bond_interfaces
    bridge_interfaces eth0 eth1 interfaces parameters mode primary id link match macaddress set-name
    addresses routes to via default 10.0.0.1 10.0.0.1/24 dhcp4 true yes 1 2 wireguard vxlan key keys
    private peers public table routing-policy from nameservers search networkd 802.3ad link-local
    destination dns_nameservers control manual interface metric port-priority path-cost""",
)
soups = st.recursive(
    st.sampled_from(WORDS) | st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=40,
)
headed = st.builds(
    lambda version, rest: {**rest, "version": version},
    st.sampled_from([1, 2]),
    st.dictionaries(st.sampled_from(WORDS), soups, max_size=4)
    | st.fixed_dictionaries({"config": st.lists(soups, max_size=4)})
    | st.fixed_dictionaries(
        {
            "config": st.lists(
                st.dictionaries(st.sampled_from(WORDS), soups, max_size=6).flatmap(
                    lambda item: st.sampled_from(
                        ["physical", "bond", "bridge", "vlan", "nameserver", "route", "loopback"]
                    ).map(lambda kind: {**item, "type": kind, "name": f"n{kind}"})
                ),
                max_size=4,
            )
        }
    ),
)


@given(soups | headed)
def test_any_soup_is_a_network_or_an_error(soup: object) -> None:
    try:
        network = read(soup)
    except DocumentError:
        return
    contents(network)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_network_or_an_error(data: bytes) -> None:
    with suppress(DocumentError):
        assert isinstance(read_network_config(data, FILE), Network)


def test_a_loop_of_any_length_is_found() -> None:
    vlans = {f"v{number}": {"id": 1, "link": f"v{number + 1}"} for number in range(500)}
    with pytest.raises(DocumentError, match="is made of itself"):
        read({"vlans": vlans | {"v500": {"id": 1, "link": "v0"}}})


def test_a_long_document_is_read_whole() -> None:
    many = range(1500)
    chain = {f"v{number}": {"id": 1, "link": f"v{number + 1}"} for number in many}
    addresses = [f"10.{number >> 8}.{number & 255}.1/24" for number in many]
    routes = [{"to": f"192.{n >> 8}.{n & 255}.0/24", "via": "172.16.0.1"} for n in many]
    eth0 = {"addresses": addresses, "routes": routes}
    network = read({"vlans": chain, "ethernets": {"v1500": {}, "eth0": eth0}})
    assert len(contents(network)) == 2 * len(many) + 2


def test_name_servers_for_all_interfaces_are_few() -> None:
    cards = [{"type": "physical", "name": f"eth{number}"} for number in range(9)]
    servers = {"type": "nameserver", "address": ["10.0.0.1"] * 33}
    with pytest.raises(DocumentError, match="more than 32 name servers"):
        read({"version": 1, "config": [*cards, servers]})
