"""`bedplate-updated`: looks for releases at intervals, stages them, reboots when it may.

Signals are blocked and waited for: SIGTERM ends the daemon between two steps, SIGHUP makes it read
its configuration anew, SIGUSR1 look at once (`systemctl kill --signal=SIGUSR1
bedplate-updated.service`).
"""

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from updater import boot, config, health, host, notify, state, status
from updater.config import Config
from updater.context import Context
from updater.errors import BedplateError, run_main
from updater.host import Paths
from updater.status import Health

if TYPE_CHECKING:
    from updater.turns import Turns

_LOG = logging.getLogger(__name__)
_STOP = frozenset((signal.SIGTERM, signal.SIGINT))
_AGAIN = frozenset((signal.SIGHUP,))
_WAKE = frozenset((signal.SIGUSR1,))
# Well within the unit's WatchdogSec=.
_SLICE = 60.0
_HEALTH_PAUSE = 2.0


class StoppedError(Exception):
    """The service manager wants the daemon to end."""


class ReloadError(Exception):
    """The configuration is another than it was: what was begun by the old one ends here."""


def wait(seconds: float) -> bool:
    """Sleep until time or SIGUSR1; whether it was the signal.

    Raises:
        StoppedError: a stop was asked for.
        ReloadError: the configuration is to be read anew.
    """
    ends = time.monotonic() + seconds
    while (rest := ends - time.monotonic()) > 0:
        notify.send("WATCHDOG=1")
        received = signal.sigtimedwait(_STOP | _AGAIN | _WAKE, min(rest, _SLICE))
        if received is not None and received.si_signo in _STOP:
            raise StoppedError
        if received is not None and received.si_signo in _AGAIN:
            raise ReloadError
        if received is not None:
            return True
    return False


def tell(text: str, _progress: status.Progress | None) -> None:
    """Pass a step on to the service manager.

    Raises:
        StoppedError: a stop was asked for.
        ReloadError: the configuration is to be read anew; an operator who forbids reboots must not
            see one by what was in force before.
    """
    if signal.sigpending() & _STOP:
        raise StoppedError
    if signal.sigtimedwait(_AGAIN, 0):
        raise ReloadError
    if text:
        _LOG.info("%s", text)
        notify.status(text)
    else:
        notify.send("WATCHDOG=1")


def _settings(context: Context) -> Config:
    """Read the configuration; a wrong one is shown in the status, too."""
    try:
        return config.load(context.paths.configurations)
    except config.ConfigError as error:
        at, reason = context.now(), str(error)
        known = context.store.update(lambda known: state.checked(known, at, reason))
        context.publish(context.view(known, context.slot_name()))
        raise


def _reloaded(context: Context, before: Config) -> Config:
    """The configuration as it is now; one that is wrong leaves the one before in force."""
    try:
        return _settings(context)
    except config.ConfigError as error:
        _LOG.error("%s", error)
        return before


def look(context: Context) -> float:
    """Bring the status' health up to date; seconds until another look may tell more."""
    try:
        report = health.look()
    except BedplateError as error:
        _LOG.warning("%s", error)
        return _HEALTH_PAUSE
    if report != status.read_health(context.paths.health):
        status.write_health(context.paths.health, report)
        context.republish()
    return _HEALTH_PAUSE if report.health is Health.STARTING else math.inf


def chance() -> float:
    """A random number from 0 to 1, without `random`, which imports half of OpenSSL."""
    return int.from_bytes(os.urandom(6)) / (1 << 48)


def _turns(context: Context, settings: Config) -> "Turns":
    # For the first turn, when the host is up: see `turns`.
    from updater.agent import Agent  # noqa: PLC0415
    from updater.turns import Turns  # noqa: PLC0415

    return Turns(context, settings, Agent(context, settings, tell), chance)


def _configured(context: Context, settings: Config) -> tuple[Context, Config]:
    """The context with the configuration that is in force from now on, which the status tells."""
    context = replace(context, config=settings)
    context.republish()
    _LOG.info("version %s, %s at %s", context.running.version, settings.channel, settings.server)
    return context, settings


def _run(paths: Paths) -> int:
    try:
        _serve(paths)
    except StoppedError:
        notify.send("STOPPING=1")
    return 0


def _serve(paths: Paths) -> NoReturn:
    context = Context(paths, host.observe(paths))
    boot.start(context)
    context, settings = _configured(context, _settings(context))
    notify.send("READY=1", "STATUS=up")
    # A rack that gets its power back must not ask all at once.
    due = time.monotonic() + settings.jitter * chance()
    turns: Turns | None = None
    again = _HEALTH_PAUSE
    while True:
        try:
            asked = wait(min(again, due - time.monotonic()))
            again = look(context)
            if asked or time.monotonic() >= due:
                turns = turns or _turns(context, settings)
                due = time.monotonic() + turns.take()
        except ReloadError:
            context, settings = _configured(context, _reloaded(context, settings))
            turns, due = None, time.monotonic()


def main(argv: Sequence[str] | None = None, paths: Paths | None = None) -> int:
    """Run until SIGTERM; 0 after it, 1 on failure, 2 on a wrong configuration."""
    del argv
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP | _AGAIN | _WAKE)
    return run_main(lambda: _run(paths or Paths()))
