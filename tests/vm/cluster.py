"""Three hosts on one link with an etcd of their own; what tests of a cluster share."""

import json
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import image_registry
from builder.vm.config import Forward, UserNetwork, mac_address
from builder.vm.wait import wait_until
from faultserver import FaultServer
from image_registry import PASSWORD, USER, busybox
from site_of_tests import GIB, Guest, Site, guest_of, machine_uuid, shared_link

NUMBERS = (1, 2, 3)
SECONDS = 900.0  # for three emulated hosts to agree on something
IMAGE = "registry.example.invalid/web"  # by a mirror; the name is nobody's (RFC 2606)
ETCD_PORT = 2379

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
  cluster: {{}}
  labels: {{rack: r{number}}}
  registries:
    registry.example.invalid: {{mirrors: ["{registry}/mirror"]}}
    "{registry}": {{username: {user}, password: {password}}}
  network:
    version: 2
    ethernets:
      link:
        match: {{macaddress: "{card}"}}
        addresses: [10.77.0.{number}/24]
  etcd:
    listen_client_urls: "http://10.77.0.{number}:2379,http://10.0.2.15:2379"
    advertise_client_urls: "http://10.77.0.{number}:2379"
    initial_cluster:
      node-1: http://10.77.0.1:2380
      node-2: http://10.77.0.2:2380
      node-3: http://10.77.0.3:2380
    heartbeat_interval: 1000
    election_timeout: 20000
"""


class Node:
    """A host of the cluster, and the container on it."""

    def __init__(self, number: int, guest: Guest) -> None:
        self.number = number
        self.guest = guest

    @property
    def name(self) -> str:
        """As the cluster knows it."""
        return f"node-{self.number}"

    @property
    def etcd(self) -> str:
        """Its member of etcd, as it is reached from here."""
        return f"http://127.0.0.1:{self.guest.machine.port(ETCD_PORT)}"

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

        return wait_until(joined, SECONDS, "a subnet in force")

    def start_container(self) -> str:
        """Start a container of one program on the default network; its address."""
        host = self.guest.host
        host.check_output(
            "podman run --detach --replace --quiet --name box --cap-add NET_RAW"
            f" {IMAGE}:1 /bin/busybox sleep 100000"
        )
        asked = '{{(index .NetworkSettings.Networks "podman").IPAddress}}'
        return host.check_output(f"podman inspect box --format '{asked}'")

    def pings(self, address: str, size: int = 56) -> bool:
        """Whether the container gets an answer to packets of so many bytes."""
        command = f"podman exec box /bin/busybox ping -c 2 -W 5 -s {size} {address}"
        answer = self.guest.host.run(command)
        print(answer.stdout, answer.stderr)
        return answer.rc == 0


@pytest.fixture(scope="session")
def nodes(
    site: Site, server: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Node, ...]]:
    """Three hosts that made an etcd of their own and have a subnet each."""
    folder = tmp_path_factory.mktemp("cluster")
    disk = site.extension_disk("cluster", site.signer(), "images/etcd.yaml")
    image = site.release("1") / "bedplate_1.qcow2"
    link = shared_link()
    with ExitStack() as stack:
        registry = stack.enter_context(image_registry.serving(folder / "registry"))
        for tag in ("1", "2"):
            registry.push(busybox(said=f"web {tag}"), "mirror/web", tag)
        found = []
        for number in NUMBERS:
            document = DOCUMENT.format(
                number=number,
                certificate=textwrap.indent(registry.certificate, " " * 6),
                registry=registry.name,
                user=USER,
                password=PASSWORD,
                updates=server.url_for_guest(),
                card=mac_address(machine_uuid(number), 1),
            )
            host = guest_of(
                site,
                folder / f"node-{number}",
                image=image,
                extension=disk,
                networks=(UserNetwork((Forward(22), Forward(ETCD_PORT))), link),
                document=document,
                number=number,
                memory=GIB,
            )
            found.append(Node(number, stack.enter_context(host)))
        for node in found:
            node.guest.wait_until_good("1")
        for node in found:
            node.wait_until_joined()
        yield tuple(found)
