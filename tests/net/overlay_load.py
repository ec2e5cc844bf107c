"""What 2,000 hosts ask of one etcd, and of each host; `python3 overlay_load.py PART` in the lab.

PART is one of `PARTS`; its figures go to stdout as JSON. Every host is the real lease code with a
connection of its own, in a thread; there are a few processes of them, for a few processors.
"""

import itertools
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from multiprocessing.synchronize import Barrier
from pathlib import Path
from random import SystemRandom

from etcd_server import Cluster, serving
from hostkit.etcd import Access, Client, Compare, Limits, Operation, Outcome
from hostkit.timing import Timing, boottime
from network import Namespace, laid
from overlay import holding as life
from overlay.backends import make_backend
from overlay.forwarding import Forwarding, Part
from overlay.holding import Holding, Task
from overlay.lease import Lease, Leases, Subnets, Terms
from overlay.manager import Manager
from overlay.netlink import Kernel
from overlay.network import parse
from overlay.outer import Wish, choose
from overlay.peers import peers
from overlay.places import Places
from overlay.settings import parse as parse_settings
from overlay.tend import tend

HOSTS = 2000
_PROCESSES = 4
_AT_ONCE = 16  # threads a process that renew
_PREFIX = "/coreos.com/network"
_NETWORK = b'{"Network": "10.0.0.0/8"}'  # 65,535 hosts
# All hosts share two processors here, so that each waits for the others' work too.
_LIMITS = Limits(connect_seconds=120, call_seconds=240)
_TIMING = Timing()
_WATCHES, _EVENTS = 500, 100
_ENOUGH = 600.0


@dataclass(frozen=True, slots=True)
class Etcd:
    """Figures of one etcd; `*_cpu` are seconds of its CPU, `*_bytes` of its memory.

    At rest 1,000 hosts renew `renewals_at_rest` times a second: each a keep-alive, which etcd's log
    does not see, and a transaction that writes one key. They read nothing.
    """

    joins_a_second: float
    transactions_a_join: float
    join_cpu: float
    join_failures: int
    renewals_a_second: float
    renewal_cpu: float
    idle_cpu_a_second: float
    renewals_at_rest: float
    resident_bytes: int
    watch_bytes: float
    event_cpu: float


@dataclass(frozen=True, slots=True)
class Routes:
    """Seconds to program all peers, to follow one and to look at all; peak memory in bytes."""

    all_seconds: float
    one_seconds: float
    look_seconds: float
    whole_seconds: float
    peak: int


class _Store(Client):
    """etcd, with a count of the transactions."""

    transactions = 0

    def transact(
        self,
        compare: Iterable[Compare],
        then: Iterable[Operation],
        otherwise: Iterable[Operation] = (),
    ) -> Outcome:
        self.transactions += 1
        return super().transact(compare, then, otherwise)


# --- etcd -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Host:
    store: _Store
    manager: Manager
    number: int
    holding: Holding
    failures: int = 0

    @property
    def terms(self) -> Terms:
        return _terms(self.number)

    def join(self) -> None:
        """As an agent does it: with its pauses after what failed."""
        configuration = self.manager.configuration()
        deadline = boottime() + _ENOUGH
        while self.holding.lease is None:
            self.holding = tend(
                self.manager,
                _TIMING,
                self.holding,
                Task.JOIN,
                configuration=configuration,
                terms=self.terms,
                random=SystemRandom(),
            )
            if self.holding.lease is None:
                self.failures += 1
                if boottime() > deadline:
                    raise TimeoutError(f"host {self.number}: {self.holding.problem}")
                time.sleep(max(0.0, life.next_step(self.holding, boottime()).at - boottime()))

    def renew(self) -> None:
        assert self.holding.lease
        renewed = self.manager.renew(self.holding.lease)
        if renewed.problem:
            raise RuntimeError(f"host {self.number}: {renewed.problem}")


@dataclass(frozen=True, slots=True)
class _Joined:
    """What one process's hosts have, and what it took them."""

    leases: tuple[Lease, ...]
    transactions: int
    failures: int


def _terms(number: int) -> Terms:
    data = {"VNI": 1, "VtepMAC": f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"}
    return Terms(IPv4Address("172.16.0.0") + number, None, "vxlan", data)


def _hosts(access: Access, numbers: Iterable[int], begin: Barrier, results: object) -> None:
    """A process: its hosts join when all are there, and renew once when all have joined."""
    hosts = []
    for number in numbers:
        store = _Store(access, limits=_LIMITS)
        hosts.append(_Host(store, Manager(store, _PREFIX, _TIMING.ttl), number, Holding()))
    with ThreadPoolExecutor(len(hosts)) as pool:
        # Starts the threads: each waits for the last.
        together = threading.Barrier(len(hosts))
        list(pool.map(lambda _: together.wait(), hosts))
        begin.wait()
        list(pool.map(_Host.join, hosts))
        begin.wait()
    begin.wait()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(_Host.renew, hosts))
        begin.wait()
    leases = tuple(host.holding.lease for host in hosts if host.holding.lease)
    transactions = sum(host.store.transactions for host in hosts) - len(hosts)  # the renewals
    results.put(_Joined(leases, transactions, sum(host.failures for host in hosts)))  # type: ignore[attr-defined]


def _etcd() -> Etcd:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as cluster:
        cluster.put(f"{_PREFIX}/config", _NETWORK.decode())
        process = _process(cluster)
        idle = _cpu_a_second(process)
        begin = multiprocessing.Barrier(_PROCESSES + 1, timeout=_ENOUGH)
        results: multiprocessing.Queue[_Joined] = multiprocessing.Queue()
        workers = [
            multiprocessing.Process(
                target=_hosts,
                args=(cluster.access(), range(first, HOSTS, _PROCESSES), begin, results),
            )
            for first in range(_PROCESSES)
        ]
        for worker in workers:
            worker.start()
        begin.wait()
        joining = _Timed(process)
        begin.wait()
        joining.stop()
        begin.wait()
        renewing = _Timed(process)
        begin.wait()
        renewing.stop()
        joined = [results.get(timeout=_ENOUGH) for _ in workers]
        for worker in workers:
            worker.join()
        _expect_no_double(cluster, [lease for each in joined for lease in each.leases])
        resident = _memory(process)
    watch_bytes, event_cpu = _watched()
    return Etcd(
        joins_a_second=HOSTS / joining.seconds,
        transactions_a_join=sum(each.transactions for each in joined) / HOSTS,
        join_cpu=joining.cpu / HOSTS,
        join_failures=sum(each.failures for each in joined),
        renewals_a_second=HOSTS / renewing.seconds,
        renewal_cpu=max(0.0, renewing.cpu - idle * renewing.seconds) / HOSTS,
        idle_cpu_a_second=idle,
        renewals_at_rest=1000 / (_TIMING.renewal * 0.875),  # between, see `holding.held`
        resident_bytes=resident,
        watch_bytes=watch_bytes,
        event_cpu=event_cpu,
    )


def _expect_no_double(cluster: Cluster, leases: Sequence[Lease]) -> None:
    """Every host has one lease, etcd knows the same ones, and no two have any address in common."""
    store = Client(cluster.access(), limits=_LIMITS)
    found = Manager(store, _PREFIX, _TIMING.ttl).leases()
    there = {str(lease.subnets): lease for lease in found.leases}
    if len(leases) != HOSTS or len(there) != HOSTS or found.broken:
        raise RuntimeError(f"{HOSTS} hosts, {len(leases)} leases, {len(there)} in etcd")
    if any(there.get(str(lease.subnets)) != lease for lease in leases):
        raise RuntimeError("etcd does not have the leases that hosts believe to have")
    if len({lease.terms.public_ipv4 for lease in there.values()}) != HOSTS:
        raise RuntimeError("a host has two leases")
    ranges = sorted(lease.subnets.ipv4 for lease in leases if lease.subnets.ipv4)
    if any(one.overlaps(other) for one, other in itertools.pairwise(ranges)):
        raise RuntimeError("two hosts have the same addresses")


def _watched() -> tuple[float, float]:
    """etcd's memory a watch, and its CPU seconds for each event that each watch is told of."""
    prefix, value = f"{_PREFIX}/subnets/", _terms(1).encode()

    def hear(watch: Iterator[object]) -> None:
        for _ in range(_EVENTS):
            next(watch)

    # One that has served nobody: what it grows by is the watches'.
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as cluster:
        process = _process(cluster)
        before = _memory(process)
        with ExitStack() as stack, ThreadPoolExecutor(_WATCHES) as pool:
            client = Client(cluster.access(), limits=_LIMITS)
            watches = [stack.enter_context(client.watch(prefix, after=1)) for _ in range(_WATCHES)]
            grown = _memory(process) - before
            heard = [pool.submit(hear, watch) for watch in watches]
            timed = _Timed(process)
            for _ in range(_EVENTS):
                client.put(f"{prefix}10.255.255.0-24", value)
            for each in heard:
                each.result(_ENOUGH)
            timed.stop()
    return grown / _WATCHES, timed.cpu / (_WATCHES * _EVENTS)


class _Timed:
    """Seconds on the clock, and of a process's CPU."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._began, self._cpu = time.monotonic(), _cpu(process)
        self.seconds = self.cpu = 0.0

    def stop(self) -> None:
        self.seconds = time.monotonic() - self._began
        self.cpu = _cpu(self._process) - self._cpu


def _process(cluster: Cluster) -> int:
    process = cluster.members[0]._process
    assert process is not None
    return process.pid


def _cpu(process: int) -> float:
    """Seconds of CPU that a process has used (proc_pid_stat(5), utime and stime)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_a_second(process: int) -> float:
    timed = _Timed(process)
    time.sleep(3)
    timed.stop()
    return timed.cpu / timed.seconds


def _memory(process: int) -> int:
    """Resident bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- A host ---------------------------------------------------------------------------------------


@contextmanager
def _host() -> Iterator[Namespace]:
    with laid() as network:
        host = network.add_host(network.add_link())
        with host.entered():
            yield host


def _lease(number: int) -> Lease:
    subnet = IPv4Network((int(IPv4Address("10.1.0.0")) + number * 256, 24))
    return Lease(Subnets(subnet), _terms(number), number + 1, number + 1)


def _routes() -> Routes:
    network = parse(_NETWORK)
    with tempfile.TemporaryDirectory() as folder, _host(), Kernel() as kernel:
        places = Places(Path(folder))
        settings = parse_settings(b'{"etcd_endpoints": "http://127.0.0.1:2379"}', places)
        outer = choose(kernel.surroundings(), Wish(), ipv4=True, ipv6=False)
        backend = make_backend(network, outer, machine_id="1" * 32, key_file=Path(folder, "key"))
        ours = Lease(Subnets(IPv4Network("10.200.0.0/24")), backend.terms, 1, 1)
        known = tuple(_lease(number) for number in range(HOSTS))
        forwarding = Forwarding(kernel, places)

        def part(leases: tuple[Lease, ...]) -> Part:
            """As the agent makes it at every change."""
            found = peers(network, Leases(1, leases, ()), ours)
            return Part(network, backend, ours, found.leases)

        def bring(leases: tuple[Lease, ...]) -> None:
            forwarding.bring(part(leases), settings, None)

        def follow(leases: tuple[Lease, ...]) -> None:
            assert forwarding.follow(part(leases))

        all_seconds = _seconds(lambda: bring(known))
        if kernel.observe() != backend.desired(ours.subnets, known).state:
            raise RuntimeError("the kernel does not hold what was programmed")
        more = (*known, _lease(HOSTS + 1))
        moved = replace(more[-1], terms=_terms(HOSTS + 2))
        changes = (more, (*known, moved), known) * 5
        one_seconds = min(_seconds(lambda it=it: follow(it)) for it in changes)  # type: ignore[misc]
        whole_seconds = min(_seconds(lambda: bring(known)) for _ in range(3))
        look_seconds = min(_seconds(kernel.observe) for _ in range(3))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return Routes(all_seconds, one_seconds, look_seconds, whole_seconds, peak)


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


PARTS: dict[str, Callable[[], Etcd | Routes]] = {"etcd": _etcd, "routes": _routes}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(PARTS[sys.argv[1]]())) + "\n")
