"""What every step of the updater works with: the host, its state, its status."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from updater import esp, override, slots, status
from updater.config import Config, Strategy
from updater.errors import BedplateError
from updater.esp import Esp
from updater.host import Paths, Running, trusted_now
from updater.slots import Layout
from updater.state import Phase, State
from updater.status import Progress, View
from updater.store import Store
from updater.strict import FormatError

_LOG = logging.getLogger(__name__)
_LONGEST_NOTE = 2000  # bytes


@dataclass(frozen=True, slots=True)
class Context:
    """One host; `config` is None for what needs none, `disk` is found when it is first needed."""

    paths: Paths
    running: Running
    config: Config | None = None
    disk: Path | None = None

    @property
    def store(self) -> Store:
        """The state."""
        return Store(self.paths.state, self.paths.runtime)

    def now(self) -> datetime:
        """The time by all that is known; see `host.trusted_now`."""
        return trusted_now(self.running, self.store.load().trusted_time)

    def layout(self) -> Layout:
        """The disk's slots.

        Raises:
            SlotError, GptError: the disk is not one of ours.
            OSError: it cannot be read.
        """
        disk = self.disk or slots.find_disk(
            self.running.root_hash, self.paths.root / "dev", self.paths.root / "sys"
        )
        return slots.observe(disk, self.running.root_hash)

    def mounted_esp(self, layout: Layout) -> AbstractContextManager[Esp]:
        """The ESP, mounted for the time of a block."""
        return esp.mounted(layout.esp.path, self.paths.esp)

    def slot_name(self) -> str:
        """Which slot runs: a, b, or unknown."""
        try:
            layout = self.layout()
        except (BedplateError, OSError) as error:
            _LOG.warning("the running slot is unknown: %s", error)
            return "unknown"
        return "a" if layout.active.root.number < layout.inactive.root.number else "b"

    def view(
        self, state: State, slot: str, decision: str = "", progress: Progress | None = None
    ) -> View:
        """What a status is made of."""
        health = status.read_health(self.paths.health)
        decision = self._waits_for(state) or decision
        asked = override.read(self.paths)
        return View(self.running, slot, self.config, state, health, decision, progress, asked)

    def _waits_for(self, state: State) -> str:
        """What keeps a staged release from taking over, as who asks for the reboot lock says."""
        locks = self.config is not None and self.config.strategy is Strategy.ETCD_LOCK
        if not locks or state.phase is not Phase.STAGED:
            return ""
        try:
            with self.paths.lock_note.open("rb") as stream:
                return stream.read(_LONGEST_NOTE).decode(errors="replace").strip()
        except OSError:
            return ""

    def publish(self, view: View) -> None:
        """Write status and metrics; a full /run must not stop an update."""
        try:
            status.publish(view, self.paths.status, self.paths.metrics, self.paths.notable)
        except OSError as error:
            _LOG.warning("cannot write the status: %s", error)

    def republish(self) -> None:
        """Write the status anew, with what the daemon last said in it left as it is."""
        view = self.view(self.store.load(), self.slot_name())
        try:
            published = status.parse(self.paths.status.read_bytes())
            view = replace(view, decision=published.decision, progress=published.progress)
        except (OSError, FormatError):
            # Nobody has written one yet.
            pass
        self.publish(view)
