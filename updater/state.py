"""The updater's memory: where an update stands, what was rejected, what has happened.

    idle --stage--> staging --commit--> staged --boot--> trial --health--> idle (became good)
                       |                  |                |
                       +---- withdraw ----+-- roll back ---+--> idle (version rejected)

Two copies are kept, each written atomically. They are read leniently: whatever one copy still
tells about rejected versions counts, because trying a bad release again is the one mistake that
a host must not make by itself.
"""

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from updater.errors import BedplateError
from updater.strict import Fields, FormatError, render_time
from updater.version import Version, VersionError

SCHEMA = 1
MAXIMUM_TRIES = 3
_MAXIMUM_LENGTH = 256 * 1024
_KEPT_EVENTS = 50
_KEPT_REJECTIONS = 64
_KEPT_TEXT = 500
_KEYS = (
    *("schema", "serial", "phase", "pending", "rejected", "trusted_time", "last_check"),
    *("last_error", "boot_id", "tries", "history"),
)


class TransitionError(BedplateError):
    """A step was taken from a phase in which it has no meaning."""


class Phase(enum.Enum):
    """Where an update stands."""

    IDLE = "idle"
    STAGING = "staging"
    STAGED = "staged"
    TRIAL = "trial"


class EventKind(enum.Enum):
    """What the history tells."""

    STAGING = "staging"
    STAGED = "staged"
    TRIAL = "trial"
    GOOD = "good"
    ROLLED_BACK = "rolled-back"
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"
    UNREJECTED = "unrejected"


@dataclass(frozen=True, slots=True)
class Pending:
    """The release under way; `missed` counts the boots that should have started it and did not."""

    version: Version
    root_hash: str
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Rejection:
    """A version that is not tried again unless a person says so."""

    version: Version
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a version."""

    at: datetime
    kind: EventKind
    version: Version
    detail: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that outlives a reboot.

    `tries` counts the boots of `pending` (or of a rejected version that came up all the same),
    each `boot_id` once. `trusted_time` is the newest time that verified metadata was signed at.
    """

    phase: Phase = Phase.IDLE
    pending: Pending | None = None
    rejected: tuple[Rejection, ...] = ()
    trusted_time: datetime | None = None
    last_check: datetime | None = None
    last_error: str = ""
    boot_id: str = ""
    tries: int = 0
    history: tuple[Event, ...] = ()
    serial: int = 0

    def is_rejected(self, version: Version) -> bool:
        """Whether `version` is on the rejected list."""
        return any(rejection.version == version for rejection in self.rejected)


def _pending(state: State, step: str, *phases: Phase) -> Pending:
    if state.phase not in phases or state.pending is None:
        allowed = " or ".join(phase.value for phase in phases)
        raise TransitionError(
            f"cannot {step}: the update is {state.phase.value}, expected {allowed}"
        )
    return state.pending


def _happened(state: State, at: datetime, kind: EventKind, version: Version, detail: str) -> State:
    event = Event(at, kind, version, detail[:_KEPT_TEXT])
    return replace(state, history=(*state.history, event)[-_KEPT_EVENTS:])


def start_staging(state: State, version: Version, root_hash: str, at: datetime) -> State:
    """A slot is about to be overwritten with `version`; staging may begin again at any time.

    Raises:
        TransitionError: the host is on trial, so that the other slot is its way back; or the
            version is rejected.
    """
    if state.phase is Phase.TRIAL:
        raise TransitionError(f"cannot stage {version}: the running version is still on trial")
    if state.is_rejected(version):
        raise TransitionError(f"cannot stage {version}: it was rejected")
    begun = replace(state, phase=Phase.STAGING, pending=Pending(version, root_hash), tries=0)
    if state.pending == begun.pending and state.phase is Phase.STAGING:
        return begun
    return _happened(begun, at, EventKind.STAGING, version, "")


def staged(state: State, at: datetime) -> State:
    """The slot is verified and its boot entry in place: the next boot tries it."""
    pending = _pending(state, "call it staged", Phase.STAGING)
    return _happened(replace(state, phase=Phase.STAGED), at, EventKind.STAGED, pending.version, "")


def missed(state: State, boot_id: str) -> State:
    """Another version has started although this one is staged; every boot counts once."""
    pending = _pending(state, "miss a boot", Phase.STAGED)
    if state.boot_id == boot_id:
        return state
    late = replace(pending, missed=pending.missed + 1)
    return replace(state, pending=late, boot_id=boot_id, tries=0)


def booted_trial(state: State, boot_id: str, at: datetime) -> State:
    """The pending release has started; every start counts once.

    From `staging` too: the power may fail between the boot entry's rename and our note of it.
    """
    pending = _pending(state, "start a trial", Phase.STAGING, Phase.STAGED, Phase.TRIAL)
    if state.phase is Phase.TRIAL and state.boot_id == boot_id:
        return state
    tries = state.tries + 1 if state.phase is Phase.TRIAL else 1
    trial = replace(state, phase=Phase.TRIAL, boot_id=boot_id, tries=tries)
    return _happened(trial, at, EventKind.TRIAL, pending.version, f"boot {tries}")


def became_good(state: State, at: datetime) -> State:
    """The release on trial has passed its health checks."""
    pending = _pending(state, "call it good", Phase.TRIAL)
    settled = replace(state, phase=Phase.IDLE, pending=None, tries=0, last_error="")
    return _happened(settled, at, EventKind.GOOD, pending.version, "")


def rolled_back(state: State, reason: str, at: datetime) -> State:
    """The pending release failed: the old one runs, or will after a reboot."""
    pending = _pending(state, "roll back", Phase.STAGING, Phase.STAGED, Phase.TRIAL)
    idle = replace(state, phase=Phase.IDLE, pending=None, last_error=_error(pending, reason))
    noted = _happened(idle, at, EventKind.ROLLED_BACK, pending.version, reason)
    return _add_rejections(noted, (Rejection(pending.version, reason[:_KEPT_TEXT], at),))


def _error(pending: Pending, reason: str) -> str:
    return f"version {pending.version} was rolled back and is rejected: {reason}"[:_KEPT_TEXT]


def withdrawn(state: State, reason: str, at: datetime) -> State:
    """The pending release is dropped without a verdict; it may be staged again later."""
    pending = _pending(state, "withdraw", Phase.STAGING, Phase.STAGED)
    idle = replace(state, phase=Phase.IDLE, pending=None, tries=0)
    return _happened(idle, at, EventKind.WITHDRAWN, pending.version, reason)


def reject(state: State, version: Version, reason: str, at: datetime) -> State:
    """Never try `version` again by itself; a no-op when it is rejected already."""
    if state.is_rejected(version):
        return state
    noted = _happened(state, at, EventKind.REJECTED, version, reason)
    return _add_rejections(noted, (Rejection(version, reason[:_KEPT_TEXT], at),))


def unreject(state: State, version: Version, at: datetime) -> State:
    """A person allows `version` again.

    Raises:
        TransitionError: it is not rejected.
    """
    if not state.is_rejected(version):
        listed = ", ".join(str(each.version) for each in state.rejected) or "none"
        raise TransitionError(f"version {version} is not rejected; rejected are: {listed}")
    rest = tuple(each for each in state.rejected if each.version != version)
    return _happened(replace(state, rejected=rest), at, EventKind.UNREJECTED, version, "")


def booted_rejected(state: State, boot_id: str) -> State:
    """A rejected version has come up all the same; every start counts once."""
    if state.boot_id == boot_id:
        return state
    return replace(state, boot_id=boot_id, tries=state.tries + 1)


def settled(state: State, boot_id: str) -> State:
    """A version that nobody doubts has started."""
    if state.boot_id == boot_id or state.phase is Phase.TRIAL:
        return state
    return replace(state, boot_id=boot_id, tries=0)


def checked(state: State, at: datetime, error: str) -> State:
    """A check has ended, with an error or with none."""
    return replace(state, last_check=at, last_error=error[:_KEPT_TEXT])


def trusted(state: State, signed: datetime | None) -> State:
    """Verified metadata was signed at `signed`: it is certainly not earlier now."""
    if signed is None or (state.trusted_time is not None and signed <= state.trusted_time):
        return state
    return replace(state, trusted_time=signed)


def _add_rejections(state: State, more: Iterable[Rejection]) -> State:
    known = {rejection.version: rejection for rejection in (*more, *state.rejected)}
    # Full lists forget the lowest versions: those a host has long gone past.
    ordered = sorted(known.values(), key=lambda rejection: rejection.version)
    return replace(state, rejected=tuple(ordered[-_KEPT_REJECTIONS:]))


# --- As bytes -------------------------------------------------------------------------------------


def render(state: State) -> bytes:
    """The state as JSON; `parse` gives it back."""
    pending = state.pending
    document = {
        "schema": SCHEMA,
        "serial": state.serial,
        "phase": state.phase.value,
        "pending": pending
        and {
            "version": str(pending.version),
            "root_hash": pending.root_hash,
            "missed": pending.missed,
        },
        "rejected": [
            {"version": str(each.version), "reason": each.reason, "at": render_time(each.at)}
            for each in state.rejected
        ],
        "trusted_time": _render_time(state.trusted_time),
        "last_check": _render_time(state.last_check),
        "last_error": state.last_error,
        "boot_id": state.boot_id,
        "tries": state.tries,
        "history": [
            {
                "at": render_time(each.at),
                "kind": each.kind.value,
                "version": str(each.version),
                "detail": each.detail,
            }
            for each in state.history
        ],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _render_time(moment: datetime | None) -> str | None:
    return None if moment is None else render_time(moment)


def parse(data: bytes) -> State:
    """Read one copy strictly.

    Raises:
        FormatError: it is torn, or of another schema.
    """
    fields = Fields.parse(data, "state", _KEYS, _MAXIMUM_LENGTH)
    fields.integer("schema", SCHEMA, SCHEMA)
    phase = Phase(
        fields.text("phase", "|".join(each.value for each in Phase), "a phase of an update")
    )
    pending = _parse_pending(fields)
    if (pending is None) != (phase is Phase.IDLE):
        raise fields.error("pending", "a release just when the phase is not idle")
    return State(
        phase=phase,
        pending=pending,
        rejected=tuple(
            Rejection(item.version("version"), _text(item, "reason"), item.time("at"))
            for item in fields.items("rejected", ("version", "reason", "at"), 0, _KEPT_REJECTIONS)
        ),
        trusted_time=_parse_time(fields, "trusted_time"),
        last_check=_parse_time(fields, "last_check"),
        last_error=_text(fields, "last_error"),
        boot_id=_text(fields, "boot_id"),
        tries=fields.integer("tries", 0, 2**31),
        history=tuple(
            Event(item.time("at"), _kind(item), item.version("version"), _text(item, "detail"))
            for item in fields.items(
                "history", ("at", "kind", "version", "detail"), 0, _KEPT_EVENTS
            )
        ),
        serial=fields.integer("serial", 0, 2**62),
    )


def _text(fields: Fields, key: str) -> str:
    return fields.text(key, r"(?s:.{0,500})", "a text of at most 500 characters")


def _kind(fields: Fields) -> EventKind:
    return EventKind(fields.text("kind", "|".join(each.value for each in EventKind), "an event"))


def _parse_time(fields: Fields, key: str) -> datetime | None:
    return None if fields.values[key] is None else fields.time(key)


def _parse_pending(fields: Fields) -> Pending | None:
    if fields.values["pending"] is None:
        return None
    pending = fields.fields("pending", ("version", "root_hash", "missed"))
    return Pending(
        version=pending.version("version"),
        root_hash=pending.text("root_hash", "[0-9a-f]{64}", "64 lower-case hex digits"),
        missed=pending.integer("missed", 0, 2**31),
    )


def recover(copies: Iterable[bytes]) -> State:
    """The best that can be known from all copies, torn ones and other schemas included.

    The newest whole copy counts; what any copy tells of rejected versions is added to it. With no
    whole copy the update is idle: a half-staged slot has no boot entry, and staging begins again.
    """
    newest = State()
    rejections: list[Rejection] = []
    for data in copies:
        rejections += _salvage(data)
        try:
            state = parse(data)
        except FormatError:
            continue
        if state.serial >= newest.serial:
            newest = state
    return _add_rejections(
        newest, (each for each in rejections if not newest.is_rejected(each.version))
    )


def _salvage(data: bytes) -> list[Rejection]:
    """The rejections in a document of any schema."""
    try:
        document = json.loads(data[:_MAXIMUM_LENGTH])
    except (ValueError, RecursionError):
        return []
    items = document.get("rejected") if isinstance(document, dict) else None
    found = (_rejection(item) for item in items) if isinstance(items, list) else ()
    return [rejection for rejection in found if rejection is not None]


def _rejection(item: object) -> Rejection | None:
    if not isinstance(item, dict):
        return None
    try:
        version = Version.parse(str(item.get("version")))
        at = (
            Fields(item, "rejection").time("at")
            if "at" in item
            else datetime(1970, 1, 1, tzinfo=UTC)
        )
    except (VersionError, FormatError):
        return None
    return Rejection(version, str(item.get("reason", ""))[:_KEPT_TEXT], at)
