"""The two loops: wait for the lock and reboot; give it back once the host is good. No I/O here."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from rebootlock.manager import Standing
from rebootlock.semaphore import Holder
from updater.errors import BedplateError
from updater.store import BusyError
from updater.strict import render_time

# locksmith begins with 5 s too, but goes up to 5 min: with many hosts the lock would lie idle.
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 60.0
_MOST_DOUBLINGS = 8
_SOON = 5.0
_SHOWN = 3  # holders


class Waiting(Protocol):
    """What a host that waits can do."""

    def hindrance(self) -> str:
        """Why the host is not to reboot by the lock now; nothing if it is."""

    def take(self) -> tuple[bool, Standing]:
        """Ask for the lock: is it ours, and how does it stand? Raises BedplateError, OSError."""

    def reboot(self) -> str:
        """Ask for the reboot, unless there is a hindrance by now, which is the result.

        Raises BusyError while an updater is at work, ProgramError if nobody takes the task.
        """

    def tell(self, text: str, *, held: bool) -> None:
        """Say what is going on."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Giving(Protocol):
    """What a host that gives the lock back can do."""

    def is_on_trial(self) -> bool:
        """Whether the running release is still to prove itself."""

    def give_back(self) -> None:
        """Give the lock back, if it is held. Raises BedplateError, OSError."""

    def tell(self, text: str, *, held: bool) -> None:
        """Say what is going on."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


def pause(tries: int, chance: float) -> float:
    """Seconds until the next try after so many; `chance` from 0 to 1 parts hosts. Pure."""
    longest = min(_FIRST_PAUSE * 2.0 ** min(tries, _MOST_DOUBLINGS), _LONGEST_PAUSE)
    return longest * (0.5 + 0.5 * chance)


def take_and_reboot(host: Waiting, chance: Callable[[], float]) -> str:
    """Wait for the lock for as long as it takes, then ask for the reboot.

    Returns:
        Nothing, with the reboot on its way and the lock held; or why the host is not to reboot
        any more, with the lock held perhaps.
    """
    tries = 0
    while not (hindrance := host.hindrance()):
        try:
            held, standing = host.take()
            if held:
                return _reboot(host)
            text = waits_for(standing)
        except (BedplateError, OSError) as error:
            text = f"waiting for the reboot lock: {reason(error)}"
        host.tell(text, held=False)
        host.sleep(pause(tries, chance()))
        tries += 1
    return hindrance


def _reboot(host: Waiting) -> str:
    while True:
        try:
            hindrance = host.reboot()
        except BusyError:
            # A newer release is being staged, or a person is at work: what they want comes first.
            host.tell("has the reboot lock, and waits for the updater", held=True)
        except (BedplateError, OSError) as error:
            text = f"has the reboot lock, but cannot reboot: {reason(error)}"
            host.tell(text, held=True)
        else:
            if not hindrance:
                host.tell(
                    "has the reboot lock: draining the pods, then rebooting into the staged"
                    " release",
                    held=True,
                )
            return hindrance
        host.sleep(_SOON)


def give_back(host: Giving, chance: Callable[[], float], more_time: Callable[[], bool]) -> bool:
    """Give the lock back once the running release is good, however long etcd is away.

    Args:
        host: ours.
        chance: a number from 0 to 1 at random.
        more_time: whether to go on trying.

    Returns:
        Whether the lock is not held any more.
    """
    tries = 0
    while True:
        if host.is_on_trial():
            host.tell("has the reboot lock until this release is good", held=True)
            host.sleep(_SOON)
        else:
            try:
                host.give_back()
            except (BedplateError, OSError) as error:
                host.tell(f"has to give the reboot lock back: {reason(error)}", held=True)
                host.sleep(pause(tries, chance()))
                tries += 1
            else:
                host.tell("", held=False)
                return True
        if not more_time():
            return False


# --- Words ----------------------------------------------------------------------------------------


def reason(error: Exception) -> str:
    """What an error says; the system's own words with the file that they are about."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return str(error)


def since(holder: Holder) -> str:
    """A holder, and since when it is one, for people."""
    if holder.since is None:
        return holder.name
    return f"{holder.name} since {render_time(datetime.fromtimestamp(holder.since, UTC))}"


def waits_for(standing: Standing) -> str:
    """What a host waits for that did not get the lock."""
    text, most = "waiting for the reboot lock", standing.semaphore.max
    if most == 0:
        return f"{text}, which nobody is to have: its maximum is 0"
    shown = [since(each) for each in standing.holders[:_SHOWN]]
    if (more := len(standing.holders) - _SHOWN) > 0:
        shown.append(f"{more} more")
    verb = "holds" if len(standing.holders) == 1 else "hold"
    return f"{text}: {', '.join(shown)} {verb} it, and {most} may"
