"""The document that is in force, for those who ask later: no source is asked if it is kept."""

from cloudconfig import intake, report, store
from cloudconfig.host import Stage
from cloudconfig.places import Places
from cloudconfig.report import InForce
from cloudconfig.store import Input
from updater.errors import BedplateError


def current(places: Places) -> Input | None:
    """What this host's configuration was made of; None if it has the image's defaults.

    Raises:
        BedplateError: nothing was applied yet, or the document is not to be had any more.
    """
    status = report.read(places)
    if status is None:
        raise BedplateError(f"{places.status}: no status yet; bedplate-config.service writes it")
    if status.in_force is InForce.DEFAULTS:
        return None
    kept = store.load_last_good(places)
    if kept is not None and kept.digest == status.digest:
        return kept
    # It has faults, or waits for something, so it was not kept.
    given, _ = intake.take(places, Stage.RUNNING)
    if given is None or given.digest != status.digest:
        raise BedplateError(
            f"the document in force (SHA-256 {status.digest[:16]}...) is not to be had any more:"
            f" {status.source} gives another by now; the next boot takes that"
        )
    return given
