"""Two hosts on one link that are a fleet: an etcd on the first, an overlay, a reboot lock, APIs."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.run import CommandError, run
from builder.vm.config import Forward, UserNetwork, mac_address
from builder.vm.wait import wait_until
from cluster import ETCD_PORT, SECONDS, Node
from hostapi.port import PORT
from hostkit.etcd import Access, Client, Limits
from rebootlock.manager import Manager, Standing
from site_of_tests import PASSPHRASE, PROJECT, Guest, Site, guest_of, machine_uuid, shared_link
from workstation import PROGRAM, Workstation

NUMBERS = (1, 2)
ADDRESS = "10.77.0.{}"
SUBNETS = "/coreos.com/network/subnets/"
_LINK_PROGRAM = str(PROJECT / "tests/vm/on_the_link.py")
_PATIENT = Limits(connect_seconds=20, call_seconds=60)

_PORTS = {1: PORT, 2: 8443}  # of their APIs
# What follows in `bedplate.api`. A look each minute: the hosts are to find a release by themselves.
_DOCUMENT = """\
    port: {port}
  update:
    server: "{updates}"
    channel: stable
    strategy: etcd-lock
    interval: 60s
    jitter: 0s
    reboot_delay: 0s
  cluster: {{}}
  labels: {{row: a, rack: r{number}}}
  network:
    version: 2
    ethernets:
      link:
        match: {{macaddress: "{card}"}}
        addresses: [{address}/24]
{etcd}coreos:
  flannel:
    etcd_endpoints: http://10.77.0.1:2379
    interface: {address}
    network_config: '{{"Network": "10.5.0.0/16", "Backend": {{"Type": "vxlan"}}}}'
"""
# Emulated hosts answer late: see cluster.py.
_ETCD = """\
  etcd:
    listen_client_urls: "http://10.77.0.1:2379,http://10.0.2.15:2379"
    advertise_client_urls: http://10.77.0.1:2379
    heartbeat_interval: 1000
    election_timeout: 20000
"""


class Host(Node):
    """A host of the fleet, and who operates it."""

    def __init__(self, number: int, guest: Guest, workstation: Workstation) -> None:
        super().__init__(number, guest)
        self._workstation = workstation

    @property
    def address(self) -> str:
        """Where the others of the link reach it."""
        return ADDRESS.format(self.number)

    @property
    def port(self) -> int:
        """Where its API listens."""
        return _PORTS[self.number]

    def ask(self, *words: str) -> str:
        """What `bedplate host` prints of it."""
        return self._workstation.host(self.guest, self.name, *words, port=self.port)

    def answer(self, *words: str) -> dict[str, Any]:
        """The same as JSON."""
        found: dict[str, Any] = json.loads(self.ask(*words, "--json"))
        return found

    def wait_until_up(self) -> None:
        """Wait until its API answers."""

        def up() -> bool | None:
            try:
                return bool(self.ask("status")) or None
            except CommandError:
                return None

        wait_until(up, SECONDS, f"the API of {self.name}")

    def update(self) -> tuple[str, str]:
        """State and decision of its update, as it published them; empty while it is down."""
        found = self.guest.published_status() or {}
        return str(found.get("state", "")), str(found.get("decision", ""))


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts, and the workstation's view of all of them."""

    nodes: tuple[Host, ...]
    workstation: Workstation

    @contextmanager
    def etcd(self) -> Iterator[Client]:
        """The etcd of the first host."""
        access = Access((self.nodes[0].etcd,))
        with closing(Client(access, limits=_PATIENT)) as client:
            yield client

    def lock(self) -> Standing:
        """The reboot lock as it stands."""
        with self.etcd() as client:
            return Manager(client, "").look()

    def command(self, *words: str) -> str:
        """What `bedplate fleet` prints."""
        return run([PROGRAM, "fleet", *words, "--endpoints", self.nodes[0].etcd])

    def labelled(self, label: str, *words: str) -> str:
        """What `bedplate host --label` prints."""
        settings = self.workstation.folder / "fleet.yaml"
        settings.write_text(f"endpoints: {self.nodes[0].etcd}\n")
        ways = {
            f"{each.address}:{each.port}": each.guest.machine.port(each.port) for each in self.nodes
        }
        identity = str(self.workstation.folder / "ops.pem")
        return run(
            [
                *(sys.executable, _LINK_PROGRAM, json.dumps(ways)),
                *("host", "--label", label, "--fleet", str(settings), *words),
                *("--identity", identity),
            ],
            env={"BEDPLATE_PASSPHRASE": PASSPHRASE},
        )


@contextmanager
def running(site: Site, folder: Path, updates: str) -> Iterator[Fleet]:
    """The hosts of release 1, good; each has enrolled and has a subnet, and etcd knows of it."""
    workstation = Workstation.make(folder / "pki")
    disk = site.extension_disk("cluster", site.signer(), "images/etcd.yaml")
    link = shared_link()
    with ExitStack() as stack:
        url = stack.enter_context(workstation.issuing())
        found = []
        for number in NUMBERS:
            address = ADDRESS.format(number)
            document = workstation.document_of(f"node-{number}", url, address) + _DOCUMENT.format(
                number=number,
                port=_PORTS[number],
                address=address,
                updates=updates,
                card=mac_address(machine_uuid(number), 1),
                etcd=_ETCD if number == NUMBERS[0] else "",
            )
            forwards = tuple(map(Forward, (22, _PORTS[number], ETCD_PORT)))
            guest = guest_of(
                site,
                folder / f"node-{number}",
                image=site.release("1") / "bedplate_1.qcow2",
                extension=disk,
                networks=(UserNetwork(forwards), link),
                document=document,
                number=number,
            )
            found.append(Host(number, stack.enter_context(guest), workstation))
        fleet = Fleet(tuple(found), workstation)
        wait_until_together(fleet.nodes, "1")
        yield fleet


def wait_until_together(hosts: Sequence[Host], version: str) -> None:
    """Wait until hosts are good, in their overlay, and answer."""
    for host in hosts:
        host.guest.wait_until_good(version)
    for host in hosts:
        host.wait_until_joined()
        host.wait_until_up()
