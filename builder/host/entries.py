"""Entries of a host's journal as lines, in journalctl's short-iso form (journalctl(1)). Pure."""

import re
from collections.abc import Mapping

from builder.fleet.safe import clean
from builder.host.values import Values, block

_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,6})?(Z|\+00:00)", re.ASCII
)
# As journalctl colours them: errors and worse, warnings, and what is for debugging.
_ERROR, _WARNING, _DEBUG, _PLAIN = "\x1b[1;31m", "\x1b[1;33m", "\x1b[2m", "\x1b[0m"


def lines(entry: Mapping[str, object], host: str, *, colour: bool = False) -> list[str]:
    """An entry as a line, and one more for each further line of its message.

    Nothing that the host wrote is obeyed by a terminal.

    Args:
        entry: as the API gives it.
        host: whose it is.
        colour: mark how grave it is.
    """
    found = Values(entry)
    message = entry.get("message")
    first, *more = block(message if isinstance(message, str) else "")
    head = f"{_time(found)} {clean(host)} {_source(found)}: "
    before, after = _colours(found.number("priority")) if colour else ("", "")
    return [f"{before}{text}{after}" for text in (head + first, *(f"    {each}" for each in more))]


def _time(found: Values) -> str:
    """In whole seconds, and in UTC: hosts are in many places."""
    text = found.text("time")
    parts = _TIME.fullmatch(text)
    return f"{parts[1]}+00:00" if parts else text or "no time"


def _source(found: Values) -> str:
    """Who wrote it: the container of a pod, or the program, or the unit; and its process."""
    name = found.text("identifier") or found.text("unit") or "unknown"
    if pod := found.text("pod"):
        name = "/".join(filter(None, (pod, found.text("container"))))
    pid = found.text("pid")
    return f"{name}[{pid}]" if pid else name


def _colours(priority: float | None) -> tuple[str, str]:
    if priority is None or 4 < priority < 7:
        return "", ""
    if priority <= 3:
        return _ERROR, _PLAIN
    return (_WARNING if priority == 4 else _DEBUG), _PLAIN
