import socket
import struct
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent.services import networks
from podagent.services.networks import connected, overlay

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"


def line(network: IPv4Network, gateway: IPv4Address | None = None, device: str = "eth0") -> str:
    """As the kernel prints it (net/ipv4/fib_trie.c, fib_route_seq_show)."""

    def word(address: IPv4Address) -> str:
        return f"{struct.unpack('=I', socket.inet_aton(str(address)))[0]:08X}"

    flags = f"{0x1 | (0x2 if gateway else 0):04X}"
    numbers = (word(network.network_address), word(gateway or IPv4Address(0)), flags, "0", "0", "0")
    text = "\t".join((device, *numbers, word(network.netmask), "0", "0", "0"))
    return text.ljust(127)


NETWORKS = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)


@given(st.lists(st.tuples(NETWORKS, st.none() | st.ip_addresses(v=4))))
def test_the_hosts_networks_are_those_without_a_gateway(
    routes: list[tuple[IPv4Network, IPv4Address | None]],
) -> None:
    lines = [line(network, gateway) for network, gateway in routes]
    assert list(connected(lines)) == [network for network, gateway in routes if gateway is None]


def test_neither_the_way_out_nor_what_is_refused_is_a_network_of_the_host() -> None:
    everything = IPv4Network("0.0.0.0/0")
    routes = (
        line(everything, IPv4Address("192.168.1.254")),
        line(everything, device="ppp0"),
        line(IPv4Network("10.0.0.0/8"), device="*"),
    )
    assert list(connected(routes)) == []


def test_a_line_of_a_real_kernel() -> None:
    text = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0                          "
    assert list(connected([text])) == [IPv4Network("192.168.1.0/24")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\n", ["10.5.0.0/16"]),
        ("FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_MTU=1450\n", []),
        ("FLANNEL_NETWORK=\n", []),
        ("FLANNEL_NETWORK=10.5.0.1/16\n", []),
        ("nothing", []),
    ],
)
def test_the_overlays_network(text: str, expected: list[str]) -> None:
    assert list(overlay(text)) == [IPv4Network(each) for each in expected]


def test_both_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = IPv4Network("192.168.1.0/24")
    (tmp_path / "route").write_text("\n".join((HEADER, line(own), line(own), "")))
    monkeypatch.setattr(networks, "_ROUTES", tmp_path / "route")
    assert networks.known(tmp_path / "none") == (own,)
    (tmp_path / "subnet.env").write_text("FLANNEL_NETWORK=10.5.0.0/16\n")
    assert networks.known(tmp_path / "subnet.env") == (IPv4Network("10.5.0.0/16"), own)
