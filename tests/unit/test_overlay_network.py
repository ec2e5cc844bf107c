import json
from contextlib import suppress
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.lease import Subnets
from overlay.network import (
    HostGwConfig,
    NetworkConfig,
    NetworkConfigError,
    VxlanConfig,
    WireguardConfig,
    WireguardMode,
    parse,
)

PSK = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def config(**keys: object) -> NetworkConfig:
    return parse(json.dumps({"Network": "10.5.0.0/16"} | keys).encode())


def problems(**keys: object) -> str:
    with pytest.raises(NetworkConfigError) as caught:
        config(**keys)
    return str(caught.value)


def ends(of: NetworkConfig) -> tuple[str, str]:
    assert of.ipv4
    return str(of.ipv4.first), str(of.ipv4.last)


def test_what_a_short_document_means() -> None:
    network = config()
    assert ends(network) == ("10.5.1.0/24", "10.5.255.0/24")
    assert (network.backend, network.ipv6, network.nftables) == (VxlanConfig(), None, False)
    assert (network.hosts, network.warnings) == (255, ())


@pytest.mark.parametrize(
    ("network", "length", "hosts"),
    [
        ("10.0.0.0/8", 24, 65535),
        ("10.5.0.0/22", 24, 3),
        ("10.5.0.0/23", 25, 3),
        ("10.5.0.0/28", 30, 3),
    ],
)
def test_the_length_of_subnets_follows_the_network(network: str, length: int, hosts: int) -> None:
    made = config(Network=network)
    assert made.ipv4
    assert (made.ipv4.subnet_length, made.hosts) == (length, hosts)


def test_flannels_own_example() -> None:
    example = config(
        Network="10.0.0.0/8", SubnetLen=20, SubnetMin="10.10.0.0", SubnetMax="10.99.0.0"
    )
    assert ends(example) == ("10.10.0.0/20", "10.99.0.0/20")


def test_both_families() -> None:
    network = config(EnableIPv6=True, IPv6Network="fd00:5::/56", EnableNFTables=True)
    assert network.ipv6
    assert (str(network.ipv6.first), str(network.ipv6.last)) == (
        "fd00:5:0:1::/64",
        "fd00:5:0:ff::/64",
    )
    assert network.nftables
    alone = config(Network=None, EnableIPv4=False, EnableIPv6=True, IPv6Network="fd00::/124")
    assert alone.ipv4 is None


def test_keys_are_read_as_go_reads_them() -> None:
    text = b'{"NETWORK":"10.9.0.0/16","network":"10.5.7.9/16","SubnetMin":"0.0.0.0","SubnetLen":0}'
    network = parse(text)
    assert ends(network) == ("10.5.1.0/24", "10.5.255.0/24")
    assert "10.5.7.9/16 is taken as 10.5.0.0/16" in network.warnings[0]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"Network": "10.5.0.0"},
            "Network: expected a network such as 10.5.0.0/16, got '10.5.0.0'",
        ),
        ({"Network": None}, "Network: expected a network"),
        ({"Network": "10.5.0.0/29"}, "room for four subnets of /30 each, so at most /28"),
        ({"Network": "224.0.0.0/8"}, "outside of 224.0.0.0/4"),
        ({"Network": "0.0.0.0/0"}, "outside of 0.0.0.0/8"),
        ({"SubnetLen": 17}, "SubnetLen: expected from 18 to 30"),
        ({"SubnetLen": 31}, "SubnetLen: expected a whole number from 1 to 30, got 31"),
        ({"SubnetLen": "24"}, "SubnetLen: expected a whole number"),
        ({"SubnetMin": "10.5.1.1"}, "SubnetMin: expected the first address of one of the /24"),
        ({"SubnetMin": "10.5.1.0/24"}, "SubnetMin: expected the first address"),
        ({"SubnetMax": "10.6.0.0"}, "SubnetMax: expected the first address of one of the /24"),
        (
            {"SubnetMin": "10.5.9.0", "SubnetMax": "10.5.8.0"},
            "10.5.9.0 is after SubnetMax 10.5.8.0",
        ),
        ({"Backend": {"Type": "udp"}}, "Backend.Type: expected one of vxlan, host-gw, wireguard"),
        ({"Backend": "vxlan"}, "Backend: expected an object"),
        (
            {"Backend": {"VNI": 10_000_000}},
            "Backend.VNI: expected a whole number from 1 to 9999999",
        ),
        ({"Backend": {"Port": True}}, "Backend.Port: expected a whole number"),
        ({"Backend": {"DirectRouting": "yes"}}, "Backend.DirectRouting: expected true or false"),
        ({"Backend": {"Type": "wireguard", "Mode": "x"}}, "Backend.Mode: expected one of separate"),
        ({"EnableIPv6": True}, "IPv6Network: expected a network such as fd00:5::/48"),
        ({"EnableIPv6": True, "IPv6Network": "fe80::/16"}, "outside of fe80::/10"),
        ({"EnableIPv4": False}, "at least one must be true"),
        (
            {"EnableIPv6": True, "IPv6Network": "fd00::/56", "Backend": {"VNI": 10_000}},
            "Backend.VNI: expected a whole number from 1 to 9999",
        ),
    ],
)
def test_what_is_wrong_is_told(keys: dict[str, object], told: str) -> None:
    assert told in problems(**keys)


def test_all_problems_are_told_at_once() -> None:
    told = problems(SubnetLen=99, EnableNFTables=1, Backend={"Type": "alloc", "MTU": 3})
    assert all(key in told for key in ("SubnetLen", "EnableNFTables", "Backend.Type"))


def test_a_secret_is_neither_told_nor_shown() -> None:
    assert "s3cret" not in problems(Backend={"Type": "wireguard", "PSK": "s3cret"})
    assert PSK not in repr(config(Backend={"Type": "wireguard", "PSK": PSK}))


def test_backends() -> None:
    assert config(Backend={"Type": "Host-GW"}).backend == HostGwConfig()
    vxlan = {"Type": "vxlan", "VNI": 7, "Port": 4789, "DirectRouting": True, "MTU": 1400}
    assert config(Backend=vxlan).backend == VxlanConfig(7, 4789, direct_routing=True, mtu=1400)
    keys = {"PSK": PSK, "ListenPort": 1, "PersistentKeepaliveInterval": 25, "Mode": "auto"}
    assert config(Backend={"Type": "wireguard", **keys}).backend == WireguardConfig(
        listen_port=1, psk=PSK, keepalive=25, mode=WireguardMode.AUTO
    )


def test_what_is_ignored_is_told() -> None:
    network = config(Spare=1, Backend={"Learning": True, "GBP": False, "PSK": "x", "Name": "y"})
    assert [each.partition(" ")[0] for each in network.warnings] == [
        "Spare",
        "Backend.Name",
        "Backend.PSK",
        "Backend.Learning",
    ]


def test_a_clash_with_the_hosts_own_network() -> None:
    network = config(
        Network="10.0.0.0/8", SubnetMin="10.10.0.0", EnableIPv6=True, IPv6Network="fd00::/48"
    )
    assert network.clashes([IPv4Interface("10.9.0.5/16"), IPv6Interface("2001:db8::1/64")]) == ()
    assert "10.10.0.0/16; choose another" in network.clashes([IPv4Interface("10.10.0.5/16")])[0]
    assert "IPv6Network" in network.clashes([IPv6Interface("fd00:0:0:7::1/64")])[0]


def test_what_lies_in_the_network() -> None:
    network = config(SubnetMin="10.5.8.0")
    inside = Subnets(IPv4Network("10.5.2.0/24"))
    assert network.contains(inside)
    assert not network.holds(inside)
    assert network.holds(Subnets(IPv4Network("10.5.8.0/24")))
    assert not network.holds(Subnets(IPv4Network("10.5.8.0/25")))
    assert not network.contains(Subnets(IPv4Network("10.0.0.0/8")))
    both = Subnets(IPv4Network("10.5.8.0/24"), IPv6Network("fd00::/64"))
    assert not network.contains(both)
    assert not network.holds(both)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    (
                        "Network",
                        "SubnetLen",
                        "SubnetMin",
                        "Backend",
                        "Type",
                        "EnableIPv6",
                        "IPv6Network",
                        "VNI",
                        "PSK",
                    )
                ),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_anything_is_read_or_refused(text: bytes) -> None:
    with suppress(NetworkConfigError):
        assert parse(text).hosts >= 1


@st.composite
def layouts(draw: st.DrawFn) -> tuple[IPv4Network, int]:
    """A network and the length of its subnets."""
    bits = draw(st.integers(8, 28))
    start = draw(st.integers(0x0A000000, 0x0AFFFFFF))
    return IPv4Network((start, bits), strict=False), draw(st.integers(bits + 2, 30))


@given(layouts(), st.data())
def test_numbers_and_subnets_of_a_range(
    layout: tuple[IPv4Network, int], data: st.DataObject
) -> None:
    network, length = layout
    made = config(Network=str(network), SubnetLen=length)
    assert made.ipv4
    assert made.ipv4.count == 2 ** (length - network.prefixlen) - 1
    number = data.draw(st.integers(0, made.ipv4.count - 1))
    subnet = made.ipv4.subnet(number)
    assert subnet.subnet_of(network)
    assert made.ipv4.holds(subnet)
    assert made.ipv4.span(subnet) == (number, number)
    assert made.ipv4.subnet(made.ipv4.count - 1) == made.ipv4.last
