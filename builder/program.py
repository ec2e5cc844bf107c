"""How a program of the workstation ends, however it is told to."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from updater.errors import run_main


def run_program(work: Callable[[], int], interrupted: str) -> int:
    """Run a program, and give its exit status: 0, 1 and 2 as `run_main` has it, 130 interrupted.

    Ctrl-C, SIGTERM and SIGHUP are alike: one line, and what was half-done is gone.
    """
    with _ended_alike():
        return run_main(work, interrupted)


@contextmanager
def _ended_alike() -> Iterator[None]:
    # What is ignored, by nohup(1), say, stays so.
    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
