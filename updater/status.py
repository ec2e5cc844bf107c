"""The host's status as others read it: JSON with a versioned schema, frozen when written."""

import enum
import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from updater.files import write_atomic
from updater.host import Running
from updater.metrics import Sample, render_metrics
from updater.state import Phase, State
from updater.strict import Fields, FormatError, render_time

if TYPE_CHECKING:
    # At run time it would bring a YAML reader to the console, which has no use for one.
    from updater.config import Config

SCHEMA = 1
_MAXIMUM_LENGTH = 256 * 1024
_KEYS = (
    *("schema", "version", "slot", "root_hash", "channel", "server", "strategy", "state"),
    *("pending", "progress", "tries", "rejected", "decision", "last_check", "last_error"),
    *("health", "health_detail", "override"),
)


class Health(enum.Enum):
    """What the last health check of this boot found."""

    STARTING = "starting"
    GOOD = "good"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is; all in bytes. `fetched` came over the network."""

    step: str
    done: int
    total: int
    fetched: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A version that is not tried again."""

    version: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class Override:
    """What an operator asked for until the next boot; None is as configured."""

    channel: str | None
    strategy: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that a person or a program wants to know of the updater.

    `slot` is "a", "b" or "unknown"; `state` is a phase; times are RFC 3339 in UTC; what is not
    known is None or empty.
    """

    version: str
    slot: str
    root_hash: str
    channel: str
    server: str
    strategy: str
    state: str
    pending: str | None
    progress: Progress | None
    tries: int
    rejected: tuple[Rejected, ...]
    decision: str
    last_check: str | None
    last_error: str
    health: Health
    health_detail: str
    override: Override | None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The result of one health check."""

    health: Health
    detail: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What a status is made of; `config` is None when it could not be read."""

    running: Running
    slot: str
    config: "Config | None"
    state: State
    health: HealthReport
    decision: str = ""
    progress: Progress | None = None
    override: Override | None = None


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else render_time(moment)


def build(view: View) -> Status:
    """Make the status. Pure."""
    state, config = view.state, view.config
    return Status(
        version=str(view.running.version),
        slot=view.slot,
        root_hash=view.running.root_hash,
        channel=config.channel if config else "",
        server=config.server if config else "",
        strategy=config.strategy.value if config else "",
        state=state.phase.value,
        pending=str(state.pending.version) if state.pending else None,
        progress=view.progress,
        tries=state.tries if state.phase is Phase.TRIAL else 0,
        rejected=tuple(
            Rejected(str(each.version), each.reason, render_time(each.at))
            for each in state.rejected
        ),
        decision=view.decision,
        last_check=_time(state.last_check),
        last_error=state.last_error,
        health=view.health.health,
        health_detail=view.health.detail,
        override=view.override,
    )


def render(status: Status) -> bytes:
    """The status as JSON, with a stable order of keys."""
    document = {"schema": SCHEMA, **asdict(status), "health": status.health.value}
    return json.dumps(document, indent=2).encode() + b"\n"


def _text(fields: Fields, key: str) -> str:
    return fields.text(key, "(?s:.*)", "a text")


def _optional(fields: Fields, key: str) -> str | None:
    return None if fields.values[key] is None else _text(fields, key)


def _parse_progress(fields: Fields) -> Progress | None:
    if fields.values["progress"] is None:
        return None
    inner = fields.fields("progress", ("step", "done", "total", "fetched"))
    return Progress(
        _text(inner, "step"),
        inner.integer("done", 0, 2**63),
        inner.integer("total", 0, 2**63),
        inner.integer("fetched", 0, 2**63),
    )


def _parse_override(fields: Fields) -> Override | None:
    if fields.values["override"] is None:
        return None
    inner = fields.fields("override", ("channel", "strategy"))
    return Override(_optional(inner, "channel"), _optional(inner, "strategy"))


def parse(data: bytes) -> Status:
    """Read what `render` wrote.

    Raises:
        FormatError: it is something else.
    """
    fields = Fields.parse(data, "status", _KEYS, _MAXIMUM_LENGTH)
    fields.integer("schema", SCHEMA, SCHEMA)
    return Status(
        version=_text(fields, "version"),
        slot=_text(fields, "slot"),
        root_hash=_text(fields, "root_hash"),
        channel=_text(fields, "channel"),
        server=_text(fields, "server"),
        strategy=_text(fields, "strategy"),
        state=_text(fields, "state"),
        pending=_optional(fields, "pending"),
        progress=_parse_progress(fields),
        tries=fields.integer("tries", 0, 2**31),
        rejected=tuple(
            Rejected(_text(item, "version"), _text(item, "reason"), _text(item, "at"))
            for item in fields.items("rejected", ("version", "reason", "at"), 0, 1000)
        ),
        decision=_text(fields, "decision"),
        last_check=_optional(fields, "last_check"),
        last_error=_text(fields, "last_error"),
        health=Health(
            fields.text("health", "|".join(each.value for each in Health), "a known health")
        ),
        health_detail=_text(fields, "health_detail"),
        override=_parse_override(fields),
    )


def read_health(path: Path) -> HealthReport:
    """The last health check of this boot; none yet, or an unreadable one, is `starting`."""
    try:
        fields = Fields.parse(path.read_bytes(), "health", ("health", "detail"), _MAXIMUM_LENGTH)
        health = fields.text("health", "|".join(each.value for each in Health), "a known health")
        return HealthReport(Health(health), _text(fields, "detail"))
    except (OSError, FormatError):
        return HealthReport(Health.STARTING)


def write_health(path: Path, report: HealthReport) -> None:
    """Leave the result of a health check for the status."""
    document = {"health": report.health.value, "detail": report.detail}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(document).encode() + b"\n")


def samples(view: View) -> list[Sample]:
    """The status in numbers. Pure."""
    state, progress = view.state, view.progress
    checked = state.last_check.timestamp() if state.last_check else 0.0
    labels = {"version": str(view.running.version), "slot": view.slot}
    return [
        Sample("bedplate_info", "The release that runs.", 1, {**labels}),
        *(
            Sample(
                "bedplate_update_phase",
                "1 for the phase that the update is in.",
                int(phase is state.phase),
                {"phase": phase.value},
            )
            for phase in Phase
        ),
        Sample("bedplate_update_last_check_timestamp_seconds", "The last check's time.", checked),
        Sample(
            "bedplate_update_failed", "1 if the last check failed.", int(bool(state.last_error))
        ),
        Sample("bedplate_update_rejected_versions", "Versions rejected.", len(state.rejected)),
        Sample("bedplate_update_trial_boots", "Boots of the release on trial.", build(view).tries),
        Sample("bedplate_update_done_bytes", "Of the step.", progress.done if progress else 0),
        Sample("bedplate_update_total_bytes", "Of the step.", progress.total if progress else 0),
        Sample(
            "bedplate_update_fetched_bytes",
            "Received by the update that is going on.",
            progress.fetched if progress else 0,
        ),
        Sample(
            "bedplate_healthy",
            "1 if this boot's health check passed.",
            int(view.health.health is Health.GOOD),
        ),
    ]


def coarse(status: Status) -> Status:
    """The status without what changes all the time: what a console need not be redrawn for."""
    step = status.progress
    tenths = step and Progress(step.step, 10 * step.done // max(1, step.total), step.total, 0)
    return replace(status, progress=tenths, last_check=None)


def _read(path: Path) -> Status | None:
    try:
        return parse(path.read_bytes())
    except (OSError, FormatError):
        return None


def restate(status_path: Path, notable_path: Path, decision: str) -> None:
    """Put another decision into the status that is published, if there is one.

    Raises:
        OSError: it cannot be written.
    """
    before = _read(status_path)
    if before is not None and before.decision != decision:
        write_atomic(status_path, render(replace(before, decision=decision)))
        write_atomic(notable_path, b"")


def publish(view: View, status_path: Path, metrics_path: Path, notable_path: Path) -> None:
    """Write the status and the metrics where others read them.

    `notable_path` is written when more than a few bytes of progress have changed: the console's
    unit watches it, and need not run for each percent. A host that is still starting has better
    things to do than to draw; if it goes on for long, the console's timer comes.
    """
    status = build(view)
    before = _read(status_path)
    for path, data in (
        (status_path, render(status)),
        (metrics_path, render_metrics(samples(view))),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    starting = status.health is Health.STARTING and status.progress is None
    if not starting and (before is None or coarse(before) != coarse(status)):
        write_atomic(notable_path, b"")
