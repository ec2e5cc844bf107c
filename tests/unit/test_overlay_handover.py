"""What containers get of a lease."""

import json
from ipaddress import IPv4Network, IPv6Network, ip_interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.handover import (
    BRIDGE,
    Handover,
    bridge_changes,
    hand_over,
    podman_network,
    previous_subnets,
    subnet_env,
)
from overlay.lease import Subnets
from overlay.links import Address
from overlay.outer import Interface, Surroundings
from overlay.plan import Put, Remove

V4 = Handover(
    Subnets(IPv4Network("10.5.0.0/16")), Subnets(IPv4Network("10.5.52.0/24")), 1450, masquerade=True
)
V6 = Handover(
    Subnets(None, IPv6Network("fd00:5::/48")),
    Subnets(None, IPv6Network("fd00:5:0:34::/64")),
    1430,
    masquerade=False,
)
BOTH = Handover(
    Subnets(V4.networks.ipv4, V6.networks.ipv6),
    Subnets(V4.subnets.ipv4, V6.subnets.ipv6),
    1430,
    masquerade=True,
)


def test_subnet_env_is_flannels() -> None:
    assert subnet_env(V4).decode() == (
        "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.52.1/24\n"
        "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
    )
    assert subnet_env(V6).decode() == (
        "FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:34::1/64\n"
        "FLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n"
    )
    assert subnet_env(BOTH).decode() == (
        "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.52.1/24\n"
        "FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:34::1/64\n"
        "FLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n"
    )


@pytest.mark.parametrize("handover", [V4, V6, BOTH])
def test_the_previous_subnets_are_found_again(handover: Handover, tmp_path: Path) -> None:
    path = tmp_path / "subnet.env"
    path.write_bytes(subnet_env(handover))
    assert previous_subnets(path) == handover.subnets


@given(st.binary())
def test_a_broken_subnet_env_is_no_previous_subnet(data: bytes) -> None:
    path = Path("/dev/shm/test-overlay-handover.env")  # noqa: S108 - hypothesis and tmp_path
    path.write_bytes(data)
    try:
        assert previous_subnets(path) is None
    finally:
        path.unlink()


def test_no_subnet_env_is_no_previous_subnet(tmp_path: Path) -> None:
    assert previous_subnets(tmp_path / "none") is None


def test_podmans_network_has_the_subnets_and_the_mtu() -> None:
    found = json.loads(podman_network(BOTH))
    assert found["subnets"] == [
        {"subnet": "10.5.52.0/24", "gateway": "10.5.52.1"},
        {"subnet": "fd00:5:0:34::/64", "gateway": "fd00:5:0:34::1"},
    ]
    assert found["options"] == {"mtu": "1430"}
    assert (found["name"], found["network_interface"]) == ("podman", "podman0")
    assert (found["ipv6_enabled"], found["dns_enabled"]) == (True, False)
    # Podman takes no network whose id is not 64 characters long.
    assert len(found["id"]) == 64
    assert json.loads(podman_network(V4))["ipv6_enabled"] is False


def test_files_are_written_only_when_they_differ(tmp_path: Path) -> None:
    env, network = tmp_path / "run/flannel/subnet.env", tmp_path / "etc/networks/podman.json"
    assert hand_over(V4, env, network)
    written = env.stat().st_ino, network.stat().st_ino
    assert not hand_over(V4, env, network)
    assert (env.stat().st_ino, network.stat().st_ino) == written
    assert hand_over(BOTH, env, network)
    assert env.read_bytes() == subnet_env(BOTH)
    assert network.read_bytes() == podman_network(BOTH)
    assert network.stat().st_mode & 0o777 == 0o644


# --- The bridge of running containers -------------------------------------------------------------

GATEWAYS = {"10.5.52.1/24", "fd00:5:0:34::1/64"}


def around(*addresses: str) -> Surroundings:
    own = tuple(ip_interface(each) for each in addresses)
    others = Interface("eth0", 2, 1500, (ip_interface("10.88.0.1/16"),))
    return Surroundings((others, Interface(BRIDGE, 3, 1450, own)))


def test_without_a_bridge_there_is_nothing_to_do() -> None:
    assert bridge_changes(Surroundings(around().interfaces[:1]), BOTH) == ()


def test_a_bridge_as_it_should_be_is_left_alone() -> None:
    assert bridge_changes(around(*GATEWAYS), BOTH) == ()


def test_an_old_subnet_goes_after_the_new_one_is_there() -> None:
    assert bridge_changes(around("10.5.7.1/24", "fd00:5:0:34::1/64"), BOTH) == (
        Put(Address(BRIDGE, "10.5.52.1", 24)),
        Remove(Address(BRIDGE, "10.5.7.1", 24)),
    )


@given(
    st.sets(
        st.sampled_from(
            [*GATEWAYS, "10.88.0.1/16", "10.5.52.1/16", "10.5.52.2/24", "fd00:5:0:35::1/64"]
        )
    )
)
def test_the_gateways_are_left_and_nothing_else(addresses: set[str]) -> None:
    found = set(addresses)
    for change in bridge_changes(around(*addresses), BOTH):
        assert isinstance(change, Put | Remove)
        assert isinstance(change.entry, Address)
        text = f"{change.entry.address}/{change.entry.length}"
        (found.add if isinstance(change, Put) else found.remove)(text)
    assert found == GATEWAYS
