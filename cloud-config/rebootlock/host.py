"""This host's hands: etcd, the updater's state, the service manager."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hostkit.etcd import Client, Limits
from rebootlock.manager import Manager, Standing
from rebootlock.places import Places
from rebootlock.semaphore import Holder
from rebootlock.settings import Settings, load
from rebootlock.telling import Telling
from updater import config, decide, host, programs
from updater.config import Strategy
from updater.context import Context
from updater.files import sync_directory, write_atomic
from updater.host import Paths
from updater.state import Phase
from updater.store import locked

_LOG = logging.getLogger(__name__)
WAITING_UNIT = "bedplate-reboot-locked.service"
GIVING_UNIT = "bedplate-lock-release.service"


@contextmanager
def manager(settings: Settings, limits: Limits | None = None) -> Iterator[Manager]:
    """The lock of this host's group."""
    with closing(Client(settings.access, limits=limits or Limits())) as client:
        yield Manager(client, settings.group)


def bounded(settings: Settings, seconds: float) -> Limits:
    """What gives the lock back within some seconds: two calls, each to any of the endpoints."""
    share = max(1.0, seconds / (2 * len(settings.access.endpoints)))
    usual = Limits()
    return Limits(
        connect_seconds=min(usual.connect_seconds, share),
        call_seconds=min(usual.call_seconds, share),
    )


class Host:
    """A host that takes the lock or gives it back; see the protocols of `waiting`."""

    def __init__(self, places: Places, telling: Telling) -> None:
        self._places = places
        self._context = Context(Paths(places.root), host.observe(Paths(places.root)))
        self._telling = telling
        # For who is in a hurry; None is no hurry.
        self.time_left: Callable[[], float] | None = None

    @property
    def id(self) -> str:
        """By what the host holds the lock: its machine id, as with locksmith."""
        return self._context.running.machine_id

    def hindrance(self) -> str:
        """Why the host is not to reboot by the lock now; nothing if it is.

        The updater starts the wait again when that has passed, so none of this is waited for.
        """
        known = self._context.store.load()
        if known.phase is not Phase.STAGED:
            return "no release is staged"
        try:
            settings = config.load(self._context.paths.configurations)
        except config.ConfigError as error:
            return str(error)
        if settings.strategy is not Strategy.ETCD_LOCK:
            return f"the strategy is {settings.strategy.value}"
        pause = decide.reboot_wait(settings.strategy, settings.window, self._context.now())
        return "the window is closed" if pause else ""

    def take(self) -> tuple[bool, Standing]:
        """Ask for the lock, with settings and certificates as they are by now.

        Raises:
            BedplateError: etcd is away, or the settings are wrong.
        """
        # Before anything is asked: a cut at any time finds that the lock may be held.
        _forget(self._places.free)
        pending = self._context.store.load().pending
        holder = Holder(
            self.id,
            int(self._context.now().timestamp()),
            socket.gethostname(),
            str(pending.version) if pending else "",
        )
        with manager(load(self._places)) as lock:
            standing = lock.take(holder)
        return standing.held_by(self.id), standing

    def reboot(self) -> str:
        """Ask for the reboot while no updater is at work; why not, if something is in the way.

        Raises:
            BusyError: one is.
            ProgramError: the service manager does not take the task.
        """
        with locked(self._context.paths.update_lock, wait=False):
            hindrance = self.hindrance()
            if not hindrance:
                programs.reboot()
        return hindrance

    def is_on_trial(self) -> bool:
        """Whether the running release is still to prove itself; who hurries does not ask."""
        return self.time_left is None and self._context.store.load().phase is Phase.TRIAL

    def give_back(self) -> None:
        """Give the lock back, if it is held, and note that.

        Raises:
            BedplateError: etcd is away, or the settings are wrong.
        """
        settings = load(self._places)
        limits = bounded(settings, self.time_left()) if self.time_left else None
        with manager(settings, limits) as lock:
            if lock.give_back(self.id):
                _LOG.info("gave the reboot lock back")
        free = self._places.free
        try:
            free.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(free, b"")
        except OSError as error:
            # The next boot asks once more.
            _LOG.warning("cannot write %s: %s", free, error.strerror)

    def tell(self, text: str, *, held: bool) -> None:
        """Say where the lock stands."""
        self._telling.tell(text, held=held)

    def sleep(self, seconds: float) -> None:
        """Wait, but not past the end of a hurry."""
        time.sleep(min(seconds, max(0.0, self.time_left())) if self.time_left else seconds)


def _forget(path: Path) -> None:
    """Remove a file so that a power cut does not bring it back."""
    if path.exists():
        path.unlink()
        sync_directory(path.parent)
