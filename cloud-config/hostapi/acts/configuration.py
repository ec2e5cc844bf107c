"""The configuration in force, without its secrets, and what another one would change."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cloudconfig import disks, host, memory, report, variables
from cloudconfig.current import current
from cloudconfig.desired import Desired, Fetched
from cloudconfig.document import HEADER
from cloudconfig.host import Prepared, Stage
from cloudconfig.places import Places
from cloudconfig.plan import Change, Put, summary
from cloudconfig.report import ConfigStatus, InForce
from cloudconfig.store import Input
from hostapi.acts.bounds import bounded
from hostapi.acts.types import Act, Request, Tell
from updater.errors import BedplateError, InputError

_FILE = Path("document")  # what a document that came by the API is called
_SECONDS = 60.0
_MEMORY = 384 << 20  # bytes; a document of 1 MiB that is all values takes a third of it


def shown(places: Places) -> Mapping[str, object]:
    """The document in force with its secrets cut out, and the agent's status.

    Raises:
        BedplateError: nothing was applied yet, or the document is not to be had any more.
    """
    # It brings the whole model, which is slow to import.
    from cloudconfig.redacted import redact  # noqa: PLC0415

    given = current(places)
    status = report.read(places)
    document = redact(given.document, given.file) if given else f"{HEADER}\n"
    return {"status": report.to_plain(status) if status else None, "document": document}


def plan(document: str, places: Places) -> Mapping[str, object]:
    """What `document` would change on this host; nothing is touched, and nothing fetched.

    What is wrong with it are `faults`, each `LINE:COLUMN: MESSAGE`, all at once. Changes show no
    content of files: most of it is the document's own secrets.

    Raises:
        BedplateError: this host or its disks cannot be looked at, or it takes too much.
    """
    from cloudconfig.reading import compile_document  # noqa: PLC0415 - as above

    with bounded(_SECONDS, _MEMORY, "the plan"):
        given, warnings = _given(document, places)
        try:
            found = compile_document(given, memory.load(places), places)
        except InputError as error:
            faults = [line.removeprefix(f"{_FILE}:") for line in str(error).splitlines()]
            return {"changes": [], "faults": faults, "warnings": warnings}
        status = ConfigStatus(in_force=InForce.DOCUMENT)
        changes = host.plan(Prepared(given, found, status), places, Stage.RUNNING)
        lines = [disks.describe(change) for change in host.plan_disks(found.desired)]
        lines += [summary(_public(change)) for change in changes]
        lines += _once(found.desired)
        warnings += [line.removeprefix(f"{_FILE}:") for line in found.warnings]
    return {"changes": lines, "faults": [], "warnings": warnings}


def _given(document: str, places: Places) -> tuple[Input, list[str]]:
    """The document beside what the source of the present one says of this machine."""
    warnings: list[str] = []
    try:
        now = current(places)
    except BedplateError as error:
        now, warnings = None, [f"planned without what its source says of this host: {error}"]
    given = replace(now or Input(b"", _FILE, "the API"), document=document.encode(), file=_FILE)
    unknown = variables.wanted(given.document) - given.variables.keys()
    own = variables.own_addresses(unknown)
    return replace(given, variables={**given.variables, **own}), warnings


def _public(change: Change) -> Change:
    """The same with nothing of a URL but its server."""
    if not isinstance(change, Put) or not isinstance(change.item, Fetched):
        return change
    from cloudconfig.redacted import public  # noqa: PLC0415 - as above

    return replace(change, item=replace(change.item, url=public(change.item.url)))


def _once(desired: Desired) -> list[str]:
    """What comes besides, for people to know."""
    found = []
    if desired.phone_home:
        found.append("tell a server that this instance runs, on its first boot")
    if desired.power:
        found.append(f"{desired.power.mode.value}, on its first boot")
    return found


def _config(_request: Request, _tell: Tell) -> Mapping[str, object]:
    return shown(Places())


def _config_plan(request: Request, _tell: Tell) -> Mapping[str, object]:
    if request.document is None:
        raise InputError("no document; send the new configuration as the body")
    return plan(request.document, Places())


ACTS: Mapping[str, Act] = {"config": _config, "config-plan": _config_plan}
