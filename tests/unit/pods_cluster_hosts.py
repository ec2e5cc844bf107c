"""Simulated hosts with the cluster's part of the agent, on one etcd in memory.

Time is the simulation's own, and chance picks who is next: a call to etcd is answered, a change is
heard, an agent has a turn. Podman is a table that does what the verdicts say.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar, cast
from unittest.mock import patch

from etcd_model import EtcdModel
from hostkit.etcd import Access, Compare, Granted, Operation, Outcome, Unavailable
from hostkit.following import Listener
from podagent.cluster import member as member_module
from podagent.cluster.hosts import MACHINE, host_record
from podagent.cluster.member import Member
from podagent.cluster.plan import Me, SlotId, Verdict, verdicts
from podagent.cluster.records import ROOT, Report, SlotRecord, instance_id, manifest_key
from podagent.cluster.rollout import available, down, stuck
from podagent.cluster.view import View
from podagent.types import Kind, Manifest, PodSpec, RestartPolicy
from updater.errors import InputError

T = TypeVar("T")
GRACE = 3.0
READY_AFTER = 4.0
_LAG = 0.05  # between two things that happen


def dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - no secret


def manifest(
    name: str = "web",
    *,
    replicas: int | None = 3,
    digest: str = "good-1",
    unavailable: int = 1,
    selector: dict[str, str] | None = None,
    kind: Kind = Kind.DEPLOYMENT,
    node: str | None = None,
) -> Manifest:
    pod = PodSpec({}, (), (), RestartPolicy.ALWAYS, GRACE, host_network=False)
    return Manifest(
        name, kind, replicas, unavailable, node, selector or {}, pod, None, digest, documents={}
    )


def text(each: Manifest) -> bytes:
    """A manifest as these tests write it: its fields, without YAML."""
    labels = ",".join(f"{key}={value}" for key, value in each.selector.items())
    return f"{each.name} {each.replicas} {each.max_unavailable} {each.digest} {labels}".encode()


def parse(value: bytes, path: Path) -> Manifest:
    words = value.decode().split(" ")
    if len(words) != 5:
        raise InputError(f"{path}:1:1: no manifest")
    name, replicas, unavailable, digest, labels = words
    selector = dict(each.split("=") for each in labels.split(",") if each)
    return manifest(
        name,
        replicas=int(replicas),
        digest=digest,
        unavailable=int(unavailable),
        selector=selector,
    )


def view_of(etcd: EtcdModel) -> View:
    """All that is in etcd now."""
    view = View(parse)
    view.listed(etcd.list(ROOT))
    return view


@dataclass
class Pod:
    """A replica in podman."""

    digest: str
    started: float
    ends: float | None = None  # asked to end, and gone then

    def ready(self, now: float) -> bool:
        well = self.digest.startswith("good") and now >= self.started + READY_AFTER
        return well and self.ends is None


@dataclass
class Link:
    """A host's way to etcd."""

    world: "World"
    up: bool = True
    strikes: list[str] = field(default_factory=list)

    def _call(self, work: Callable[[], T]) -> T:
        if not self.up:
            raise Unavailable("cut off")
        strike = self.strikes.pop() if self.strikes else ""
        if strike == "unsent":
            raise Unavailable("unsent")
        if strike == "late":
            self.world.late.append(work)
            raise Unavailable("silent", applied=True)
        result = work()
        if strike == "unanswered":
            raise Unavailable("unanswered", applied=True)
        return result

    def transact(
        self,
        compare: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
    ) -> Outcome:
        arguments = (list(compare), list(then), list(otherwise))
        return self._call(lambda: self.world.transact(*arguments))

    def grant(self, seconds: int) -> Granted:
        return self._call(lambda: self.world.etcd.grant(seconds))

    def keep_alive(self, lease: int) -> int:
        return self._call(lambda: self.world.etcd.keep_alive(lease))

    def revoke(self, lease: int) -> None:
        self._call(lambda: self.world.etcd.revoke(lease))

    def close(self) -> None:
        pass


@dataclass
class Saved:
    """The file below /run."""

    data: bytes | None = None

    def open(self, _mode: str) -> io.BytesIO:
        if self.data is None:
            raise FileNotFoundError
        return io.BytesIO(self.data)


class Jobs:
    """A worker whose work is done when chance has it."""

    def __init__(self, _name: str, _post: object) -> None:
        self.queue: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self.closed = False
        _workers.append(self)

    @property
    def busy(self) -> bool:
        return bool(self.queue)

    def do(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.queue.append((work, done))

    def step(self) -> None:
        work, done = self.queue[0]
        found = work()
        del self.queue[0]
        if not self.closed:
            done(found)

    def close(self) -> None:
        self.closed = True


_workers: list[Jobs] = []


class Heard:
    """A follower that hears when chance has it."""

    def __init__(self, link: Link, _prefix: str, listener: Listener, _post: object) -> None:
        self.link, self.listener = link, listener
        self.cursor: int | None = None
        _followers.append(self)

    @property
    def waits(self) -> bool:
        behind = self.cursor is None or self.cursor < len(self.link.world.etcd.log)
        return self.link.up and behind

    def step(self) -> None:
        log = self.link.world.etcd.log
        if self.cursor is None:
            self.cursor = len(log)
            self.listener.listed(self.link.world.etcd.list(ROOT))
            self.listener.trouble("")
        else:
            self.cursor += 1
            self.listener.changed(log[self.cursor - 1])

    def forget(self) -> None:
        """What was not heard by now is compacted."""
        if self.waits:
            self.cursor = None

    def stop(self) -> None:
        pass


_followers: list[Heard] = []


@dataclass
class SimHost:
    """A host: `pods` are in podman, `saved` is below /run."""

    world: "World"
    name: str
    labels: dict[str, str]
    link: Link
    pods: dict[SlotId, Pod] = field(default_factory=dict)
    saved: Saved = field(default_factory=Saved)
    member: Member | None = None
    workers: list[Jobs] = field(default_factory=list)
    follower: Heard | None = None
    draining: bool = False
    forced: bool = False
    wake: float = 0.0
    restart: float | None = None
    slow_until: float = 0.0  # nothing that is asked of etcd is done before
    ready_since: dict[SlotId, float] = field(default_factory=dict)

    def start(self) -> None:
        self.restart = None
        _workers.clear()
        _followers.clear()
        self.member = Member(
            Access((self.name,)),
            self.name,
            cast("Path", self.saved),
            parse=parse,
            post=lambda _: None,
        )
        self.workers, self.follower = list(_workers), _followers[0]
        self.wake = self.world.now

    def crash(self) -> None:
        """The agent dies; containers go on, and what was on its way may arrive."""
        for worker in self.workers:
            self.world.late += [work for work, _ in worker.queue if self.link.up]
        self.member, self.workers, self.follower = None, [], None

    def power_off(self) -> None:
        self.crash()
        self.pods.clear()
        self.saved.data = None
        self.draining = self.forced = False
        self.slow_until = 0.0

    @property
    def fenced_at(self) -> float | None:
        """When replicas must be stopped, unless something is heard before."""
        if self.member and self.pods and self.member.tenure.lease:
            return self.member.tenure.until
        return None

    def choices(self) -> Iterator[Callable[[], None]]:
        """What may happen here next."""
        if self.member is None:
            return
        for worker in self.workers:
            if worker.busy and self.slow_until <= self.world.now:
                yield worker.step
        if self.follower and self.follower.waits:
            yield self.follower.step
        if self.member.dirty or self.wake <= self.world.now:
            yield self.turn

    def turn(self) -> None:
        """What the agent does when it is woken."""
        member, now = self.member, self.world.now
        if member is None:
            return
        member.dirty = False
        me = Me(self.name, member.tenure.lease, self.draining, self.forced)
        found = verdicts(member.view, me, list(self.pods), may_run=member.may_run())
        for slot, verdict in found.items():
            self._obey(slot, verdict)
        member.tend(vacant=not self.pods)
        obstacles = ["draining"] if self.draining else []
        record = host_record({**self.labels, MACHINE: self.name}, ["10.0.0.1"], obstacles)
        member.write(
            record,
            dict(self._reports(member.view)),
            list(self.pods),
            draining=self.draining,
            forced=self.forced,
        )
        self.wake = min([now + 1.0, max(member.next_time(), now + _LAG)])

    def _obey(self, slot: SlotId, verdict: Verdict) -> None:
        assert self.member is not None
        pod, now = self.pods.get(slot), self.world.now
        if pod and pod.ends is not None and now >= pod.ends:
            del self.pods[slot]
            pod = None
        if verdict is Verdict.KILL:
            self.pods.pop(slot, None)
        elif verdict is Verdict.STOP:
            if pod and pod.ends is None:
                pod.ends = now + GRACE
        elif self.member.view.revision:
            entry = self.member.view.slots[slot[0]][slot[1]]
            if pod is None:
                self.pods[slot] = Pod(entry.value.digest, now)
            elif pod.digest != entry.value.digest and pod.ends is None:
                pod.ends = now + GRACE

    def _reports(self, view: View) -> Iterator[tuple[str, Report]]:
        now = self.world.now
        for slot, pod in self.pods.items():
            ready = pod.ready(now)
            if ready:
                self.ready_since.setdefault(slot, now)
            else:
                self.ready_since.pop(slot, None)
            entry = view.slots.get(slot[0], {}).get(slot[1])
            well = available(self.ready_since.get(slot), now)
            why = ""
            if entry and entry.value.host == self.name and entry.value.digest == pod.digest:
                crashing = "it ends again and again" if self._crashes(pod) else ""
                why = stuck(entry.value, is_available=well, crashing=crashing, now=now)
            report = Report("Running", ready, pod.digest, slot[1], available=well, stuck=why)
            yield instance_id(*slot), report

    def _crashes(self, pod: Pod) -> bool:
        return pod.digest.startswith("crash") and self.world.now > pod.started + READY_AFTER


class World:
    """Hosts, one etcd, and a clock."""

    def __init__(self, seed: int, hosts: int, *, labels: Sequence[dict[str, str]] = ()) -> None:
        self.random = dice(seed)
        self.etcd = EtcdModel(now=1000.0)
        self.late: list[Callable[[], Any]] = []
        self.purposely_down: set[SlotId] = set()
        self.hosts = []
        for number in range(hosts):
            given = labels[number] if labels else {}
            self.hosts.append(SimHost(self, f"host-{number}", given, Link(self)))

    @property
    def now(self) -> float:
        return self.etcd.now

    @contextmanager
    def running(self) -> Iterator[None]:
        """Members made in here are on this world's clock and links."""
        links = {host.name: host.link for host in self.hosts}
        with patch.multiple(
            member_module,
            Client=lambda access, **_: links[access.endpoints[0]],
            Worker=Jobs,
            Follower=Heard,
            boottime=lambda: self.now,
            write_atomic=_save,
            _RANDOM=self.random,
        ):
            yield

    def put(self, each: Manifest) -> None:
        self.etcd.put(manifest_key(each.name), text(each))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let things happen; whether `until` came true."""
        end = self.now + seconds
        while self.now < end:
            self._fences()
            self.check()
            if until():
                return True
            choices = [each for host in self.hosts for each in host.choices()]
            if not choices:
                self._pass(self._next_time(end))
                continue
            self.random.choice(choices)()
            if self.random.random() < 0.3:
                self._pass(self.now + self.random.uniform(0, _LAG))
        return until()

    def _next_time(self, end: float) -> float:
        times = [host.wake for host in self.hosts if host.member]
        times += [host.restart for host in self.hosts if host.restart is not None]
        times += [host.slow_until for host in self.hosts]
        times += [*self.etcd.ends.values(), end]
        return min(time for time in times if time > self.now)

    def _pass(self, then: float) -> None:
        """To a moment, with all fences on the way in their time."""
        while True:
            fences = [at for host in self.hosts if (at := host.fenced_at) and at > self.now]
            soon = min([then, *fences])
            self.etcd.move(soon)
            self._fences()
            for host in self.hosts:
                if host.restart is not None and host.restart <= self.now:
                    host.start()
                    host.turn()  # the first thing it does
            self.check()
            if soon >= then:
                return

    def _fences(self) -> None:
        for host in self.hosts:
            if host.member and host.pods and not host.member.may_run():
                host.turn()

    def transact(
        self, compare: list[Compare], then: list[Operation], otherwise: list[Operation]
    ) -> Outcome:
        before = view_of(self.etcd)
        outcome = self.etcd.transact(compare, then, otherwise)
        after = view_of(self.etcd)
        for name, workload in after.workloads.items():
            self._note(before, after, name, workload.manifest)
        return outcome

    def _note(self, before: View, after: View, name: str, wanted: Manifest | None) -> None:
        """Which replicas were up, and were taken down on purpose."""
        fallen = down(after, after.workloads[name])
        for slot in list(self.purposely_down):
            if slot[0] == name and slot[1] not in fallen:
                self.purposely_down.discard(slot)
        known = set(self.purposely_down)
        for number, entry in after.slots.get(name, {}).items():
            old = before.slots.get(name, {}).get(number)
            was_up = old and number not in down(before, before.workloads[name])
            if old is None or not was_up or old.value == entry.value or self._forced(entry.value):
                continue
            self.purposely_down.add((name, number))
        mine = {slot for slot in self.purposely_down if slot[0] == name}
        # What was allowed by a former manifest is not counted anew.
        if wanted is not None and mine - known:
            assert len(mine) <= wanted.max_unavailable, (mine, after.slots[name])

    def _forced(self, slot: SlotRecord) -> bool:
        return slot.leaving and any(each.forced for each in self.hosts if each.name == slot.host)

    def check(self) -> None:
        """No slot ever runs twice."""
        seen: dict[SlotId, str] = {}
        for host in self.hosts:
            for slot in host.pods:
                assert slot not in seen, f"{slot} runs on {seen[slot]} and on {host.name}"
                seen[slot] = host.name

    def up(self, name: str) -> int:
        """How many replicas are ready, as a client would see it."""
        return sum(
            pod.ready(self.now)
            for host in self.hosts
            for slot, pod in host.pods.items()
            if slot[0] == name
        )

    def spread(self, name: str) -> list[int]:
        """How many replicas each host has."""
        return [sum(slot[0] == name for slot in host.pods) for host in self.hosts]

    def digests(self, name: str) -> list[str]:
        """What the replicas run, by their slots."""
        found = [
            (slot[1], pod.digest)
            for host in self.hosts
            for slot, pod in host.pods.items()
            if slot[0] == name
        ]
        return [digest for _, digest in sorted(found)]


def _save(path: object, data: bytes, mode: int) -> None:
    assert mode == 0o600
    cast("Saved", path).data = data
