"""An entry of the journal as the API tells it. Pure.

The fields are those of systemd.journal-fields(7) and of conmon, which logs for podman's containers
(ctr_logging.c): CONTAINER_NAME is podman's name of the container, CONTAINER_TAG its pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hostapi.reader import Entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = 1 << 14  # characters of a message; conmon cuts lines of containers at half of that
_INFO = 6
_LAST = 253_402_300_799_999_999  # microseconds since 1970: the end of the year 9999
_CUT = "…"


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod, by the names that the manifest has for them."""

    pod: str
    name: str


def text(entry: Entry, field: str) -> str | None:
    """A field as text; the first where there are more, with U+FFFD for what is not UTF-8."""
    value = entry.get(field)
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if value is None else str(value)


def number(entry: Entry, field: str) -> int | None:
    """A field as a number of up to 18 digits, if it is one."""
    found = text(entry, field)
    if found is None or not (found.isascii() and found.isdecimal() and len(found) <= 18):
        return None
    return int(found)


def microseconds(entry: Entry) -> int:
    """When the journal got it, since 1970."""
    return number(entry, "__REALTIME_TIMESTAMP") or 0


def rfc3339(since_epoch: int) -> str:
    """Microseconds since 1970 as RFC 3339, in UTC."""
    moment = _EPOCH + timedelta(microseconds=min(since_epoch, _LAST))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def container_of(entry: Entry, known: Mapping[str, Container]) -> Container | None:
    """The container that wrote it; None if it was none of a pod's.

    Args:
        entry: of the journal.
        known: containers by podman's names, for what was played without a tag.
    """
    name = text(entry, "CONTAINER_NAME")
    if name is None:
        return None
    pod = text(entry, "CONTAINER_TAG")
    if pod is not None and name.startswith(f"{pod}-"):
        return Container(pod, name.removeprefix(f"{pod}-"))
    return known.get(name)


def to_plain(entry: Entry, known: Mapping[str, Container]) -> dict[str, object]:
    """The entry as JSON values.

    A message longer than `LONGEST` characters is cut there and ends with an ellipsis. It may hold
    control characters, which a terminal must not be given. "container" alone is podman's name of
    one that is in no pod.
    """
    message = text(entry, "MESSAGE") or ""
    priority = number(entry, "PRIORITY")
    pid = number(entry, "_PID")
    # What the service manager says of a unit is of that unit, as for `journalctl --unit`.
    told_of = text(entry, "UNIT") if pid == 1 else None
    found: dict[str, object] = {
        "time": rfc3339(microseconds(entry)),
        "priority": _INFO if priority is None or priority > 7 else priority,
        "unit": told_of or text(entry, "_SYSTEMD_UNIT"),
        "identifier": text(entry, "SYSLOG_IDENTIFIER") or text(entry, "_COMM"),
        "pid": pid if pid is not None else number(entry, "SYSLOG_PID"),
        "message": message if len(message) <= LONGEST else message[: LONGEST - 1] + _CUT,
    }
    if container := container_of(entry, known):
        found |= {"pod": container.pod, "container": container.name}
    elif name := text(entry, "CONTAINER_NAME"):
        found["container"] = name
    return found | {"boot": text(entry, "_BOOT_ID")}
