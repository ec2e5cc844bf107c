"""One run of `bedplate-config` on a host: take the document, plan, apply, say how it went.

A fault never takes away what works: the last good document stays in force, and a host without
one has the image's defaults.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from cloudconfig import compiled, memory, observe, report, store
from cloudconfig.apply import Applier, ApplyError, Systemctl
from cloudconfig.compiled import Compiled
from cloudconfig.desired import BUNDLE, FETCH_LIMIT, Desired, Fetched, File
from cloudconfig.memory import Memory
from cloudconfig.places import Places
from cloudconfig.plan import Change, make_plan, managed_after
from cloudconfig.report import ConfigStatus, InForce
from cloudconfig.store import Input
from updater.errors import BedplateError, InputError

if TYPE_CHECKING:
    from cloudconfig.disks import DiskChange

_LOG = logging.getLogger(__name__)


class Stage(Enum):
    """When the agent runs."""

    EARLY = "early"  # before the network and all that a configuration changes
    NETWORK = "network"  # with the network, for what was not to be had before
    RUNNING = "running"  # because somebody asked


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that is ready to be applied; without `given` it is the image's defaults.

    `key` is what to keep `compiled` under, or None if it is kept already or not to be kept.
    """

    given: Input | None
    compiled: Compiled
    status: ConfigStatus
    key: str | None = None

    @property
    def desired(self) -> Desired:
        """What the host should be."""
        return self.compiled.desired


def prepare(given: Input | None, places: Places, status: ConfigStatus) -> Prepared:
    """The configuration of `given`, or of the last good document if that one is wrong.

    Without `given` a fault in `status` brings the last good one too; without a fault there just
    is no document, and the image's defaults are what is wanted.
    """
    if given is not None:
        try:
            return _rendered(given, places, replace(status, in_force=InForce.DOCUMENT))
        except InputError as error:
            status = replace(status, faults=(*status.faults, *str(error).splitlines()))
    if not status.faults:
        return _defaults(status)
    last = store.load_last_good(places)
    if last is not None:
        try:
            return _rendered(last, places, replace(status, in_force=InForce.LAST_GOOD))
        except InputError as error:
            # Another release may read it otherwise.
            _LOG.warning("the last good document is good no more: %s", error)
    return _defaults(status)


def _rendered(given: Input, places: Places, status: ConfigStatus) -> Prepared:
    known = memory.load(places)
    wanted = compiled.key(given, *observe.release_facts(known, places))
    kept = compiled.load(wanted, places)
    found = kept or _read(given, known, places)
    warnings = (*status.warnings, *found.warnings)
    status = replace(status, digest=given.digest, warnings=warnings)
    return Prepared(given, found, status, None if kept else wanted)


def _read(given: Input, known: Memory, places: Places) -> Compiled:
    from cloudconfig.reading import compile_document  # noqa: PLC0415 - it is slow to import

    return compile_document(given, known, places)


def _defaults(status: ConfigStatus) -> Prepared:
    """Nothing beyond what the image has."""
    return Prepared(None, Compiled(Desired()), replace(status, in_force=InForce.DEFAULTS))


def plan(prepared: Prepared, places: Places, stage: Stage) -> tuple[Change, ...]:
    """What `apply` would change; nothing is written."""
    return _plan(prepared.desired, memory.load(places), places, stage)


def _plan(desired: Desired, known: Memory, places: Places, stage: Stage) -> tuple[Change, ...]:
    observed = observe.observe(desired, known, places, booting=stage is Stage.EARLY)
    return make_plan(desired, observed)


def apply(
    prepared: Prepared, places: Places, stage: Stage, *, systemctl: Systemctl | None = None
) -> ConfigStatus:
    """Make the host what `prepared` says; the status that was published.

    What has to be fetched waits for the network, unless it was fetched in an earlier boot.
    """
    if prepared.key:
        compiled.save(prepared.key, prepared.compiled, places)
    faults = list(prepared.status.faults)
    missing = _missing(prepared.desired, places)
    if missing and stage is not Stage.EARLY:
        faults += _fetch(missing, prepared, places)
        missing = _missing(prepared.desired, places)
    ready = _without(prepared.desired, missing)
    faults += _apply_disks(ready)
    before = memory.load(places)
    # What an earlier boot put where something is missing stays until that is there.
    absent = frozenset(each.path for each in missing)
    kept = {path: units for path, units in before.managed.items() if path in absent}
    others = {path: units for path, units in before.managed.items() if path not in absent}
    known = replace(before, managed=others)
    changes = _plan(ready, known, places, stage)
    after = Memory(
        managed=managed_after(ready, before.managed, changes),
        commands=frozenset(ready.commands),
        accounts=frozenset(prepared.compiled.accounts),
    )
    # Paths are known to be ours before anything is written there, whatever happens then.
    memory.save(replace(after, managed={**before.managed, **after.managed}), places)
    applier = Applier(
        places,
        lambda item: store.fetched(item.sha256, places) or b"",
        managed=before.managed,
        wait=stage is Stage.RUNNING,
        systemctl=systemctl,
    )
    try:
        applier.apply(changes)
    except ApplyError as error:
        faults += str(error).splitlines()
    memory.save(replace(after, managed={**after.managed, **kept}), places)
    status = replace(
        prepared.status,
        faults=tuple(faults),
        waiting_for=(*prepared.status.waiting_for, *(each.url for each in missing)),
    )
    if status.good and prepared.given and status.in_force is InForce.DOCUMENT and not missing:
        store.save_last_good(prepared.given, places)
        _forget(prepared.desired, places)
    report.publish(status, places)
    return status


def _missing(desired: Desired, places: Places) -> tuple[Fetched, ...]:
    return tuple(
        item
        for item in desired.items
        if isinstance(item, Fetched) and store.fetched(item.sha256, places) is None
    )


def _without(desired: Desired, missing: tuple[Fetched, ...]) -> Desired:
    return replace(desired, items=tuple(item for item in desired.items if item not in missing))


def _fetch(missing: tuple[Fetched, ...], prepared: Prepared, places: Places) -> list[str]:
    """Fetch what is missing into the store; a line for each that could not be had."""
    from cloudconfig.transfer import fetch_pinned  # noqa: PLC0415 - it takes seconds to import

    faults = []
    proxies = prepared.compiled.proxies
    with _authorities(prepared.desired) as ca_file:
        for item in missing:
            url, sha256, headers = item.url, item.sha256, dict(item.headers)
            try:
                content = fetch_pinned(url, sha256, headers, FETCH_LIMIT, proxies, ca_file)
                store.keep_fetched(content, sha256, places)
            except (BedplateError, OSError) as error:
                faults.append(f"{item.path}: {error}")
    return faults


@contextmanager
def _authorities(desired: Desired) -> Iterator[Path | None]:
    """Whom the configuration believes, in a file; None if that is whom the image does.

    What it wants in /etc is there only once all is fetched.
    """
    wanted = [item for item in desired.items if isinstance(item, File) and item.path == BUNDLE]
    if not wanted:
        yield None
        return
    from tempfile import NamedTemporaryFile  # noqa: PLC0415 - seldom used

    with NamedTemporaryFile() as stream:
        stream.write(wanted[0].content)
        stream.flush()
        yield Path(stream.name)


def _forget(desired: Desired, places: Places) -> None:
    store.forget_fetched(
        frozenset(item.sha256 for item in desired.items if isinstance(item, Fetched)), places
    )


def plan_disks(desired: Desired) -> "tuple[DiskChange, ...]":
    """What `apply` would do to disks.

    Raises:
        BedplateError, OSError: they cannot be looked at.
    """
    if not (desired.partitions or desired.file_systems or desired.swap):
        return ()
    # Most documents have no disks.
    from cloudconfig import disks, disks_apply, disks_observe  # noqa: PLC0415

    return disks_apply.outstanding(disks.plan_disks(desired, disks_observe.observe()))


def _apply_disks(desired: Desired) -> list[str]:
    """Partitions and file systems; a line for each that was refused or failed."""
    try:
        changes = plan_disks(desired)
        if not changes:
            return []
        from cloudconfig import disks_apply  # noqa: PLC0415 - seldom there is something to do

        return disks_apply.apply(changes)
    except (BedplateError, OSError) as error:
        return str(error).splitlines()
