"""Three hosts on one link: their own etcd, a subnet each, containers that reach each other."""

from pathlib import Path

import pytest

from builder.vm.wait import wait_until
from cluster import NUMBERS, SECONDS, Node
from faultserver import FaultServer
from site_of_tests import BOOT_SECONDS, Site

pytestmark = pytest.mark.thorough

_VXLAN_MTU = 1450
_HEADERS = 28  # bytes of IPv4 and ICMP before ping's own


@pytest.fixture(scope="module")
def containers(nodes: tuple[Node, ...]) -> dict[int, str]:
    """The address of a container on each host."""
    return {number: node.start_container() for number, node in zip(NUMBERS, nodes, strict=True)}


def test_each_host_has_a_subnet_of_its_own(nodes: tuple[Node, ...]) -> None:
    subnets = [node.subnet() for node in nodes]
    assert len(set(subnets)) == len(nodes), subnets
    assert all(subnet.startswith("10.5.") for subnet in subnets), subnets


def test_containers_get_addresses_of_their_hosts_subnets(
    nodes: tuple[Node, ...], containers: dict[int, str]
) -> None:
    for node, address in zip(nodes, containers.values(), strict=True):
        assert address.rpartition(".")[0] == node.subnet().rpartition(".")[0]


def test_containers_reach_each_other_with_packets_of_every_size(
    nodes: tuple[Node, ...], containers: dict[int, str]
) -> None:
    for number, node in zip(NUMBERS, nodes, strict=True):
        for other, address in containers.items():
            if other != number:
                assert node.pings(address), (number, other)
                assert node.pings(address, _VXLAN_MTU - _HEADERS), (number, other)


def test_a_reboot_keeps_the_subnet(nodes: tuple[Node, ...], containers: dict[int, str]) -> None:
    first, second, _ = nodes
    before = second.subnet()
    second.guest.reboot()
    second.guest.reach(BOOT_SECONDS)
    assert second.wait_until_joined() == before
    address = second.start_container()
    containers[2] = address
    assert _answers(first, address)
    assert _answers(second, containers[3])


def test_an_update_keeps_the_subnet(
    site: Site,
    server: FaultServer,
    nodes: tuple[Node, ...],
    containers: dict[int, str],
    tmp_path: Path,
) -> None:
    first, _, third = nodes
    before = third.subnet()
    server.set_folder(site.repository(tmp_path / "repository", site.release("2")))
    third.guest.host.check_output("bedplate-update apply --no-reboot")
    third.guest.reboot()
    third.guest.wait_until_good("2")
    assert third.wait_until_joined() == before
    address = third.start_container()
    containers[3] = address
    assert _answers(first, address)
    assert _answers(third, containers[2])


def _answers(node: Node, address: str) -> bool:
    """Peers follow a host that was away within moments, not at once."""
    return wait_until(lambda: node.pings(address) or None, SECONDS, f"an answer of {address}")
