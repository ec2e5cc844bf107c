"""A bound in time and memory for work whose cost a client chooses."""

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from updater.errors import BedplateError

_AGAIN = 0.5  # seconds


class BoundError(BedplateError):
    """The work would have cost more than it may."""


@contextmanager
def bounded(seconds: float, memory: int, what: str) -> Iterator[None]:
    """End what is done here after `seconds`, or when the process has `memory` bytes of its own.

    RLIMIT_DATA counts private memory however it was had (getrlimit(2)). Only a process's first
    thread can be interrupted, which is the one that acts run on.

    Raises:
        BoundError: it cost too much; `what` names it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    within = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    timed = threading.current_thread() is threading.main_thread()

    def late(_number: int, _frame: FrameType | None) -> None:
        raise BoundError(f"{what}: not done within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late) if timed else None
    resource.setrlimit(resource.RLIMIT_DATA, (within, hard))
    try:
        if timed:
            # Again and again: what is ended may go on from an error that it knows to bear.
            signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        yield
    except MemoryError:
        raise BoundError(f"{what}: needs more than {memory >> 20} MiB of memory") from None
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
