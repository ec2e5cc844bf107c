"""Simulated hosts on one etcd: each tends its lease as the agent does, and may be struck.

Time is the simulation's own. A call to etcd may fail before it is done, after it is done, or be
done later; while one is on its way other hosts may act, and hosts may crash, sleep and boot.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address
from random import Random
from typing import ClassVar, TypeVar

from etcd_model import EtcdModel
from hostkit.etcd import Compare, Granted, KeyValue, Operation, Outcome, Snapshot, Unavailable
from hostkit.timing import Timing
from overlay import holding as life
from overlay.holding import Holding, Step, Task
from overlay.lease import Lease, Subnets, Terms
from overlay.manager import Configuration, Manager
from overlay.network import parse
from overlay.tend import tend
from updater.errors import BedplateError

T = TypeVar("T")
_LAG = 0.1  # seconds an agent takes from one step to the next
PREFIX = "/coreos.com/network"


def dice(seed: int) -> Random:
    """A source of chance that a test can have again."""
    return Random(seed)  # noqa: S311 - no secret


class Strike(Enum):
    """What happens to a host's next write to etcd."""

    NONE = "none"
    UNSENT = "it never arrives"
    UNANSWERED = "it is done, and the answer is lost"
    LATE = "it is done, but only later, when the host has given up"


@dataclass
class Link:
    """A host's way to etcd; a `Store` for its manager."""

    etcd: EtcdModel
    pass_time: Callable[[float], None]
    up: bool = True
    strike: Strike = Strike.NONE
    delay: float = 0.0
    late: list[Callable[[], object]] = field(default_factory=list)
    meanwhile: list[Callable[[], None]] = field(default_factory=list)

    def _read(self, work: Callable[[], T]) -> T:
        if not self.up:
            raise Unavailable("cut off")
        self.pass_time(self.delay)
        return work()

    def _write(self, work: Callable[[], T]) -> T:
        if not self.up:
            raise Unavailable("cut off")
        self.pass_time(self.delay)
        strike, self.strike = self.strike, Strike.NONE
        while self.meanwhile:
            self.meanwhile.pop()()
        if strike is Strike.UNSENT:
            raise Unavailable("unsent")
        if strike is Strike.LATE:
            self.late.append(work)
            raise Unavailable("silent", applied=True)
        result = work()
        self.pass_time(self.delay)
        if strike is Strike.UNANSWERED:
            raise Unavailable("unanswered", applied=True)
        return result

    def get(self, key: str) -> KeyValue | None:
        return self._read(lambda: self.etcd.get(key))

    def list(self, prefix: str) -> Snapshot:
        return self._read(lambda: self.etcd.list(prefix))

    def transact(
        self,
        compare: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
    ) -> Outcome:
        return self._write(lambda: self.etcd.transact(compare, then, otherwise))

    def grant(self, seconds: int) -> Granted:
        return self._write(lambda: self.etcd.grant(seconds))

    def keep_alive(self, lease: int) -> int:
        return self._write(lambda: self.etcd.keep_alive(lease))

    def revoke(self, lease: int) -> None:
        self._write(lambda: self.etcd.revoke(lease))


@dataclass
class Host:
    """A host: `forwarding` is what its kernel does, `saved` what is below /run."""

    number: int
    link: Link
    timing: Timing
    true_time: Callable[[], float]
    random: Random
    address: int = 0
    holding: Holding | None = field(default_factory=Holding)
    saved: bytes = b"{}"
    forwarding: Lease | None = None
    asleep: bool = False
    busy: bool = False
    exhausted: bool = False
    wake: float = 0.0  # by true time
    known: Configuration | None = None
    slept: float = 0.0
    since: float = 0.0
    sleeps: ClassVar = False  # whether the clock does, with the host

    def clock(self) -> float:
        """The host's boottime."""
        return self.true_time() - self.slept

    def fall_asleep(self) -> None:
        """The whole host is suspended."""
        self.asleep = True
        self.since = self.true_time()

    def wake_up(self) -> None:
        """The first that a woken agent does is to look at the clock."""
        if self.asleep:
            self.asleep = False
            self.slept += self.true_time() - self.since if self.sleeps else 0.0
            self.step()

    @property
    def terms(self) -> Terms:
        return Terms(IPv4Address(0x0A000000 + (self.number << 8) + self.address), backend="vxlan")

    @property
    def running(self) -> bool:
        return self.holding is not None and not self.asleep and not self.busy

    def manager(self) -> Manager:
        return Manager(self.link, PREFIX, self.timing.ttl, random=self.random, now=self.clock)

    def step(self) -> None:
        """What the agent does when its time has come."""
        if not self.running or self.holding is None:
            return
        self.busy = True
        try:
            after = self._after(self.holding, life.next_step(self.holding, self.clock()))
        finally:
            self.busy = False
        if self.holding is None:
            return  # it crashed meanwhile
        self.holding = after
        self._program()
        after_that = life.next_step(after, self.clock()).at - self.clock()
        self.wake = self.true_time() + max(after_that, _LAG)

    def hurry(self) -> None:
        """Something told the agent to ask etcd now."""
        if self.running and self.holding:
            self.holding = life.hurry(self.holding, self.clock())
            self.step()

    def fence_if_due(self) -> None:
        """Stop traffic in time, whoever else is busy just now."""
        if (
            self.running
            and life.next_step(self.holding or Holding(), self.clock()).task is Task.FENCE
        ):
            self.step()

    def _after(self, before: Holding, step: Step) -> Holding:
        if step.task is Task.FENCE:
            self.forwarding = None
            return life.fenced(before, self.clock())
        if step.task is Task.WAIT:
            return before
        configuration = self._configuration()
        if configuration is None:
            return life.failed(
                self.timing, before, "no configuration", self.clock(), self.random.random()
            )
        after = tend(
            self.manager(),
            self.timing,
            before,
            step.task,
            configuration=configuration,
            terms=self.terms,
            random=self.random,
        )
        self.exhausted = bool(after.problem and "holds" in after.problem)
        return after

    def _configuration(self) -> Configuration | None:
        try:
            item = self.link.get(f"{PREFIX}/config")
        except BedplateError:
            return None
        if item and (self.known is None or self.known.revision != item.mod_revision):
            self.known = Configuration(parse(item.value), item.mod_revision)
        return self.known

    def _program(self) -> None:
        assert self.holding is not None
        self.saved = life.save(self.holding)
        if self.holding.may_forward(self.clock()):
            self.forwarding = self.holding.lease
        elif self.holding.lease is None:
            self.forwarding = None

    def crash(self) -> None:
        """The agent dies; the kernel goes on."""
        self.holding = None

    def start(self) -> None:
        """The agent is started again."""
        if self.holding is None:
            self.holding = life.restore(self.saved, self.clock())
            self.wake = self.true_time()

    def boot(self, *, remembers: Subnets | None) -> None:
        """Memory, devices and /run are gone; `remembers`: what a kept subnet.env has."""
        self.forwarding = None
        self.saved = b"{}"
        self.asleep = False
        self.holding = Holding(due=self.clock(), previous=remembers)
        self.wake = self.true_time()
