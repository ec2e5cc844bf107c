"""`bedplate-updated`: looks for releases at intervals, stages them, reboots when it may.

Signals are blocked and waited for: SIGTERM ends the daemon between two steps, SIGUSR1 makes it
look at once (`systemctl kill --signal=SIGUSR1 bedplate-updated.service`).
"""

import logging
import math
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from updater import boot, config, decide, host, notify, state, status
from updater.agent import Agent, NotYetError
from updater.config import Config
from updater.context import Context
from updater.errors import BedplateError
from updater.host import Paths
from updater.state import Phase
from updater.status import Health
from updater.store import BusyError, locked

_LOG = logging.getLogger(__name__)
_STOP = frozenset((signal.SIGTERM, signal.SIGINT))
_WAKE = frozenset((signal.SIGUSR1,))
# Well within the unit's WatchdogSec=.
_SLICE = 60.0
_TRIAL_PAUSE = 5.0
_REBOOT_PAUSE = 600.0
_CHANCE = random.SystemRandom().random
_BUSY_PAUSE = 30.0


class StoppedError(Exception):
    """The service manager wants the daemon to end."""


def wait(seconds: float) -> None:
    """Sleep until time or SIGUSR1.

    Raises:
        StoppedError: a stop was asked for.
    """
    ends = time.monotonic() + seconds
    while (rest := ends - time.monotonic()) > 0:
        notify.send("WATCHDOG=1")
        received = signal.sigtimedwait(_STOP | _WAKE, min(rest, _SLICE))
        if received is not None and received.si_signo in _STOP:
            raise StoppedError
        if received is not None:
            return


def tell(text: str, _progress: status.Progress | None) -> None:
    """Pass a step on to the service manager.

    Raises:
        StoppedError: a stop was asked for.
    """
    if signal.sigpending() & _STOP:
        raise StoppedError
    if text:
        _LOG.info("%s", text)
        notify.status(text)
    else:
        notify.send("WATCHDOG=1")


class Daemon:
    """One turn after the other; `turn` does all there is to do and says when to come back."""

    def __init__(
        self,
        context: Context,
        settings: Config,
        agent: Agent,
        chance: Callable[[], float] = _CHANCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._config = settings
        self._agent = agent
        self._chance = chance
        self._clock = clock
        self._failures = 0
        self._staged_since: float | None = None

    def turn(self) -> float:
        """Check, update, perhaps reboot; the seconds until the next turn."""
        if self._context.store.load().phase is Phase.TRIAL:
            notify.status(f"version {self._context.running.version} is on trial")
            return _TRIAL_PAUSE
        try:
            with locked(self._context.paths.update_lock, wait=False):
                self._update()
                pause = self._reboot_wait()
                if pause > 0:
                    return min(self._next_check(), pause)
                return self._reboot()
        except BusyError as error:
            _LOG.info("%s", error)
            return _BUSY_PAUSE

    def _update(self) -> None:
        try:
            self._agent.apply(self._agent.check())
        except NotYetError as error:
            self._failures += 1
            _LOG.info("%s", error)
            self._bless_again()
        except (BedplateError, OSError) as error:
            self._failures += 1
            _LOG.error("%s", error)
        else:
            self._failures = 0

    def _bless_again(self) -> None:
        """Repeat a `mark-good` that could not write the boot entry."""
        if status.read_health(self._context.paths.health).health is Health.GOOD:
            boot.bless(self._context)

    def _next_check(self) -> float:
        pause = decide.back_off(self._config.interval, self._failures)
        return pause + self._config.jitter * self._chance()

    def _reboot_wait(self) -> float:
        """Seconds until the host may reboot into a staged release; infinite if there is none."""
        if self._context.store.load().phase is not Phase.STAGED:
            self._staged_since = None
            return math.inf
        if self._staged_since is None:
            self._staged_since = self._clock()
        settings = self._config
        pause = decide.reboot_wait(settings.strategy, settings.window, self._context.now())
        if pause is None:
            return math.inf
        delay = self._staged_since + settings.reboot_delay - self._clock()
        return max(pause.total_seconds(), delay)

    def _reboot(self) -> float:
        try:
            self._agent.reboot()
        except BedplateError as error:
            self._failures += 1
            self._agent.failed(error)
            return self._next_check()
        return _REBOOT_PAUSE


def _settings(context: Context) -> Config:
    """Read the configuration; a wrong one is shown in the status, too."""
    try:
        return config.load(context.paths.defaults, context.paths.credential)
    except config.ConfigError as error:
        at, reason = context.now(), str(error)
        known = context.store.update(lambda known: state.checked(known, at, reason))
        context.publish(context.view(known, context.slot_name()))
        raise


def _run(paths: Paths) -> None:
    context = Context(paths, host.observe(paths))
    boot.start(context)
    settings = _settings(context)
    context = replace(context, config=settings)
    daemon = Daemon(context, settings, Agent(context, settings, tell))
    notify.send("READY=1", "STATUS=up")
    _LOG.info("version %s, %s at %s", context.running.version, settings.channel, settings.server)
    # A rack that gets its power back must not ask all at once.
    pause = settings.jitter * _CHANCE()
    while True:
        wait(pause)
        pause = daemon.turn()


def main(argv: Sequence[str] | None = None, paths: Paths | None = None) -> int:
    """Run until SIGTERM; 0 after it, 1 on failure, 2 on a wrong configuration."""
    del argv
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP | _WAKE)
    try:
        _run(paths or Paths())
    except StoppedError:
        notify.send("STOPPING=1")
        return 0
    except BedplateError as error:
        sys.stderr.write(f"bedplate: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"bedplate: {error.filename or 'system'}: {error.strerror or error}\n")
        return 1
    return 0
