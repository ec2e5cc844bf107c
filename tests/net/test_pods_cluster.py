"""Hosts that share replicas by a real etcd: raced for, lost, fenced, changed, heard of late."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from etcd_server import Cluster, serving
from hostkit.etcd import Unavailable
from hostkit.timing import Timing, boottime
from network import wait_for
from podagent.cluster.hosts import MACHINE, host_record
from podagent.cluster.member import Member
from podagent.cluster.plan import Me, SlotId, Verdict, verdicts
from podagent.cluster.records import Report, instance_id
from podagent.cluster.rollout import Progress, summary
from podagent.types import Kind, Manifest, PodSpec, RestartPolicy

pytestmark = pytest.mark.thorough  # with `make test-pods`

# A machine that stalls for some seconds fences, and no more: the margin is as long as the life.
TIMING = Timing(ttl=20, margin=10, renewals=4)
ENOUGH = 120.0
START_SECONDS = 1.0
Ran = tuple[SlotId, float, float]


def text(replicas: int, digest: str = "v1") -> str:
    return json.dumps({"replicas": replicas, "digest": digest})


def parse(value: bytes, path: Path) -> Manifest:
    found = json.loads(value)
    pod = PodSpec({}, (), (), RestartPolicy.ALWAYS, 1.0, host_network=False)
    return Manifest(
        path.name, Kind.DEPLOYMENT, found["replicas"], 1, None, {}, pod, None, found["digest"], {}
    )


def available(began: float) -> bool:
    return time.monotonic() >= began + START_SECONDS


class Host:
    """An agent whose podman is a table; `ran` is what ran here, and when."""

    def __init__(self, etcd: Cluster, name: str, folder: Path, machine: str = "") -> None:
        self.name = name
        self.pods: dict[SlotId, tuple[str, float]] = {}
        self.ran: list[Ran] = []
        self._etcd = etcd
        self._machine = machine or name
        self._saved = folder / f"{name}-{self._machine}.json"
        self.start()

    def start(self) -> None:
        """The agent, for the first time or again."""
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stop = threading.Event()
        self.member = Member(
            self._etcd.access(),
            self.name,
            self._saved,
            parse=parse,
            post=self._queue.put,
            timing=TIMING,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def crash(self) -> None:
        """The agent ends; what it ran goes on."""
        self._stop.set()
        self._thread.join(ENOUGH)
        self.member.close()

    def power_off(self) -> None:
        self.crash()
        for slot in list(self.pods):
            self._end(slot)
        self._saved.unlink()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._turn()
            due = min(self.member.next_time() - boottime(), 0.5)
            try:
                self._queue.get(timeout=max(0.0, due))()
                while True:
                    self._queue.get_nowait()()
            except Empty:
                continue

    def _turn(self) -> None:
        me = Me(self.name, self.member.tenure.lease)
        found = verdicts(self.member.view, me, list(self.pods), may_run=self.member.may_run())
        for slot, verdict in found.items():
            self._obey(slot, verdict)
        self.member.tend(vacant=not self.pods)
        record = host_record({MACHINE: self._machine}, [], [])
        reports = {
            instance_id(*slot): Report(
                "Running", ready=True, digest=digest, slot=slot[1], available=available(began)
            )
            for slot, (digest, began) in self.pods.items()
        }
        self.member.write(record, reports, list(self.pods))

    def _obey(self, slot: SlotId, verdict: Verdict) -> None:
        if verdict is not Verdict.RUN:
            if slot in self.pods:
                self._end(slot)
        elif self.member.view.revision:
            digest = self.member.view.slots[slot[0]][slot[1]].value.digest
            if slot in self.pods and self.pods[slot][0] != digest:
                self._end(slot)
            if slot not in self.pods:
                self.pods[slot] = digest, time.monotonic()

    def _end(self, slot: SlotId) -> None:
        _, started = self.pods[slot]
        del self.pods[slot]
        self.ran.append((slot, started, time.monotonic()))

    def all_ran(self) -> list[Ran]:
        now = time.monotonic()
        return self.ran + [(slot, began, now) for slot, (_, began) in list(self.pods.items())]


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Cluster]:
    with serving(tmp_path / "etcd") as cluster:
        yield cluster


@contextmanager
def started(etcd: Cluster, folder: Path, count: int) -> Iterator[list[Host]]:
    """Hosts that know of each other; at the end, no slot ever ran twice at once."""
    hosts = [Host(etcd, f"host-{number}", folder) for number in range(count)]
    try:
        wait_for(
            lambda: all(len(host.member.view.hosts) == count for host in hosts),
            "all hosts know of each other",
            ENOUGH,
        )
        yield hosts
    finally:
        for host in hosts:
            host.crash()
    ran = sorted(each for host in hosts for each in host.all_ran())
    for one, other in itertools.pairwise(ran):
        assert one[0] != other[0] or one[2] <= other[1], f"{one[0]} ran twice at once"


def slots(hosts: list[Host], name: str = "web") -> dict[int, str]:
    """Who runs what."""
    return {slot[1]: host.name for host in hosts for slot in list(host.pods) if slot[0] == name}


def until_run(hosts: list[Host], count: int, name: str = "web") -> None:
    wait_for(lambda: len(slots(hosts, name)) == count, f"{count} replicas of {name} run", ENOUGH)


def test_replicas_are_shared_out_evenly(etcd: Cluster, tmp_path: Path) -> None:
    with started(etcd, tmp_path, 4) as hosts:
        etcd.put("/bedplate/pods/web", text(6))
        until_run(hosts, 6)
        assert sorted(len(host.pods) for host in hosts) == [1, 1, 2, 2]
        etcd.put("/bedplate/pods/web", text(3))
        until_run(hosts, 3)
        wait_for(lambda: len(etcd.get("/bedplate/slots/")) == 3, "slots are given back", ENOUGH)
        wait_for(lambda: len(etcd.get("/bedplate/status/")) == 3, "reports are gone", ENOUGH)


def test_a_host_that_dies_is_made_up_for(etcd: Cluster, tmp_path: Path) -> None:
    with started(etcd, tmp_path, 3) as hosts:
        etcd.put("/bedplate/pods/web", text(3))
        until_run(hosts, 3)
        hosts[0].power_off()
        until_run(hosts[1:], 3)
        wait_for(lambda: len(hosts[1].member.view.hosts) == 2, "its record is gone", ENOUGH)
        hosts[0].start()
        etcd.put("/bedplate/pods/db", text(3))
        until_run(hosts, 3, "db")


def test_an_agent_that_is_started_again_goes_on(etcd: Cluster, tmp_path: Path) -> None:
    with started(etcd, tmp_path, 2) as hosts:
        etcd.put("/bedplate/pods/web", text(4))
        until_run(hosts, 4)
        before = dict(hosts[0].pods)
        lease = hosts[0].member.tenure.lease
        hosts[0].crash()
        hosts[0].start()
        assert hosts[0].member.tenure.lease == lease
        etcd.put("/bedplate/pods/web", text(6))
        until_run(hosts, 6)
        if hosts[0].member.tenure.lease == lease:
            assert before.items() <= hosts[0].pods.items()


def test_without_etcd_replicas_end_at_the_fence_and_come_back(
    etcd: Cluster, tmp_path: Path
) -> None:
    with started(etcd, tmp_path, 2) as hosts:
        etcd.put("/bedplate/pods/web", text(4))
        until_run(hosts, 4)
        (member,) = etcd.members
        member.pause()
        until_run(hosts, 0)
        assert not any(host.member.may_run() for host in hosts)
        member.resume()
        until_run(hosts, 4)
        member.kill()
        until_run(hosts, 0)
        assert all("lease" in host.member.faults for host in hosts)
        member.start()
        until_run(hosts, 4)
        wait_for(lambda: not any(host.member.faults for host in hosts), "all is well", ENOUGH)


def test_a_lease_that_is_ended_by_hand_ends_the_replicas(etcd: Cluster, tmp_path: Path) -> None:
    with started(etcd, tmp_path, 1) as hosts:
        etcd.put("/bedplate/pods/web", text(2))
        until_run(hosts, 2)
        lease = hosts[0].member.tenure.lease
        etcd.members[0].ctl("lease", "revoke", f"{lease:x}")
        wait_for(lambda: hosts[0].member.tenure.lease not in {0, lease}, "a new lease", ENOUGH)
        until_run(hosts, 2)


def test_what_was_compacted_before_it_was_heard_is_listed(etcd: Cluster, tmp_path: Path) -> None:
    with started(etcd, tmp_path, 2) as hosts:
        etcd.put("/bedplate/pods/web", text(2))
        until_run(hosts, 2)
        deaf = hosts[0].member
        watch = deaf._store.watch

        def no_watch(*_: object, **__: object) -> None:
            raise Unavailable("cut off")

        deaf._store.watch = no_watch  # type: ignore[assignment, method-assign]
        deaf._follower.reconnect()
        wait_for(lambda: "watch" in deaf.faults, "the watch is cut off", ENOUGH)
        etcd.put("/bedplate/pods/web", text(0))
        wait_for(lambda: not hosts[1].pods, "the other has heard", ENOUGH)
        etcd.compact()
        deaf._store.watch = watch  # type: ignore[method-assign]
        until_run(hosts, 0)
        wait_for(lambda: "watch" not in deaf.faults, "the watch goes on", ENOUGH)


def test_a_change_rolls_out_one_by_one(etcd: Cluster, tmp_path: Path) -> None:
    with started(etcd, tmp_path, 3) as hosts:

        def complete() -> bool:
            view = hosts[0].member.view
            if "web" not in view.workloads:
                return False
            found = summary(view, view.workloads["web"])
            return (found.progress, found.updated, found.available) == (Progress.COMPLETE, 5, 5)

        etcd.put("/bedplate/pods/web", text(5))
        wait_for(complete, "all replicas are up", ENOUGH)
        changed = time.monotonic()
        etcd.put("/bedplate/pods/web", text(5, "v2"))
        wait_for(lambda: not complete(), "the change has begun", ENOUGH)
        wait_for(complete, "all replicas are changed", ENOUGH)
        assert {digest for host in hosts for digest, _ in host.pods.values()} == {"v2"}
        ran = [each for host in hosts for each in host.all_ran()]
        ends = sorted(end for _, _, end in ran if changed < end)[:5]
        for moment in ends:
            assert sum(began + START_SECONDS <= moment < end for _, began, end in ran) >= 4


def test_two_machines_of_one_name_are_told_apart(etcd: Cluster, tmp_path: Path) -> None:
    with started(etcd, tmp_path, 1) as hosts:
        twin = Host(etcd, "host-0", tmp_path, machine="another")
        try:
            wait_for(lambda: "writes" in twin.member.faults, "the twin is told", ENOUGH)
            assert "another machine as /bedplate/hosts/host-0" in twin.member.faults["writes"]
            etcd.put("/bedplate/pods/web", text(2))
            until_run(hosts, 2)
            assert not twin.pods
        finally:
            twin.crash()
