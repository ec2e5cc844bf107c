from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest

from overlay.outer import (
    DefaultRoute,
    Interface,
    OuterError,
    Surroundings,
    Wish,
    choose,
)

_ETH0 = Interface("eth0", 2, 1500, (ip_interface("10.0.0.1/24"), ip_interface("fd00::1/64")))
_ETH1 = Interface("eth1", 3, 9000, (ip_interface("192.168.7.1/16"), ip_interface("192.168.7.2/16")))
_ETH2 = Interface("eth2", 4, 1280, (ip_interface("fd02::1/64"),))
_BARE = Interface("eth3", 5, 1500)
_AROUND = Surroundings(
    (_ETH0, _ETH1, _ETH2, _BARE),
    (
        DefaultRoute(4, "eth1", 100),
        DefaultRoute(4, "eth0", 50),
        DefaultRoute(6, "eth2", 1024),
    ),
)


def taken(wish: Wish, *, ipv4: bool = True, ipv6: bool = False) -> str:
    return choose(_AROUND, wish, ipv4=ipv4, ipv6=ipv6).name


def test_takes_the_default_route_of_the_lowest_metric() -> None:
    outer = choose(_AROUND, Wish(), ipv4=True, ipv6=True)
    assert (outer.name, outer.index, outer.mtu) == ("eth0", 2, 1500)
    assert (outer.ipv4, outer.ipv6) == _ETH0.addresses
    assert (str(outer.public_ipv4), str(outer.public_ipv6)) == ("10.0.0.1", "fd00::1")


def test_takes_the_default_route_of_ipv6_where_the_network_has_nothing_else() -> None:
    outer = choose(_AROUND, Wish(), ipv4=False, ipv6=True)
    assert outer.name == "eth2"
    assert (outer.ipv4, outer.public_ipv4) == (None, None)


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        (Wish(interface="eth1"), "eth1"),
        (Wish(interface="192.168.7.2"), "eth1"),
        (Wish(interface="10.0.0.1"), "eth0"),
        (Wish(interface="fd00:0::1"), "eth0"),
        (Wish(interface_regex="^192\\."), "eth1"),
        (Wish(interface_regex="eth[1-9]"), "eth1"),
        # An address comes before a name, as with flannel.
        (Wish(interface_regex="1|eth1"), "eth0"),
        (Wish(interface="eth1", interface_regex="eth0"), "eth1"),
    ],
    ids=str,
)
def test_takes_what_settings_say(wish: Wish, name: str) -> None:
    assert taken(wish) == name


def test_takes_the_address_that_settings_say() -> None:
    outer = choose(_AROUND, Wish(interface="192.168.7.2"), ipv4=True, ipv6=False)
    assert str(outer.ipv4) == "192.168.7.2/16"
    assert str(choose(_AROUND, Wish(interface="eth1"), ipv4=True, ipv6=False).ipv4) == (
        "192.168.7.1/16"
    )


def test_peers_are_told_the_public_addresses_of_the_settings() -> None:
    wish = Wish(public_ipv4=IPv4Address("1.2.3.4"), public_ipv6=IPv6Address("2001:db8::1"))
    outer = choose(_AROUND, wish, ipv4=True, ipv6=True)
    assert (str(outer.public_ipv4), str(outer.public_ipv6)) == ("1.2.3.4", "2001:db8::1")
    assert str(outer.ipv4) == "10.0.0.1/24"
    assert choose(_AROUND, wish, ipv4=True, ipv6=False).public_ipv6 is None


_THERE = (
    "there are: eth0 (10.0.0.1/24, fd00::1/64); eth1 (192.168.7.1/16, 192.168.7.2/16);"
    " eth2 (fd02::1/64); eth3 (no address)"
)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (
            Wish(interface="eth9"),
            f"no interface has the name or address eth9, as settings ask; {_THERE}",
        ),
        (
            Wish(interface_regex="wlan"),
            f"no interface has an address or a name that fits 'wlan'; {_THERE}",
        ),
        (Wish(interface="eth2"), "the outer interface has no IPv4 address: eth2 (fd02::1/64)"),
        (Wish(interface="eth3"), "the outer interface has no IPv4 address: eth3 (no address)"),
    ],
    ids=str,
)
def test_an_error_says_what_was_looked_for_and_what_is_there(wish: Wish, message: str) -> None:
    with pytest.raises(OuterError) as caught:
        taken(wish)
    assert str(caught.value) == message


def test_without_a_default_route_there_is_nothing_to_take() -> None:
    with pytest.raises(OuterError) as caught:
        choose(Surroundings((_BARE,)), Wish(), ipv4=True, ipv6=False)
    assert str(caught.value) == (
        "no interface has a default route of IPv4; set one, or name the interface;"
        " there are: eth3 (no address)"
    )
    with pytest.raises(OuterError, match="there are: none that is up"):
        choose(Surroundings(), Wish(), ipv4=True, ipv6=False)


def test_a_family_that_is_needed_and_missing_is_an_error() -> None:
    with pytest.raises(OuterError, match="the outer interface has no IPv6 address: eth1"):
        taken(Wish(interface="eth1"), ipv6=True)
