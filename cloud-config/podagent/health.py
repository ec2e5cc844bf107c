"""Whether an update left this host's pods as they were."""

import sys
from collections.abc import Callable

from podagent import before, reading
from podagent.before import Ran
from podagent.places import Places
from updater.errors import BedplateError
from updater.store import Store

_LOOK_SECONDS = 1.0
# A container that falls at once runs again after each restart, for a moment.
STEADY_SECONDS = 10.0


def is_on_trial(places: Places) -> bool:
    """Whether the release that runs is one that was not called good yet."""
    state = places.root / "var/lib/bedplate"
    pending = Store(state, places.root / "run/bedplate").load().pending
    return pending is not None and str(pending.version) == before.running_version(places)


def missing(places: Places, ran: Ran) -> tuple[str, ...]:
    """What is not as it was before the update, for people; nothing when all is."""
    try:
        found = before.lost(ran, reading.status(places))
    except (BedplateError, OSError) as error:
        return (str(error),)
    if found:
        return found
    state = reading.agent_state()
    return () if state == "active" else (f"{reading.AGENT} is {state}",)


def wait(
    look: Callable[[], tuple[str, ...]],
    seconds: float,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> bool:
    """Whether nothing is missing any more, and stays so for `STEADY_SECONDS`, in time.

    What is missing is told on stderr whenever it changes.

    Args:
        look: what is missing now.
        seconds: how long to wait.
        clock: any that counts seconds.
        sleep: waits for so many seconds.
    """
    deadline = clock() + seconds
    told: tuple[str, ...] = ()
    since: float | None = None
    while True:
        lacks, now = look(), clock()
        if lacks != told:
            told = lacks
            sys.stderr.write("".join(f"{each}\n" for each in lacks or ("nothing is missing",)))
        if lacks:
            since = None
        elif since is None:
            since = now
        if since is not None and now - since >= STEADY_SECONDS:
            return True
        if now >= deadline:
            return False
        sleep(_LOOK_SECONDS)
