"""Real agents for tests in the lab: one process a host, with a folder of its own as `--root`."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from itertools import islice
from pathlib import Path

from etcd_server import Cluster
from network import Host, Namespace, wait_for

PREFIX = "/coreos.com/network"
CONFIG = f"{PREFIX}/config"
SUBNETS = f"{PREFIX}/subnets/"
READY_SECONDS = 120.0  # slow cores, and three interpreters that start at once


@dataclass(slots=True)
class Agent:
    """`python3 -m overlay.daemon` in a host's namespace."""

    host: Host
    root: Path
    process: subprocess.Popen[bytes] | None = None

    def configure(self, cluster: Cluster, **settings: object) -> None:
        """Write overlay.json; leases live for ten seconds unless it says otherwise."""
        values: dict[str, object] = {
            "etcd_endpoints": ",".join(cluster.endpoints),
            "subnet_ttl": 10,
            **settings,
        }
        path = self.root / "etc/bedplate/overlay.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        # As cloud-config does it: another file takes its place.
        new = path.with_name("new")
        new.write_text(json.dumps(values))
        new.replace(path)

    def start(self) -> None:
        assert self.process is None, "it runs"
        command = [sys.executable, "-m", "overlay.daemon", "--root", str(self.root)]
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.host.argv(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self) -> int:
        """End it in order; its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(READY_SECONDS)
        finally:
            process.kill()

    @property
    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    @property
    def status(self) -> dict[str, object]:
        """The published status; empty before there is one."""
        try:
            found = json.loads((self.root / "run/bedplate/overlay/status.json").read_bytes())
        except FileNotFoundError:
            return {}
        assert isinstance(found, dict)
        return found

    @property
    def status_inode(self) -> int:
        """Another one each time that a status is published."""
        return (self.root / "run/bedplate/overlay/status.json").stat().st_ino

    @property
    def state(self) -> object:
        return self.status.get("state")

    @property
    def fault(self) -> str:
        return str(self.status.get("fault", ""))

    @property
    def subnets(self) -> list[str]:
        """Of the lease, IPv4 first; none without one."""
        lease = self.status.get("lease")
        return list(lease["subnets"]) if isinstance(lease, dict) else []

    @property
    def subnet(self) -> IPv4Network:
        found = ip_network(self.subnets[0])
        assert isinstance(found, IPv4Network)
        return found

    @property
    def notices(self) -> list[str]:
        found = self.status.get("notices")
        return list(map(str, found)) if isinstance(found, list) else []

    @property
    def peers(self) -> dict[str, dict[str, object]]:
        """By their first subnet."""
        found = self.status.get("peers")
        return {each["subnets"][0]: each for each in found} if isinstance(found, list) else {}

    @property
    def environment(self) -> dict[str, str]:
        """What subnet.env says."""
        text = (self.root / "run/flannel/subnet.env").read_text()
        return dict(line.split("=", 1) for line in text.splitlines())

    @property
    def podman(self) -> dict[str, object]:
        found = json.loads((self.root / "etc/containers/networks/podman.json").read_bytes())
        assert isinstance(found, dict)
        return found

    def wait(
        self, condition: Callable[["Agent"], object], what: str, seconds: float = READY_SECONDS
    ) -> None:
        """Wait until it is so of this agent; what it said is in the failure."""
        try:
            wait_for(lambda: condition(self), what, seconds)
        except TimeoutError as error:
            raise AssertionError(f"{self.host.name}: {error}\n{self.status}\n{self.log}") from None

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        self.wait(lambda _: self.state == "ready", "ready", seconds)

    def container(self) -> Namespace:
        """A container with the second address of each subnet."""
        return self.host.container(*self.subnets, mtu=int(self.environment["FLANNEL_MTU"]))


@contextmanager
def agents(
    folder: Path, hosts: list[Host], cluster: Cluster, **settings: object
) -> Iterator[list[Agent]]:
    """One agent a host, configured and started; all end with the context."""
    found = [Agent(host, folder / host.name) for host in hosts]
    try:
        for agent in found:
            agent.root.mkdir()
            agent.configure(cluster, **settings)
            agent.start()
        yield found
    finally:
        for agent in found:
            agent.kill()


def wait_all_ready(found: list[Agent]) -> None:
    """Everyone has a subnet and knows all others."""

    def complete(agent: Agent) -> bool:
        return agent.state == "ready" and len(agent.peers) == len(found) - 1

    for agent in found:
        agent.wait(complete, "ready, with all its peers", READY_SECONDS)


@dataclass(slots=True)
class Stream:
    """Pings, ten a second; `lost` counts the unanswered ones after the end."""

    lost: int = -1
    answered: int = -1


@contextmanager
def streaming(source: Namespace, address: object) -> Iterator[Stream]:
    """Ping all the time, until five are answered; the numbers are there after the context."""
    command = source.argv(["ping", "-n", "-i", "0.1", "-w", "60", str(address)])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ping:
        stream = Stream()
        try:
            yield stream
        finally:
            assert ping.stdout is not None
            # An agent may be back sooner; where nothing is answered, -w ends it.
            sum(1 for _ in islice((line for line in ping.stdout if "bytes from" in line), 5))
            ping.send_signal(signal.SIGINT)
            output = ping.stdout.read()
        found = re.search(r"([0-9]+) packets transmitted, ([0-9]+) received", output)
        assert found, output
        stream.answered = int(found[2])
        # The last one may be on its way.
        stream.lost = max(0, int(found[1]) - stream.answered - 1)
