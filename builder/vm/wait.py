"""Waiting for a condition with a total deadline; nothing here sleeps for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

from updater.errors import BedplateError

_INTERVAL_SECONDS = 0.05

T = TypeVar("T")


class VmError(BedplateError):
    """A virtual machine did not do what was asked; the message names where to look."""


class WaitError(VmError):
    """A condition did not come true before its deadline."""


class Deadline:
    """A point in monotonic time by which something must have happened."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that remain, 0 when it has passed."""
        return max(0.0, self._end - time.monotonic())

    def __bool__(self) -> bool:
        """Whether there is time left."""
        return self.left > 0


def wait_until(
    condition: Callable[[], T | None],
    seconds: float,
    what: str,
    *,
    interval: float = _INTERVAL_SECONDS,
) -> T:
    """Ask `condition` again and again until its answer is not None, and return that.

    Raises:
        WaitError: `seconds` went by first; the message says `what` was awaited.
    """
    deadline = Deadline(seconds)
    while True:
        # Asked once more after the deadline, so that a slow machine gets a fair last look.
        last = not deadline
        answer = condition()
        if answer is not None:
            return answer
        if last:
            raise WaitError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(min(interval, deadline.left))
