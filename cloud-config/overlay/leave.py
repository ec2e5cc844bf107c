"""Giving the network its subnet back, by a host that is about to lose all that it knows.

The agent does it, as when a document asks for no overlay any more: it stops the traffic, and only
then ends the lease. So its settings are taken away, until the next boot brings them anew.
"""

import time
from collections.abc import Callable

from overlay.places import Places
from updater import programs
from updater.errors import BedplateError

AGENT = "bedplate-overlay.service"
_DOWN = ("inactive", "failed")
_LOOK_SECONDS = 0.5


class LeaveError(BedplateError):
    """The subnet was not given back; its lease ends by itself."""


def leave(
    places: Places,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Have the agent leave, and wait until it has; what was done, in a line.

    Args:
        places: the host.
        seconds: how long that may take; the agent looks every ten seconds.
        clock: for tests.
        sleep: likewise.

    Raises:
        LeaveError: the agent does not run, or did not leave in time.
        OSError: the settings cannot be removed.
    """
    if not places.settings.exists():
        return "this host has no overlay"
    if _state() in _DOWN:
        raise LeaveError(f"{AGENT} does not run: the lease ends by itself")
    places.settings.unlink()
    ends = clock() + seconds
    while _state() not in _DOWN:
        if clock() >= ends:
            raise LeaveError(
                f"{AGENT} did not leave within {seconds:.0f} s: the lease ends by itself"
            )
        sleep(_LOOK_SECONDS)
    return "the subnet is given back"


def _state() -> str:
    try:
        return programs.show_unit(AGENT, ("ActiveState",)).get("ActiveState", "unknown")
    except programs.ProgramError:
        return "unknown"
