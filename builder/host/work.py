"""What a verb works with."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

from builder.host.client import Client
from builder.report import Reporter


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic seconds, and waiting; tests bring their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Work:
    """One verb on one host; `several` says whether it is one of many."""

    client: Client
    options: argparse.Namespace
    reporter: Reporter
    clock: Clock = Clock()
    several: bool = False

    @property
    def name(self) -> str:
        """What the host is called."""
        return self.client.target.name
