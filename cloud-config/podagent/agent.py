"""The agent: one thread that decides, and others that wait for podman, for probes and for etcd.

Each turn looks at what is declared and at what podman has, plans, and lets the plan be done. It
ends in no other state than what it finds at its next start: pods outlive it.
"""

import logging
import math
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from hostkit.following import Post
from hostkit.pool import Pool
from hostkit.timing import boottime
from hostkit.worker import Worker
from podagent import drain
from podagent.actions import Action, Kill, describe
from podagent.asking import Question, answered
from podagent.before import keep
from podagent.cluster.part import Intent, Part
from podagent.cluster.replicas import Declared, Here, without_cluster
from podagent.cluster.reporting import leaving
from podagent.doing import Doing
from podagent.drain import Stage
from podagent.events import Events
from podagent.folder import Folder, Own
from podagent.images import Limits
from podagent.lifecycle import Standing
from podagent.memory import Memory, applied, looked
from podagent.phase import report
from podagent.places import Places
from podagent.plan import Plan, Under, make_plan
from podagent.podman import Podman
from podagent.prober import Prober
from podagent.report import ClusterStatus, Status, publish
from updater import notify
from updater.errors import BedplateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from podagent.observed import Observed
    from podagent.probe import Outcome
    from podagent.types import Instance

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 30.0  # a whole look mends what no event tells of
_SOONEST_LOOK = 0.2  # after the last one: podman tells much at once
_FOLDER_SECONDS = 2.0
_RETRY_SECONDS = 5.0
_LIMITS = Limits()


class Join(Protocol):
    """Makes this host's part in its cluster."""

    def __call__(self, *, post: Post) -> Part:
        """Join; see `Part`."""


class Agent:
    """See the module; `stop` may be called by a signal's handler."""

    def __init__(
        self, places: Places, podman: Podman, events: Events, join: Join | None = None
    ) -> None:
        """`join` is given where this host is in a cluster."""
        self._places = places
        self._podman = podman
        self._events = events
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping = False
        self._folder = Folder(places.manifests)
        self._doing = Doing(podman.apply, self._queue.put, self._done, self._look_soon)
        self._prober = Prober(
            podman.container_id, places.runtime, self._queue.put, self._was_answered
        )
        self._looking = Worker("look", self._queue.put)
        self._part = join(post=self._queue.put) if join else None
        self._memory = Memory()
        self._own = Own()
        self._declared = Declared()
        self._stage: Stage | None = None
        self._desired: tuple[Instance, ...] = ()
        self._observed: Observed | None = None
        self._plan = Plan((), (), None)
        self._wanted = True  # a plan
        self._news = False  # podman was looked at since the last plan
        self._outdated = True  # something happened since the last look began
        self._look_at = 0.0  # by `boottime`, like all that is waited for
        self._looked = -math.inf
        self._plan_at = math.inf
        self._fault = ""
        self._status: Status | None = None

    def stop(self) -> None:
        """End soon, and leave the pods as they are."""
        self._queue.put(self._stop)

    def run(self) -> int:
        """Work until `stop`; the exit status."""
        self._places.runtime.mkdir(parents=True, exist_ok=True)
        Pool("events", 1, self._queue.put).do(self._hear)
        while not self._stopping:
            self._turn()
            self._listen()
        notify.send("STOPPING=1")
        if self._part is not None:
            self._part.close(drained=self._stage is Stage.DONE)
        return 0

    def _stop(self) -> None:
        self._stopping = True

    # --- Waiting ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Take all that was told; wait for the first of it until something is due."""
        now = boottime()
        due = [self._plan_at, self._prober.due, now + _FOLDER_SECONDS]
        due += [] if self._looking.busy else [self._look_at]
        due += [self._part.next_time()] if self._part is not None else []
        try:
            self._queue.get(timeout=max(0.0, min(due) - now))()
            while not self._stopping:
                self._queue.get_nowait()()
        except Empty:
            return

    def _hear(self) -> None:
        """On a thread of its own: pass on that podman did something."""
        while True:
            happened = self._events.read()
            if happened.events or happened.missed:
                self._queue.put(self._look_soon)
            self._events.wait()

    def _look_soon(self) -> None:
        self._outdated = True
        self._look_at = min(self._look_at, self._looked + _SOONEST_LOOK)

    # --- A turn -----------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._own, news = self._folder.look()
        here = None if self._observed is None else self._here(self._observed)
        if self._part is not None:
            self._part.tend(here)
        if here is not None:
            self._declare(here)
        self._set_desired(news=news)
        if boottime() >= self._plan_at:
            self._wanted, self._plan_at = True, math.inf
        if not self._looking.busy:
            # What was done since the last look would be done again by a plan without another one.
            if self._news or (self._wanted and not self._outdated):
                self._make_plan()
            if boottime() >= self._look_at or (self._wanted and self._outdated):
                self._look()
        if self._observed is not None:
            self._prober.ask(self._memory, self._observed)
        self._report()

    def _here(self, observed: "Observed") -> Here:
        own = (each.id for each in self._own.instances)
        return Here.of(observed.pods, self._doing.playing, own)

    def _declare(self, here: Here) -> None:
        """Hear the cluster; what may not run is killed before podman is asked anything."""
        before = self._declared
        declared = self._part.declare(here) if self._part is not None else without_cluster(here)
        if declared != before:
            self._wanted, self._declared = True, declared
            self._doing.begin(Kill(pod) for pod in sorted(declared.fenced - before.fenced))
        request = drain.requested(self._places)
        replicas = bool(here.slots) if self._part is None else self._part.has_slots(here)
        runs = bool(self._doing.playing) or any(pod.running for pod in here.pods)
        self._stage = drain.stage(request, replicas=replicas, pods=runs, now=boottime())

    def _set_desired(self, *, news: bool) -> None:
        if self._stage in {Stage.STOPPING, Stage.DONE}:
            # What has done its work would do it again if it were taken away.
            desired = tuple(each for each in self._own.instances if self._has_ended(each))
        else:
            desired = (*self._own.instances, *self._declared.instances)
        if news or desired != self._desired:
            self._wanted, self._desired = True, desired

    def _has_ended(self, instance: "Instance") -> bool:
        pods = () if self._observed is None else self._observed.pods
        pod = next((each for each in pods if each.id == instance.id), None)
        standing = None if pod is None else Standing.of(instance, pod, self._memory)
        return standing is not None and standing.outcome() is not None

    def _look(self) -> None:
        self._outdated, self._look_at = False, math.inf
        self._doing.looks()
        begun = boottime()
        self._looking.do(self._observe, lambda found: self._saw(found, begun))

    def _observe(self) -> "Observed | BedplateError":
        """On a thread of its own: podman may be slow, and the lease does not wait."""
        try:
            return self._podman.observe()
        except BedplateError as error:
            return error

    def _saw(self, found: "Observed | BedplateError", begun: float) -> None:
        self._news, self._looked = True, boottime()
        self._look_at = begun + _LOOK_SECONDS
        if isinstance(found, BedplateError):
            if str(found) != self._fault:
                _LOG.warning("%s", found)
            self._fault = str(found)
            self._look_at = begun + _RETRY_SECONDS
        else:
            self._doing.looked()
            self._observed, self._fault = found, ""
        if self._outdated:
            self._look_soon()

    def _make_plan(self) -> None:
        """Plan on the last look, and begin; nothing is planned without one."""
        self._wanted, self._news, self._plan_at = False, False, math.inf
        if self._observed is None:
            return
        if self._fault:
            self._doing.begin(Kill(pod) for pod in sorted(self._declared.fenced))
            return
        now, clock = time.time(), boottime()
        desired = self._desired
        self._memory = looked(self._memory, desired, self._observed, now, clock)
        kept = frozenset[str]() if self._stage is Stage.STOPPING else self._declared.kept
        under = Under(
            limits=_LIMITS,
            fenced=self._declared.fenced,
            busy=self._doing.busy | kept,
            pulling=self._doing.pulling,
        )
        self._plan = make_plan(desired, self._observed, self._memory, now, under)
        for action in self._plan.actions:
            _LOG.info("%s", describe(action))
        self._doing.begin(self._plan.actions)
        if self._plan.look_at is not None:
            self._plan_at = clock + max(0.0, self._plan.look_at - now)

    def _done(self, action: Action, error: str) -> None:
        """An action was tried."""
        if error:
            _LOG.warning("%s: %s", describe(action), error)
        self._memory = applied(self._memory, action, time.time(), error)

    def _was_answered(self, question: Question, outcome: "Outcome") -> None:
        before, clock = self._memory, boottime()
        self._memory = answered(before, question, well=outcome.well, why=outcome.why, clock=clock)
        key = (question.pod, question.container.name)
        was, now = before.health.get(key), self._memory.health.get(key)
        if was and now and (was.failure, was.started) != (now.failure, now.started):
            self._wanted = True

    # --- Telling ----------------------------------------------------------------------------------

    def _report(self) -> None:
        """Tell how it is, from the first look on, whatever podman said to that."""
        if self._looked == -math.inf:
            return
        pods = {} if self._observed is None else {each.id: each for each in self._observed.pods}
        status = Status(
            tuple(
                report(each, pods.get(each.id), self._memory, self._plan.waiting)
                for each in self._desired
            ),
            {**self._own.refused, **self._declared.refused},
            self._fault,
            self._stage or "",
            self._in_cluster(),
        )
        self._tell_cluster(status)
        if status != self._status:
            publish(status, self._places)
            if self._observed is not None and not status.draining:
                self._remember(status, self._observed)
            if self._status is None:
                notify.send("READY=1")
            self._status = status
        notify.send("WATCHDOG=1")

    def _remember(self, status: Status, observed: "Observed") -> None:
        """Keep what runs for the boot after the next update."""
        declared = {each.id for each in status.pods}
        left = any(each.id not in declared for each in observed.pods)
        keep(self._places, status, left=left)

    def _in_cluster(self) -> ClusterStatus | None:
        if self._part is None:
            return None
        return ClusterStatus(self._part.member.may_run(), dict(self._part.faults))

    def _tell_cluster(self, status: Status) -> None:
        if self._part is None or self._observed is None:
            return
        here = self._here(self._observed)
        wanted = {each.id: each.manifest.digest for each in self._desired}
        ending = leaving(here.pods, wanted, self._doing.busy)
        obstacles = [f"podman cannot be asked: {self._fault}"] if self._fault else []
        if self._observed.disk.free_share < _LIMITS.new_pods:
            obstacles.append(f"less than {_LIMITS.new_pods:.0%} of /var is free")
        intent = Intent(self._stage, tuple(obstacles), status.refused)
        self._part.tell(here, status.pods, ending, intent)
