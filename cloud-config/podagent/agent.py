"""The agent: one thread that decides, and others that wait for podman and for probes.

Each turn looks at what is declared and at what podman has, plans, and lets the plan be done. It
ends in no other state than what it finds at its next start: pods outlive it.
"""

import logging
import math
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from hostkit.pool import Pool
from hostkit.timing import boottime
from podagent.actions import Action, describe
from podagent.asking import Question, answered, questions
from podagent.doing import Doing
from podagent.events import Events
from podagent.folder import Folder, Own
from podagent.memory import Memory, applied, looked
from podagent.phase import report
from podagent.places import Places
from podagent.plan import Plan, Under, make_plan
from podagent.podman import Podman
from podagent.probe import Outcome, Target, ask
from podagent.report import Status, publish
from updater import notify
from updater.errors import BedplateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from podagent.observed import Observed
    from podagent.probing import ProbeKind

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 30.0  # a whole look mends what no event tells of
_SOONEST_LOOK = 0.2  # after the last one: podman tells much at once
_FOLDER_SECONDS = 2.0
_RETRY_SECONDS = 5.0
_PROBES = 8  # at once
_HOST = "127.0.0.1"  # whom a pod in the host's network is asked by


class Agent:
    """See the module; `stop` may be called by a signal's handler."""

    def __init__(self, places: Places, podman: Podman, events: Events) -> None:
        self._places = places
        self._podman = podman
        self._events = events
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping = False
        self._folder = Folder(places.manifests)
        self._doing = Doing(podman.apply, self._queue.put, self._done, self._look_soon)
        self._probes = Pool("probe", _PROBES, self._queue.put)
        self._asked: set[tuple[str, str, ProbeKind]] = set()
        self._memory = Memory()
        self._own = Own()
        self._observed: Observed | None = None
        self._plan = Plan((), (), None)
        self._look_at = 0.0  # by `boottime`, like all that is waited for
        self._looked = -math.inf
        self._outdated = True  # something happened since the last look
        self._plan_at = 0.0
        self._probe_at = math.inf
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
        return 0

    def _stop(self) -> None:
        self._stopping = True

    # --- Waiting ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Take all that was told; wait for the first of it until something is due."""
        now = boottime()
        due = min(self._look_at, self._plan_at, self._probe_at, now + _FOLDER_SECONDS)
        try:
            self._queue.get(timeout=max(0.0, due - now))()
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
        wanted = news or boottime() >= self._plan_at
        # What was done since the last look would be done again by a plan without another one.
        if boottime() >= self._look_at or (wanted and self._outdated):
            self._look()
            wanted = True
        if wanted:
            self._make_plan()
        self._ask_probes()
        self._report()

    def _look(self) -> None:
        begun, self._outdated = boottime(), False
        try:
            self._observed = self._podman.observe()
            self._fault = ""
        except BedplateError as error:
            if str(error) != self._fault:
                _LOG.warning("%s", error)
            self._fault = str(error)
        self._looked = boottime()
        pause = _RETRY_SECONDS if self._fault else _LOOK_SECONDS
        self._look_at = begun + pause

    def _make_plan(self) -> None:
        """Plan on the last look, and begin; nothing is planned without one."""
        self._plan_at = math.inf
        if self._observed is None or self._fault:
            return
        now, clock = time.time(), boottime()
        desired = self._own.instances
        self._memory = looked(self._memory, desired, self._observed, now, clock)
        under = Under(busy=self._doing.busy, pulling=self._doing.pulling)
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

    # --- Probes -----------------------------------------------------------------------------------

    def _ask_probes(self) -> None:
        self._probe_at = math.inf
        if self._observed is None:
            return
        due, self._probe_at = questions(self._memory, self._observed, boottime(), self._asked)
        for question in due:
            self._asked.add(question.key)
            identity = self._podman.container_id(question.podman_name) or ""
            target = Target(next(iter(question.addresses), _HOST), identity)
            self._probes.do(partial(self._probe, question, target))

    def _probe(self, question: Question, target: Target) -> None:
        """On a thread of the pool."""
        probe, folder = question.probe, self._places.runtime
        outcome = ask(probe.action, target, time_out=probe.timeout, folder=folder)
        self._queue.put(partial(self._answered, question, outcome))

    def _answered(self, question: Question, outcome: Outcome) -> None:
        self._asked.discard(question.key)
        before, clock = self._memory, boottime()
        self._memory = answered(before, question, well=outcome.well, why=outcome.why, clock=clock)
        key = (question.pod, question.container.name)
        was, now = before.health.get(key), self._memory.health.get(key)
        if was and now and (was.failure, was.started) != (now.failure, now.started):
            self._plan_at = 0.0

    # --- Telling ----------------------------------------------------------------------------------

    def _report(self) -> None:
        pods = {} if self._observed is None else {each.id: each for each in self._observed.pods}
        status = Status(
            tuple(
                report(each, pods.get(each.id), self._memory, self._plan.waiting)
                for each in self._own.instances
            ),
            dict(self._own.refused),
            self._fault,
        )
        if status != self._status:
            publish(status, self._places)
            if self._status is None and self._observed is not None:
                notify.send("READY=1")
            self._status = status
        notify.send("WATCHDOG=1")
