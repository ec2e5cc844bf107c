"""The daemon's turns: check, update, perhaps reboot, and when to come back.

Apart from `daemon`, which starts with the host: what a turn needs (TUF, requests, cryptography)
takes a small host seconds to import, and nothing of a boot waits for it.
"""

import logging
import math
import time
from collections.abc import Callable

from updater import boot, decide, notify, programs, status
from updater.agent import Agent
from updater.config import Config, Strategy
from updater.context import Context
from updater.errors import BedplateError, NotYetError
from updater.state import Phase
from updater.status import Health
from updater.store import BusyError, locked

_LOG = logging.getLogger(__name__)
_TRIAL_PAUSE = 5.0
_REBOOT_PAUSE = 600.0
_BUSY_PAUSE = 30.0


class Turns:
    """One turn after the other; `take` does all there is to do and says when to come back."""

    def __init__(
        self,
        context: Context,
        settings: Config,
        agent: Agent,
        chance: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._config = settings
        self._agent = agent
        self._chance = chance
        self._clock = clock
        self._failures = 0
        self._staged_since: float | None = None

    def take(self) -> float:
        """Check, update, perhaps reboot; the seconds until the next turn."""
        if self._context.store.load().phase is Phase.TRIAL:
            notify.status(f"version {self._context.running.version} is on trial")
            return _TRIAL_PAUSE
        try:
            with locked(self._context.paths.update_lock, wait=False):
                if self._leaves():
                    return _REBOOT_PAUSE
                self._update()
                pause = self._reboot_wait()
                if pause > 0:
                    return min(self._next_check(), pause)
                return self._reboot()
        except BusyError as error:
            _LOG.info("%s", error)
            return _BUSY_PAUSE

    def _leaves(self) -> bool:
        """Whether the pods leave already: who has the reboot lock asks for the reboot, not us.

        What would be staged meanwhile would be cut short.
        """
        if self._config.strategy is not Strategy.ETCD_LOCK:
            return False
        try:
            return programs.is_rebooting()
        except BedplateError as error:
            _LOG.warning("%s", error)
            return False

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
        locks = self._config.strategy is Strategy.ETCD_LOCK
        try:
            if locks:
                self._agent.reboot_by_lock()
            else:
                self._agent.reboot()
        except BedplateError as error:
            self._failures += 1
            self._agent.failed(error)
            return self._next_check()
        # The lock may be long in coming, and a newer release before it.
        return self._next_check() if locks else _REBOOT_PAUSE
