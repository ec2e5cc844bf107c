"""What others see of a container: its own address inside of the network, its host's outside."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network

import pytest

from network import Host, Namespace, Network
from overlay import masquerade

_NETWORK, _NETWORK6 = IPv4Network("10.5.0.0/16"), IPv6Network("fd05::/48")
# As netavark masquerades all that leaves its subnet, in a chain of its own.
_PODMAN = """table inet netavark {
    chain NETAVARK-POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade
        ip6 saddr fd05::/48 ip6 daddr != ff00::/8 masquerade
    }
}"""
_SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], 7), family=int(sys.argv[2])) as server:
    print("ready", flush=True)
    while True:
        with server.accept()[0] as peer:
            peer.sendall(peer.getpeername()[0].encode())
"""
_CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], 7), timeout=5) as server:
    print(server.recv(100).decode())
"""


@contextmanager
def serving(place: Namespace, address: object) -> Iterator[None]:
    """A server that tells its clients their addresses."""
    family = "10" if ":" in str(address) else "2"
    command = place.argv([sys.executable, "-c", _SERVER, str(address), family])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


def seen_as(client: Namespace, server: Namespace, address: object) -> str:
    with serving(server, address):
        return client.run("python3", "-c", _CLIENT, str(address)).strip()


@pytest.fixture
def hosts(network: Network) -> tuple[Host, Host, Host]:
    """Two hosts of the network with routes to each other, and one outside of it."""
    one, two, outside = network.add_hosts(3)
    one.ip("route add 10.5.2.0/24 via 192.168.1.2", "route add fd05:0:0:2::/64 via fd00:1::2")
    two.ip("route add 10.5.1.0/24 via 192.168.1.1", "route add fd05:0:0:1::/64 via fd00:1::1")
    return one, two, outside


def put(host: Host, *, on: bool = True) -> str:
    table = masquerade.make_table(_NETWORK, _NETWORK6, masquerade=on)
    with host.entered():
        masquerade.put(table)
        # What the kernel tells is the very text, or nobody could tell that all is in place.
        assert masquerade.observe() == table
    return table


@pytest.mark.parametrize("podman", ["before", "after", "never"])
def test_masquerades_what_leaves_the_network_alone(
    hosts: tuple[Host, Host, Host], podman: str
) -> None:
    one, two, outside = hosts
    mine = one.container("10.5.1.0/24", "fd05:0:0:1::/64")
    theirs = two.container("10.5.2.0/24", "fd05:0:0:2::/64")
    if podman == "before":
        one.run("nft", _PODMAN)
    put(one)
    if podman == "after":
        one.run("nft", _PODMAN)
    assert seen_as(mine, outside, outside.address) == str(one.address)
    assert seen_as(mine, outside, outside.address6) == str(one.address6)
    assert seen_as(mine, two, two.address) == str(one.address)
    assert seen_as(mine, theirs, "10.5.2.2") == "10.5.1.2"
    assert seen_as(mine, theirs, "fd05:0:0:2::2") == "fd05:0:0:1::2"
    assert seen_as(two, mine, "10.5.1.2") == str(two.address)


def test_off_means_that_nothing_is_masqueraded(hosts: tuple[Host, Host, Host]) -> None:
    one, two, outside = hosts
    mine = one.container("10.5.1.0/24")
    outside.run("ip", "route", "add", "10.5.1.0/24", "via", str(one.address))
    put(one)
    assert seen_as(mine, outside, outside.address) == str(one.address)
    put(one, on=False)
    assert seen_as(mine, outside, outside.address) == "10.5.1.2"
    assert two.reaches("10.5.1.2")


def test_a_damaged_table_is_seen_and_mended(hosts: tuple[Host, Host, Host]) -> None:
    one = hosts[0]
    for damage in (
        "flush ruleset",
        "flush table inet bedplate-overlay",
        "add rule inet bedplate-overlay postrouting accept",
        "add chain inet bedplate-overlay other",
    ):
        table = put(one)
        one.run("nft", damage)
        with one.entered():
            assert masquerade.observe() != table, damage
        assert put(one) == table


def test_a_table_is_removed_and_others_stay(hosts: tuple[Host, Host, Host]) -> None:
    one = hosts[0]
    one.run("nft", _PODMAN)
    put(one)
    with one.entered():
        masquerade.remove()
        assert masquerade.observe() == ""
        masquerade.remove()
    assert "netavark" in one.run("nft", "list", "tables")
