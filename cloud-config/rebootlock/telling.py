"""What the host says of the lock: a note, metrics, and what a staged release waits for."""

import logging

from rebootlock.places import Places
from updater import notify, status
from updater.files import write_atomic
from updater.host import Paths
from updater.metrics import Sample, render_metrics

_LOG = logging.getLogger(__name__)


def samples(*, held: bool, waiting: bool) -> list[Sample]:
    """The lock in numbers. Pure."""
    prefix = "bedplate_reboot_lock"
    return [
        Sample(f"{prefix}_held", "1 while this host holds the reboot lock.", int(held)),
        Sample(f"{prefix}_waiting", "1 while this host waits for it.", int(waiting)),
    ]


class Telling:
    """Writes what changed; a full /run keeps nobody from giving the lock back."""

    def __init__(self, places: Places, *, waits: bool) -> None:
        self._places = places
        self._paths = Paths(places.root)
        self._waits = waits
        self._told: tuple[str, bool] | None = None

    def tell(self, text: str, *, held: bool) -> None:
        """Say where the lock stands; nothing takes the note away."""
        if self._told == (text, held):
            return
        self._told = (text, held)
        if text:
            _LOG.info("%s", text)
            notify.status(text)
        try:
            self._write(text, held=held)
        except OSError as error:
            _LOG.warning("cannot write %s: %s", error.filename, error.strerror)

    def _write(self, text: str, *, held: bool) -> None:
        note, metrics = self._paths.lock_note, self._places.metrics
        for path in (note, metrics):
            path.parent.mkdir(parents=True, exist_ok=True)
        waiting = bool(text) and self._waits and not held
        write_atomic(metrics, render_metrics(samples(held=held, waiting=waiting)))
        if not text:
            note.unlink(missing_ok=True)
            return
        write_atomic(note, text.encode())
        if self._waits:
            status.restate(self._paths.status, self._paths.notable, text)
