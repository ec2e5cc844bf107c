"""What the agent says of a host's configuration: a status document, and metrics."""

import json
from dataclasses import asdict, dataclass
from enum import Enum

from cloudconfig.places import Places
from updater.files import write_atomic
from updater.metrics import Sample, render_metrics


class InForce(Enum):
    """Which configuration the host has."""

    DOCUMENT = "document"
    LAST_GOOD = "last good document"
    DEFAULTS = "defaults"


@dataclass(frozen=True, slots=True)
class Tried:
    """One source, and why it was taken or not."""

    source: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """The status; `faults` are why the present document is not in force, or not wholly."""

    in_force: InForce
    source: str = ""
    reason: str = ""
    instance_id: str = ""
    digest: str = ""
    tried: tuple[Tried, ...] = ()
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    waiting_for: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the host has what its present document says."""
        return not self.faults


def publish(status: ConfigStatus, places: Places) -> None:
    """Write status and metrics.

    Raises:
        OSError: /run is full.
    """
    # Faults quote no values of a document, so anybody may read them who knows where; so the API.
    places.status.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    write_atomic(places.status, json.dumps(to_plain(status), indent=2).encode(), mode=0o644)
    places.metrics.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(places.metrics, render_metrics(_samples(status)))
    places.note.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(places.note, note(status).encode())


def to_plain(status: ConfigStatus) -> dict[str, object]:
    """The status as JSON values (schema 1)."""
    return {"schema": 1, **asdict(status), "in_force": status.in_force.value}


def note(status: ConfigStatus) -> str:
    """One line for the console."""
    found = status.in_force.value
    if status.in_force is InForce.DOCUMENT:
        found += f" from {status.source}"
    if status.waiting_for:
        found += f"; waits for {status.waiting_for[0]}"
    if status.faults:
        more = f" (and {len(status.faults) - 1} more)" if len(status.faults) > 1 else ""
        found += f"; fault: {status.faults[0]}{more}"
    return found


def read(places: Places) -> ConfigStatus | None:
    """The published status; None if there is none."""
    try:
        found = json.loads(places.status.read_bytes())
        return ConfigStatus(
            in_force=InForce(found["in_force"]),
            source=str(found["source"]),
            reason=str(found["reason"]),
            instance_id=str(found["instance_id"]),
            digest=str(found["digest"]),
            tried=tuple(Tried(**each) for each in found["tried"]),
            faults=tuple(map(str, found["faults"])),
            warnings=tuple(map(str, found["warnings"])),
            waiting_for=tuple(map(str, found["waiting_for"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lines(status: ConfigStatus) -> list[str]:
    """The status for people."""
    found = [
        f"in force     {status.in_force.value}",
        f"source       {status.source or 'none'}" + (f": {status.reason}" if status.reason else ""),
        f"instance     {status.instance_id or 'none'}",
        f"document     {status.digest or 'none'}",
    ]
    found += [f"fault        {line}" for line in status.faults]
    found += [f"warning      {line}" for line in status.warnings]
    found += [f"waiting for  {line}" for line in status.waiting_for]
    return found + [f"tried        {each.source}: {each.outcome}" for each in status.tried]


def _samples(status: ConfigStatus) -> list[Sample]:
    name = "bedplate_config_in_force"
    text = "Which configuration is in force: 1 for that one."
    return [
        Sample(
            "bedplate_config_good",
            "1 if the host has what its present document says.",
            float(status.good),
        ),
        *(
            Sample(name, text, float(status.in_force is each), {"configuration": each.value})
            for each in InForce
        ),
        Sample("bedplate_config_faults", "Faults of the document.", len(status.faults)),
        Sample("bedplate_config_warnings", "Warnings of the document.", len(status.warnings)),
    ]
