"""How soon a host follows a report, with 50 services of 10 replicas; for the bench, in the lab."""

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from typing import TYPE_CHECKING

from hostkit.etcd import Access, Change, KeyValue, Snapshot
from podagent.cluster.records import Report, encode, manifest_key, report_key
from podagent.cluster.view import View
from podagent.phase import Phase
from podagent.services import balance
from podagent.services.apply import bring
from podagent.services.keeper import Services, make_desired, see
from podagent.services.records import encode_address, service_key
from podagent.types import Kind, Manifest, PodSpec, RestartPolicy, Service, ServicePort

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICES, REPLICAS, CHANGES = 50, 10, 20
_PORTS = (ServicePort("web", "tcp", 80, 8080), ServicePort("log", "udp", 514, 5140))
_FIRST = IPv4Address("10.96.1.0")
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: for all at first, for a change, of that on the agent's thread, for a look."""

    first: float
    change: float
    slowest_change: float
    turn: float
    look: float


def _parse(_value: bytes, path: Path) -> Manifest:
    pod = PodSpec({}, (), (), RestartPolicy.ALWAYS, 30, host_network=False)
    name, number = path.name, int(path.name.rpartition("-")[2])
    # Half of them are just names of their replicas: that is the other file.
    service = Service(name, None, _PORTS if number % 2 else ())
    return Manifest(name, Kind.DEPLOYMENT, REPLICAS, 1, None, {}, pod, service, "", {})


def _report(service: int, slot: int, *, ready: bool) -> tuple[str, bytes]:
    address = IPv4Address("10.5.0.1") + service * 256 + slot
    report = Report(Phase.RUNNING, ready=ready, digest="", slot=slot, addresses=(str(address),))
    return report_key(f"host-{slot}", f"web-{service}-{slot}"), encode(report)


def _everything() -> Snapshot:
    found = [(manifest_key(f"web-{service}"), b"") for service in range(SERVICES)]
    found += [
        (service_key(f"web-{service}"), encode_address(_FIRST + service))
        for service in range(1, SERVICES, 2)
    ]
    found += [
        _report(service, slot, ready=True)
        for service in range(SERVICES)
        for slot in range(REPLICAS)
    ]
    return Snapshot(1, tuple(KeyValue(key, value, 1, 1, 1, 0) for key, value in found))


class _Host:
    """The agent's loop around `Services`, which hears no etcd."""

    def __init__(self, folder: Path) -> None:
        self.view = View(_parse)
        self.folder = folder
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        span = IPv4Network("10.96.0.0/16")
        nowhere = Access(("http://127.0.0.1:1",))
        self.services = Services(
            nowhere, "h1", folder, span, post=self._queue.put, subnet_file=folder / "none"
        )

    def follow(self, jobs: int) -> tuple[float, float]:
        """Let so many jobs be done; how long that took, and how long the first turn was."""
        begun = time.monotonic()
        self.services.tend(self.view)
        turned = time.monotonic()
        for _ in range(jobs):
            self._queue.get(timeout=_SECONDS)()
        return time.monotonic() - begun, turned - begun

    def change(self, number: int) -> tuple[float, float]:
        """A replica of two services, one of them balanced, is ready no more."""
        for service in (2 * number, 2 * number + 1):
            key, value = _report(service, 3, ready=False)
            self.view.changed(Change(key, value, number + 2, 0))
        before = self._text()
        found = self.follow(1)
        gone = f"10.5.{2 * number + 1}.4 . 8080"
        if self.services.faults or self._text() == before or gone in balance.observe():
            raise RuntimeError(f"a report was not followed: {self.services.faults}")
        return found

    def look(self) -> float:
        """What is done now and then though nothing changes."""
        desired = make_desired(see(self.view), "h1")
        begun = time.monotonic()
        if bring(desired, desired, self.folder):
            raise RuntimeError("something was not in place")
        return time.monotonic() - begun

    def _text(self) -> bytes:
        return (self.folder / "names/bedplate").read_bytes()


def measure() -> Times:
    """In the namespace of whoever calls it."""
    with tempfile.TemporaryDirectory() as folder:
        host = _Host(Path(folder))
        host.view.listed(_everything())
        first = host.follow(2)[0]
        changes, turns = zip(*(host.change(number) for number in range(CHANGES)), strict=True)
        look = host.look()
        balance.put("", Path(folder, "none.nft"))
    return Times(first, median(changes), max(changes), max(turns), look)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(measure())) + "\n")
