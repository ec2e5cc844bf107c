"""What ran on this host before an update, so that the new release can be held to it.

Kept by release: a release on trial may boot several times, and each of these boots is held to what
ran under the release before it, not to what the boot before it made of that.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podagent.places import Places
from updater.files import write_atomic
from updater.host import parse_os_release

if TYPE_CHECKING:
    # `bedplate-pods` is a short-lived command and has no use for what the status is made of.
    from podagent.report import Status

_LOG = logging.getLogger(__name__)
_SCHEMA = 1
_LIMIT = 1 << 20  # bytes of the file
_RUNNING = "Running"
_OVER = ("Succeeded", "Failed")  # ended for good, by its restartPolicy

Ran = Mapping[str, bool]  # own pods that ran, by name: whether each was ready


@dataclass(frozen=True, slots=True)
class Record:
    """What ran last under the release `version`, and under the one that ran before it."""

    version: str = ""
    now: Ran = field(default_factory=dict)
    before: Ran = field(default_factory=dict)


def noted(record: Record, version: str, ran: Ran) -> Record:
    """The record once `version` was seen to run these pods. Pure."""
    before = record.before if record.version == version else record.now
    return Record(version, ran, before)


def ran_of(status: "Status") -> dict[str, bool]:
    """The host's own pods that run."""
    return {
        each.id: each.ready
        for each in status.pods
        if each.origin == "folder" and each.phase == _RUNNING
    }


def lost(before: Ran, status: Mapping[str, Any]) -> tuple[str, ...]:
    """What is not as it was, for people; nothing when all is. Pure.

    A pod that is not declared any more is not asked for, and one that ended for good did run.

    Args:
        before: what ran.
        status: the agent's status document of now.
    """
    if status["fault"]:
        return (status["fault"],)
    pods = {each["id"]: each for each in status["pods"] if each["origin"] == "folder"}
    return tuple(
        f"{name}: {_trouble(pods[name], ready=ready)}"
        for name, ready in sorted(before.items())
        if name in pods and _trouble(pods[name], ready=ready)
    )


def _trouble(pod: Mapping[str, Any], *, ready: bool) -> str:
    """What a pod lacks that ran, and perhaps was ready."""
    phase = pod["phase"]
    if phase in _OVER or (phase == _RUNNING and (pod["ready"] or not ready)):
        return ""
    why = " ".join(filter(None, (pod["reason"], pod["message"])))
    state = "not ready" if phase == _RUNNING else phase
    return f"{state} ({why})" if why else state


# --- The file -------------------------------------------------------------------------------------


def keep(places: Places, status: "Status", *, left: bool = False) -> None:
    """Note what runs now; the file is written when that changed.

    It is removed when no pod is declared and none is left, unless an update is on its way: a host
    without pods has nothing to wait for. An agent that cannot write it says so, and works on.

    Args:
        places: where the files are.
        status: as it was published, of a host that is not being drained.
        left: whether podman has pods of ours that nobody declares.
    """
    path = _path(places)
    try:
        declared = bool(status.pods or status.refused)
        # With a fault nobody knows what podman has.
        if not (declared or left or status.fault or _pending(places).exists()):
            path.unlink(missing_ok=True)
            return
        record = _read(path)
        after = noted(record or Record(), running_version(places), ran_of(status))
        if after != record:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, _to_json(after), mode=0o600)
    except OSError as error:
        _LOG.warning("%s: what runs cannot be noted for the next update: %s", path, error.strerror)


def expected(places: Places) -> Ran:
    """What ran under the release before this one; nothing if that is not known."""
    record = _read(_path(places))
    return noted(record, running_version(places), {}).before if record is not None else {}


def running_version(places: Places) -> str:
    """The release that runs; "" where os-release does not say."""
    try:
        text = (places.root / "usr/lib/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return parse_os_release(text).get("IMAGE_VERSION", "")


def _read(path: Path) -> Record | None:
    """What was noted; None where there is nothing, or nothing of use."""
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(_LIMIT))
        if document["schema"] != _SCHEMA:
            return None
        now, before = (
            {str(name): bool(ready) for name, ready in document[key].items()}
            for key in ("now", "before")
        )
        return Record(str(document["version"]), now, before)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _to_json(record: Record) -> bytes:
    document = {
        "schema": _SCHEMA,
        "version": record.version,
        "now": dict(record.now),
        "before": dict(record.before),
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _path(places: Places) -> Path:
    return places.root / "var/lib/bedplate/pods/ran.json"


def _pending(places: Places) -> Path:
    """There while the updater has an update on its way; see `updater.store`."""
    return places.root / "var/lib/bedplate/pending"
