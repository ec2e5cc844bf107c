"""Probes under way: each is asked on a thread of a pool, and its answer heard on the agent's."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hostkit.following import Post
from hostkit.pool import Pool
from hostkit.timing import boottime
from podagent.asking import Question, questions
from podagent.memory import Memory
from podagent.observed import Observed
from podagent.probe import Outcome, Target, ask

if TYPE_CHECKING:
    from podagent.probing import ProbeKind

_AT_ONCE = 8
_HOST = "127.0.0.1"  # whom a pod in the host's network is asked by


class Prober:
    """Asks what is due; `due` is when something is again, by `boottime`."""

    def __init__(
        self,
        container_id: Callable[[str], str | None],
        folder: Path,
        post: Post,
        told: Callable[[Question, Outcome], None],
    ) -> None:
        """`container_id` finds a container by podman's name; `told` gets each answer."""
        self._container_id = container_id
        self._folder = folder
        self._post = post
        self._told = told
        self._pool = Pool("probe", _AT_ONCE, post)
        self._asked: set[tuple[str, str, ProbeKind]] = set()
        self.due = math.inf

    def ask(self, memory: Memory, observed: Observed) -> None:
        """Ask all that is due and not asked yet; to be called each turn."""
        due, self.due = questions(memory, observed, boottime(), self._asked)
        for question in due:
            self._asked.add(question.key)
            identity = self._container_id(question.podman_name) or ""
            target = Target(next(iter(question.addresses), _HOST), identity)
            self._pool.do(partial(self._ask, question, target))

    def _ask(self, question: Question, target: Target) -> None:
        """On a thread of the pool."""
        probe = question.probe
        outcome = ask(probe.action, target, time_out=probe.timeout, folder=self._folder)
        self._post(partial(self._answered, question, outcome))

    def _answered(self, question: Question, outcome: Outcome) -> None:
        self._asked.discard(question.key)
        self._told(question, outcome)
