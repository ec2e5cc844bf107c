"""Something that is done anew whenever what it is made from is another."""

import math
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from hostkit.following import Post
from hostkit.timing import boottime
from hostkit.worker import Worker

LOOK_SECONDS = 30.0  # what changed without a word is seen by then: the kernel's table, networks
_FIRST_RETRY = 1.0  # seconds
_MOST_DOUBLINGS = 16
T = TypeVar("T")
F = TypeVar("F")


class Task(Generic[T, F]):
    """Done on a worker: at once after a change, later after a failure, and now and then.

    What changes while it is under way is made up for in one go afterwards.
    """

    def __init__(self, name: str, post: Post, told: Callable[[F, int], bool]) -> None:
        """`told` gets what came of it, and how often it failed before; whether it went well."""
        self._worker = Worker(name, post)
        self._told = told
        self._last: T | None = None
        self._failures = 0
        self._again = math.inf

    def close(self) -> None:
        """End after what is under way, and tell nobody."""
        self._worker.close()

    def next_time(self) -> float:
        """When it is to be done again though nothing changes, by `boottime`."""
        return math.inf if self._worker.busy else self._again

    def follow(self, given: T, work: Callable[[T, bool], F]) -> None:
        """Have `work` done if it is time: with `given`, and whether that is the same as before."""
        same = given == self._last
        if self._worker.busy or (same and boottime() < self._again):
            return
        self._last = given
        self._worker.do(partial(work, given, same), self._done)

    def _done(self, found: F) -> None:
        well = self._told(found, self._failures)
        self._failures = 0 if well else self._failures + 1
        self._again = boottime() + pause(self._failures)


def pause(failures: int) -> float:
    """Seconds until it is done again, after so many failures in a row."""
    if not failures:
        return LOOK_SECONDS
    return min(_FIRST_RETRY * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), LOOK_SECONDS)
