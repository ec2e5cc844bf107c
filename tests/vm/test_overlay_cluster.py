"""Three hosts on one link: their own etcd, a subnet each, containers that reach each other."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import tls_server
from builder.vm.config import UserNetwork, mac_address
from builder.vm.wait import wait_until
from faultserver import FaultServer
from site_of_tests import (
    BOOT_SECONDS,
    CACHE,
    GIB,
    Guest,
    Site,
    guest_of,
    machine_uuid,
    shared_link,
)
from tests.lab import lab_tree

pytestmark = pytest.mark.thorough

NUMBERS = (1, 2, 3)
_BOX = "/var/lib/box"
_SECONDS = 600.0  # for three emulated hosts to agree on something
_VXLAN_MTU = 1450
_HEADERS = 28  # bytes of IPv4 and ICMP before ping's own

# Emulated hosts answer late: etcd's own second to an election would be too short.
DOCUMENT = """\
#cloud-config
hostname: node-{number}
ca_certs:
  trusted:
    - |
      {certificate}
coreos:
  update: {{reboot-strategy: off}}
  flannel:
    etcd_endpoints: http://10.77.0.1:2379,http://10.77.0.2:2379,http://10.77.0.3:2379
    interface: 10.77.0.{number}
    network_config: '{{"Network": "10.5.0.0/16", "Backend": {{"Type": "vxlan"}}}}'
bedplate:
  update: {{server: "{updates}"}}
  network:
    version: 2
    ethernets:
      link:
        match: {{macaddress: "{card}"}}
        addresses: [10.77.0.{number}/24]
  etcd:
    listen_client_urls: "http://10.77.0.{number}:2379"
    initial_cluster:
      node-1: http://10.77.0.1:2380
      node-2: http://10.77.0.2:2380
      node-3: http://10.77.0.3:2380
    heartbeat_interval: 1000
    election_timeout: 20000
"""


class Node:
    """A host of the cluster, and the container on it."""

    def __init__(self, guest: Guest, server: str) -> None:
        self.guest = guest
        self._server = server

    def overlay(self) -> dict[str, object]:
        """What the agent says of itself; empty as long as it says nothing."""
        text = self.guest.ask("bedplate-overlay status --json")
        found: dict[str, object] = json.loads(text) if text else {}
        return found

    def subnet(self) -> str:
        """The subnet as flannel's file has it; empty as long as there is none."""
        text = self.guest.ask("cat /run/flannel/subnet.env")
        values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return values.get("FLANNEL_SUBNET", "")

    def wait_until_joined(self) -> str:
        """Wait for a subnet in force; the subnet."""

        def joined() -> str | None:
            active = self.guest.ask("systemctl is-active bedplate-overlay.service").strip()
            return self.subnet() if active == "active" else None

        return wait_until(joined, _SECONDS, "a subnet in force")

    def start_container(self) -> str:
        """Start a container of one program on the default network; its address."""
        host = self.guest.host
        host.check_output(f"mkdir -p {_BOX}/bin {_BOX}/dev {_BOX}/etc {_BOX}/proc {_BOX}/sys")
        host.check_output(f"curl -sSf -o {_BOX}/bin/busybox {self._server}/busybox")
        host.check_output(f"chmod 755 {_BOX}/bin/busybox")
        host.check_output(
            f"podman run --detach --replace --name box --cap-add NET_RAW --rootfs {_BOX}"
            " /bin/busybox sleep 100000"
        )
        asked = '{{(index .NetworkSettings.Networks "podman").IPAddress}}'
        return host.check_output(f"podman inspect box --format '{asked}'")

    def pings(self, address: str, size: int = 56) -> bool:
        """Whether the container gets an answer to packets of so many bytes."""
        command = f"podman exec box /bin/busybox ping -c 2 -W 5 -s {size} {address}"
        answer = self.guest.host.run(command)
        print(answer.stdout, answer.stderr)
        return answer.rc == 0


@pytest.fixture(scope="module")
def nodes(
    site: Site, server: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Node, ...]]:
    """Three hosts that made an etcd of their own and have a subnet each."""
    folder = tmp_path_factory.mktemp("overlay")
    disk = site.extension_disk("cluster", site.signer(), "images/etcd.yaml")
    busybox = (lab_tree(CACHE, on_line=print) / "usr/bin/busybox").read_bytes()
    image = site.release("1") / "bedplate_1.qcow2"
    link = shared_link()
    contents = {"busybox": busybox}
    with ExitStack() as stack:
        https = stack.enter_context(tls_server.serving(contents, "10.0.2.2", folder))
        served = f"https://10.0.2.2:{https.port}"
        found = []
        for number in NUMBERS:
            document = DOCUMENT.format(
                number=number,
                certificate=https.certificate.replace("\n", "\n      "),
                updates=server.url_for_guest(),
                card=mac_address(machine_uuid(number), 1),
            )
            host = guest_of(
                site,
                folder / f"node-{number}",
                image=image,
                extension=disk,
                networks=(UserNetwork(), link),
                document=document,
                number=number,
                memory=GIB,
            )
            found.append(Node(stack.enter_context(host), served))
        for node in found:
            node.guest.wait_until_good("1")
        for node in found:
            node.wait_until_joined()
        yield tuple(found)


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
    return wait_until(lambda: node.pings(address) or None, _SECONDS, f"an answer of {address}")
