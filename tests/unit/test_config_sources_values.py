import ipaddress
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.kinds import HOSTNAME
from cloudconfig.model.network import read_network_config
from cloudconfig.model.users import SSH_KEY
from cloudconfig.sources import (
    config_drive,
    nocloud_disk,
    nocloud_net,
    openstack_network,
    values,
)
from cloudconfig.sources.base import Source, SourceError
from cloudconfig.sources.order import Outcome, find
from cloudconfig.sources.values import Checked
from config_sources_kit import Laid
from hostkit.document.kinds import Text
from metadata_servers import KEY

# --- single values


@given(st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text())))
def test_instance_ids_are_plain(value: object) -> None:
    try:
        found = values.instance_id(value)
    except SourceError:
        return
    assert found.isascii()
    assert found.isprintable()
    assert not set(found) & set(" /")
    assert len(found) <= 128
    assert found not in {".", ".."}


@pytest.mark.parametrize(
    "name", ["i-0abc", "iid-local01", "83679162-1378-4288-a2d4-70e13ec132aa", "a_b:c.d", "0123"]
)
def test_instance_ids_of_clouds_are_taken(name: str) -> None:
    assert values.instance_id(name) == name


def test_an_instance_id_may_be_a_number_or_missing() -> None:
    assert values.instance_id(7) == "7"
    assert values.instance_id(None) == values.instance_id("") == ""


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("web-1", "web-1"),
        ("web-1.example.org", "web-1.example.org"),
        (f"web-1.{'a' * 60}", "web-1"),
        ("a" * 63, "a" * 63),
        ("a" * 64, ""),
        ("-a", ""),
        ("a_b", ""),
        ("a b", ""),
        ("a.", ""),
        ("a\n", ""),
        ("ä", ""),
        (7, ""),
    ],
)
def test_host_names_are_names(given_name: object, name: str) -> None:
    checked = Checked()
    assert checked.hostname(given_name) == name
    assert bool(checked.warnings) == (name == "")


def fits(kind: Text, text: str) -> bool:
    return kind.matches(text) and len(text) <= kind.limit


@given(st.text(st.sampled_from("ab1-._ \n\u00e4"), max_size=70))
def test_no_host_name_is_taken_that_a_document_may_not_have(name: str) -> None:
    found = Checked().hostname(name)
    assert not found or fits(HOSTNAME, found)


@given(st.text(st.sampled_from("ssh-ed25519 A/+=\n\t\x07\u00e4\u2028#@"), max_size=80))
def test_no_key_is_taken_that_a_document_may_not_have(text: str) -> None:
    for line in Checked().public_keys([text, f"ssh-ed25519 {'A' * 20} {text}"]):
        assert fits(SSH_KEY, line)
        assert line.isprintable()


def test_keys_that_are_none_are_counted_and_never_shown() -> None:
    checked = Checked()
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----"
    assert checked.public_keys([private, f" {KEY}\r\n# mine\n\n", KEY, None]) == (KEY,)
    assert checked.warnings == ["4 lines of the public SSH keys are no keys, and not used"]


def test_keys_are_bounded() -> None:
    checked = Checked()
    assert len(checked.public_keys(f"ssh-rsa {n:020}" for n in range(100))) == 64
    assert checked.warnings == ["of 100 SSH keys the first 64 are used"]


@given(st.one_of(st.ip_addresses().map(str), st.text(max_size=20), st.integers()))
def test_addresses_are_addresses(value: object) -> None:
    checked = Checked()
    found = checked.variables({"private_ipv4": value, "private_ipv6": value})
    for name, address in found.items():
        assert ipaddress.ip_address(address).version == int(name[-1])
    assert len(found) + len(checked.warnings) == (0 if value == "" else 2)


def test_no_zone_is_taken() -> None:
    assert Checked().variables({"public_ipv6": "fe80::1%eth0"}) == {}


# --- OpenStack's network


ANYWHERE = "0.0.0.0"  # noqa: S104 - a destination
MAC = "fa:16:3e:60:32:83"
CARD = {"id": "tapf7f00564-60", "type": "ovs", "ethernet_mac_address": MAC, "mtu": None}


def translate(**data: object) -> tuple[dict[str, object] | None, list[str]]:
    warnings: list[str] = []
    made = openstack_network.translate(json.dumps(data).encode(), warnings)
    return (None if made is None else json.loads(made)), warnings


def one(network: dict[str, object], **more: object) -> tuple[dict[str, object], list[str]]:
    """The only card, with one network on it."""
    made, warnings = translate(links=[CARD], networks=[{"link": CARD["id"], **network}], **more)
    assert made is not None
    port = made["ethernets"]["port0"]  # type: ignore[index]
    assert port.pop("match") == {"macaddress": MAC}
    return port, warnings


def test_a_static_address_is_translated() -> None:
    port, warnings = one(
        {
            "id": "network0",
            "type": "ipv4",
            "ip_address": "10.192.35.66",
            "netmask": "255.255.252.0",
            "routes": [
                {"network": ANYWHERE, "netmask": ANYWHERE, "gateway": "10.192.35.254"},
                {"network": "10.8.0.0", "netmask": "255.255.0.0", "gateway": "192.0.2.1"},
            ],
            "services": [{"type": "dns", "address": "10.0.0.53"}],
        },
        services=[{"type": "dns", "address": "10.0.0.53"}, {"type": "dns", "address": "::1"}],
    )
    assert port == {
        "addresses": ["10.192.35.66/22"],
        "routes": [
            {"to": "0.0.0.0/0", "via": "10.192.35.254"},
            {"to": "10.8.0.0/16", "via": "192.0.2.1", "on-link": True},
        ],
        "nameservers": {"addresses": ["10.0.0.53", "::1"]},
    }
    assert not warnings


def test_an_ipv6_address_is_translated() -> None:
    port, warnings = one(
        {
            "type": "ipv6",
            "ip_address": "2001:db8::7",
            "netmask": "ffff:ffff:ffff:ffff::",
            "routes": [{"network": "::", "netmask": "::", "gateway": "fe80::1"}],
        }
    )
    assert port == {
        "addresses": ["2001:db8::7/64"],
        "routes": [{"to": "::/0", "via": "fe80::1"}],
    }
    assert not warnings


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ipv4_dhcp", {"dhcp4": True}),
        ("ipv6_dhcp", {"dhcp6": True}),
        ("ipv6_slaac", {"accept-ra": True}),
        ("ipv6_dhcpv6-stateful", {"dhcp6": True}),
        ("ipv6_dhcpv6-stateless", {"accept-ra": True}),
    ],
)
def test_dynamic_addresses_are_translated(kind: str, expected: dict[str, object]) -> None:
    assert one({"type": kind}) == (expected, [])


def test_a_prefix_and_a_gateway_may_stand_with_the_address() -> None:
    port, warnings = one({"type": "ipv4", "ip_address": "192.0.2.9/32", "gateway": "192.0.2.1"})
    assert port == {
        "addresses": ["192.0.2.9/32"],
        "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.1", "on-link": True}],
    }
    assert not warnings


def test_bonds_and_vlans_are_translated() -> None:
    made, warnings = translate(
        links=[
            {"id": "v", "type": "vlan", "vlan_id": "101", "vlan_link": "b",
             "vlan_mac_address": "A0-36-9F-D2-C3-CC"},
            {"id": "b", "type": "bond", "bond_links": ["x", "y"], "bond_mode": "4",
             "bond_miimon": 100, "bond_xmit_hash_policy": "layer3+4", "mtu": 9000,
             "ethernet_mac_address": "a0:36:9f:d2:c3:cc"},
            {"id": "x", "type": "phy", "ethernet_mac_address": "a0:36:9f:d2:c3:cc"},
            {"id": "y", "type": "phy", "ethernet_mac_address": "a0:36:9f:d2:c3:cd"},
        ],
        networks=[{"link": "v", "type": "ipv4_dhcp"}],
        services=[{"type": "dns", "address": "8.8.8.8"}, {"type": "ntp", "address": "8.8.8.9"}],
    )  # fmt: skip
    assert made == {
        "version": 2,
        "ethernets": {
            "port0": {"match": {"macaddress": "a0:36:9f:d2:c3:cc"}},
            "port1": {"match": {"macaddress": "a0:36:9f:d2:c3:cd"}},
        },
        "bonds": {
            "bond0": {
                "interfaces": ["port0", "port1"],
                "parameters": {
                    "mode": "802.3ad",
                    "transmit-hash-policy": "layer3+4",
                    "mii-monitor-interval": 100,
                },
                "macaddress": "a0:36:9f:d2:c3:cc",
                "mtu": 9000,
            }
        },
        "vlans": {
            "vlan101": {
                "id": 101,
                "link": "bond0",
                "macaddress": "a0:36:9f:d2:c3:cc",
                "dhcp4": True,
                "nameservers": {"addresses": ["8.8.8.8"]},
            }
        },
    }
    assert not warnings


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ({"type": "ipv4"}, "None is no IPv4 address"),
        ({"type": "ipv4", "ip_address": "::1"}, "'::1' is no IPv4 address"),
        ({"type": "ipv6", "ip_address": "10.0.0.1"}, "'10.0.0.1' is no IPv6 address"),
        ({"type": "ipv4", "ip_address": "10.0.0.1"}, "None is no netmask"),
        ({"type": "ipv4", "ip_address": "10.0.0.1/33"}, "'33' is no netmask"),
        (
            {"type": "ipv4", "ip_address": "10.0.0.1", "netmask": "255.0.255.0"},
            "'255.0.255.0' is no netmask",
        ),
        ({"type": "x25"}, "the type 'x25' is not known"),
        ({"type": ["ipv4"]}, "the type ['ipv4'] is not known"),
        (
            {"type": "ipv4", "ip_address": "10.0.0.1/8", "routes": [{"network": ANYWHERE}]},
            "one of its routes has no network or no gateway",
        ),
        ({"type": "ipv4_dhcp", "link": "other"}, "there is no link 'other'"),
    ],
)
def test_a_network_that_is_wrong_is_left_out_with_a_word(
    network: dict[str, object], reason: str
) -> None:
    port, warnings = one({"id": "n", **network})
    assert port == {}
    assert warnings == [f"network_data.json: the network 'n' is not used: {reason}"]


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ({"id": "x", "type": "phy"}, "None is no Ethernet address"),
        ({"id": "x", "type": "phy", "ethernet_mac_address": MAC.upper()}, "another one has its"),
        ({"id": CARD["id"], "type": "phy", "ethernet_mac_address": MAC[:-1] + "4"}, "an id of its"),
        ({"id": "x", "type": "vlan", "vlan_id": 4095}, "expected a vlan_id from 1 to 4094"),
        ({"id": "x", "type": "vlan", "vlan_id": True}, "expected a vlan_id from 1 to 4094"),
        ({"id": "x", "type": "vlan", "vlan_id": 9, "vlan_link": "no"}, "there is no link 'no'"),
        ({"id": "x", "type": "bond"}, "it has no links"),
        ({"id": "x", "type": "bond", "bond_links": [CARD["id"]], "bond_mode": 7}, "bond_mode 7"),
        ({"id": "x", "type": "bond", "bond_links": [{}], "bond_mode": 1}, "there is no link {}"),
    ],
)
def test_a_link_that_is_wrong_is_left_out_with_a_word(link: dict[str, object], reason: str) -> None:
    made, warnings = translate(links=[CARD, link], networks=[])
    assert made == {"version": 2, "ethernets": {"port0": {"match": {"macaddress": MAC}}}}
    assert len(warnings) == 1
    assert reason in warnings[0]


def test_data_without_links_is_no_network() -> None:
    assert translate() == (None, [])
    assert translate(links=7, networks={}, services="x") == (None, [])
    with pytest.raises(SourceError, match=r"network_data\.json: not JSON"):
        openstack_network.translate(b"links:", [])


KEYS = st.sampled_from(
    ["links", "networks", "services", "routes", "public_keys", "uuid", "hostname"]
    + ["id", "type", "link", "mtu", "ethernet_mac_address", "bond_links", "bond_mode"]
    + ["bond_xmit_hash_policy", "vlan_id", "vlan_link", "ip_address", "netmask", "network"]
    + ["gateway", "address"]
)
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 5000),
        st.sampled_from([MAC, "10.0.0.1", "::1", "ipv4", "ipv6", "bond", "vlan", "a", "b", "dns"]),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=15,
)


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_no_data_breaks_the_translation(data: dict[str, object]) -> None:
    warnings: list[str] = []
    made = openstack_network.translate(json.dumps(data).encode(), warnings)
    if made is not None:
        read_network_config(made, Path("network-config"))
    assert not any("\n" in warning for warning in warnings)


LINK = st.fixed_dictionaries(
    {"id": st.sampled_from("abc"), "type": st.sampled_from(["phy", "ovs", "bond", "vlan"])},
    optional={
        "ethernet_mac_address": st.sampled_from([MAC, "FA-16-3E-60-32-84", "x"]),
        "mtu": st.integers(0, 70_000) | st.none(),
        "bond_links": st.lists(st.sampled_from("abc"), max_size=3),
        "bond_mode": st.integers(0, 7) | st.sampled_from(["802.3ad", "1", "other"]),
        "bond_miimon": st.integers(-1, 70_000),
        "bond_xmit_hash_policy": st.sampled_from(["layer2", "layer3+4", "other"]),
        "vlan_id": st.integers(0, 4095) | st.sampled_from(["7", "x"]),
        "vlan_link": st.sampled_from("abc"),
        "vlan_mac_address": st.just(MAC),
    },
)
ADDRESS = st.sampled_from(
    ["10.0.0.1", "10.0.0.2", "192.0.2.1", "2001:db8::7", "fe80::1", "::", ANYWHERE]
)
MASK = st.sampled_from(["255.255.255.0", "ffff:ffff::", "24", 64, "255.0.255.0", ANYWHERE, "::"])
NETWORK = st.fixed_dictionaries(
    {
        "link": st.sampled_from("abc"),
        "type": st.sampled_from(["ipv4", "ipv6", "ipv4_dhcp", "ipv6_dhcp", "ipv6_slaac"]),
    },
    optional={
        "ip_address": ADDRESS,
        "netmask": MASK,
        "gateway": ADDRESS,
        "routes": st.lists(
            st.fixed_dictionaries({"network": ADDRESS, "netmask": MASK, "gateway": ADDRESS}),
            max_size=2,
        ),
        "services": st.lists(
            st.fixed_dictionaries({"type": st.just("dns"), "address": ADDRESS}), max_size=2
        ),
    },
)


TWO_LINKS = [
    {"id": "a", "type": "phy", "ethernet_mac_address": MAC},
    {"id": "b", "type": "phy", "ethernet_mac_address": "FA-16-3E-60-32-84"},
]


def test_what_is_two_links_is_the_first_ones() -> None:
    """An address, a card of two bonds, a VLAN twice."""
    bond = {"type": "bond", "bond_links": ["a"], "bond_mode": 1}
    vlan = {"type": "vlan", "vlan_id": 7, "vlan_link": "b"}
    links = [*TWO_LINKS, {"id": "c", **bond}, {"id": "d", **bond}]
    links += [{"id": "e", **vlan}, {"id": "f", **vlan}]
    address = {"type": "ipv4", "ip_address": "10.0.0.2", "netmask": "255.255.255.0"}
    networks = [{"link": link, "id": link, **address} for link in "bc"]
    warnings: list[str] = []
    data = json.dumps({"links": links, "networks": networks}).encode()
    made = openstack_network.translate(data, warnings)
    assert made is not None
    read_network_config(made, Path("network-config"))
    assert [warning.split(": ", 1)[1] for warning in warnings] == [
        "the link 'd' is not used: one of its links is another bond's, or no card",
        "the link 'f' is not used: another one is the same VLAN of the same link",
        "the network 'c' is not used: another link has its address",
    ]


@given(st.lists(LINK, max_size=5), st.lists(NETWORK, max_size=4))
def test_what_is_translated_is_a_network_config(
    links: list[object], networks: list[object]
) -> None:
    data = {"links": links, "networks": networks, "services": []}
    made = openstack_network.translate(json.dumps(data).encode(), [])
    if made is not None:
        read_network_config(made, Path("network-config"))


# --- whole sources, given anything


@given(
    st.sampled_from(["user-data", "meta-data", "network-config", "vendor-data"]),
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
)
def test_no_disk_breaks_nocloud(name: str, data: bytes) -> None:
    files = {"user-data": b"#cloud-config\n", "meta-data": b"", name: data}
    survives(nocloud_disk.SOURCE, "CIDATA", files)


@given(st.dictionaries(KEYS, JSON, max_size=4).map(json.dumps).map(str.encode) | st.binary())
def test_no_disk_breaks_the_config_drive(data: bytes) -> None:
    for name in ("meta_data.json", "network_data.json"):
        files = {"openstack/latest/meta_data.json": b"{}", f"openstack/latest/{name}": data}
        survives(config_drive.SOURCE, "config-2", files)


def survives(source: Source, label: str, files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        laid = Laid(Path(folder))
        laid.disk(label, files)
        found = find(laid.machine, network=True, order=(source,))
    assert found.tried[0].outcome in {Outcome.USED, Outcome.METADATA, Outcome.FAILED}
    assert found.tried[0].reason.count("\n") == 0


@given(st.text(max_size=60))
def test_no_command_line_breaks_the_search(line: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        laid = Laid(Path(folder))
        laid.boot(f"ds=nocloud;{line}", product_serial=line)
        for text in (line, f"ds=nocloud;{line}", f"cloud-config-url={line}"):
            laid.put("proc/cmdline", text.encode("utf-8", "replace"))
            find(laid.machine, network=False)
            nocloud_net.SOURCE.present(laid.machine)
