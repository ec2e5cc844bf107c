import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.lease import (
    Broken,
    Lease,
    LeaseError,
    Leases,
    Subnets,
    Terms,
    parse_subnets,
    parse_terms,
    read_lease,
)
from overlay.network import parse
from overlay.peers import peers

# From flannel's Documentation/reservations.md, byte by byte.
KEY = "10.5.52.0-24"
VALUE = (
    b'{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan",'
    b'"BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}'
)
TERMS = Terms(
    IPv4Address("192.168.64.3"), None, "vxlan", {"VNI": 1, "VtepMAC": "c6:d2:32:6f:8f:44"}
)

networks4 = st.builds(
    lambda start, bits: IPv4Network((start, bits), strict=False),
    st.integers(1, 2**32 - 1),
    st.integers(1, 31),
)
networks6 = st.builds(
    lambda start, bits: IPv6Network((start, bits), strict=False),
    st.integers(2**112, 2**128 - 1),
    st.integers(17, 127),
)
subnets = st.builds(Subnets, networks4, st.none() | networks6) | st.builds(
    Subnets, st.none(), networks6
)
hosts4 = st.integers(0x0A000000, 0x0AFFFFFF).map(IPv4Address)
hosts6 = st.integers(0x2001 << 112, (0x2001 << 112) + 2**64).map(IPv6Address)
data = st.dictionaries(st.text(max_size=9), st.integers() | st.text(max_size=9), max_size=3)
terms = st.builds(Terms, hosts4, st.none() | hosts6, st.just("vxlan"), data, data)


def test_a_lease_of_flannels() -> None:
    assert read_lease(KEY, VALUE, 7, 9) == Lease(Subnets(IPv4Network("10.5.52.0/24")), TERMS, 7, 9)
    assert TERMS.encode() == VALUE


def test_what_flannel_leaves_out() -> None:
    assert Terms(IPv4Address("10.0.0.1"), None, "host-gw").encode() == (
        b'{"PublicIP":"10.0.0.1","PublicIPv6":null,"BackendType":"host-gw"}'
    )
    only6 = Terms(None, IPv6Address("fd00::1"), "vxlan", {}, {"VNI": 1})
    assert only6.encode() == (
        b'{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::1","BackendType":"vxlan",'
        b'"BackendV6Data":{"VNI":1}}'
    )
    assert parse_terms(only6.encode()) == only6


def test_a_reservation_needs_no_more_than_an_address() -> None:
    lease = read_lease(KEY, b'{"publicip": "10.0.0.1"}', 0, 3)
    assert isinstance(lease, Lease)
    assert lease.reservation
    assert lease.terms == Terms(IPv4Address("10.0.0.1"))


@pytest.mark.parametrize(
    ("key", "ipv4", "ipv6"),
    [
        ("10.5.52.0-24&fd00:5:52::-64", "10.5.52.0/24", "fd00:5:52::/64"),
        ("0.0.0.0-0&fd00:5:52::-64", None, "fd00:5:52::/64"),
    ],
)
def test_keys_of_two_families(key: str, ipv4: str | None, ipv6: str) -> None:
    expected = Subnets(IPv4Network(ipv4) if ipv4 else None, IPv6Network(ipv6))
    assert parse_subnets(key) == expected
    assert str(expected) == key


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        ("10.5.52.7-24", "10.5.52.0-24"),
        ("10.5.52.0-4", "0.0.0.0-4"),
        ("10.5.52.0-24&fd00:0::-64", "10.5.52.0-24&fd00::-64"),
        ("10.5.52.0-24&FD00::-64", "10.5.52.0-24&fd00::-64"),
        ("0.0.0.0-0", None),
        ("10.5.52.0-024", None),
        ("10.5.52.0-33", None),
        ("10.5.520.0-24", None),
        ("10.5.52.0/24", None),
        ("10.5.52.0-24/config", None),
        ("", None),
    ],
)
def test_a_wrong_key_is_told_and_what_it_names_is_taken(key: str, taken: str | None) -> None:
    broken = read_lease(key, VALUE, 1, 1)
    assert isinstance(broken, Broken)
    assert repr(key) in broken.reason
    assert (str(broken.subnets) if broken.subnets else None) == taken
    assert [*Leases(1, (), (broken,)).taken()] == ([broken.subnets] if taken else [])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"", "no valid JSON"),
        (b"\xff", "no valid JSON"),
        (b"[]", "expected a JSON object"),
        (b"[" * 9999, "nested too deep"),
        (b" " * 20000, "more than the 16384 allowed"),
        (b"{}", "neither PublicIP nor PublicIPv6"),
        (b'{"PublicIP":"0.0.0.0"}', "neither PublicIP nor PublicIPv6"),
        (b'{"PublicIP":"nowhere"}', "PublicIP: expected a host's address, got 'nowhere'"),
        (b'{"PublicIP":"224.0.0.1"}', "PublicIP: expected a host's address"),
        (b'{"PublicIP":1}', "PublicIP: expected a host's address"),
        (b'{"PublicIP":"10.0.0.1","PublicIPv6":"10.0.0.1"}', "PublicIPv6: expected"),
        (b'{"PublicIP":"10.0.0.1","BackendType":["x"]}', "BackendType: expected a short name"),
        (b'{"PublicIP":"10.0.0.1","BackendType":"\\ud800"}', "BackendType: expected a short name"),
        (b'{"PublicIP":"10.0.0.1","BackendData":3}', "BackendData: expected an object, got 3"),
    ],
)
def test_a_wrong_value_is_told_and_its_subnets_are_taken(value: bytes, told: str) -> None:
    broken = read_lease(KEY, value, 1, 1)
    assert isinstance(broken, Broken)
    assert told in broken.reason
    assert KEY in broken.reason
    assert str(broken.subnets) == KEY


def test_an_unknown_backend_is_kept() -> None:
    assert parse_terms(b'{"PublicIP":"10.0.0.1","BackendType":"ipip"}').backend == "ipip"


@given(subnets)
def test_every_key_is_read_back(made: Subnets) -> None:
    assert parse_subnets(str(made)) == made


@given(terms)
def test_every_value_is_read_back(made: Terms) -> None:
    assert parse_terms(made.encode()) == made
    assert json.loads(made.encode()).keys() >= {"PublicIP", "PublicIPv6"}


@given(st.text(max_size=60), st.binary(max_size=200))
def test_anything_is_a_lease_or_broken(key: str, value: bytes) -> None:
    assert isinstance(read_lease(key, value, 1, 1), Lease | Broken)


def test_a_subnet_that_is_no_text_is_refused() -> None:
    with pytest.raises(LeaseError, match=r"such as 10\.5\.52\.0-24"):
        parse_subnets("nothing")


def lease(key: str, address: str) -> Lease:
    return Lease(parse_subnets(key), Terms(IPv4Address(address), backend="vxlan"), 1, 1)


def test_peers_are_the_others_within_the_network() -> None:
    config = parse(b'{"Network":"10.5.0.0/16"}')
    ours, peer = lease("10.5.1.0-24", "10.0.0.1"), lease("10.5.2.0-24", "10.0.0.2")
    before = lease("10.5.3.0-24", "10.0.0.1")
    greedy, outside = lease("10.5.0.0-16", "10.0.0.3"), lease("8.8.8.0-24", "10.0.0.4")
    broken = Broken("x", "x is nothing", None)
    found = peers(config, Leases(1, (ours, peer, before, greedy, outside), (broken,)), ours)
    assert found.leases == (peer,)
    assert [each.reason for each in found.unusable] == [
        "x is nothing",
        "10.5.0.0-16 overlaps 10.5.1.0-24, which is this host's",
        "8.8.8.0-24 is not within the configured network",
    ]
