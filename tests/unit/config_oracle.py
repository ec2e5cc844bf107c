"""What must hold of any bytes that are read as a cloud-config; for tests and for `make fuzz`."""

import re
from pathlib import Path

from cloudconfig.document import Document, read_document
from hostkit.document.source import DocumentError, Problem

FILE = Path("user-data")
# YAML 1.1, section 4.1.4, which is what libyaml counts; a place may be just behind the end.
_BREAKS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


def outcome(data: bytes) -> Document | DocumentError:
    """What reading gives, with every place within the document; anything else is raised."""
    found: Document | DocumentError
    try:
        found = read_document(data, FILE)
    except DocumentError as error:
        found = error
    said = found.warnings
    if isinstance(found, DocumentError):
        assert found.problems
        said += found.problems
    _check_places(data, said)
    return found


def _check_places(data: bytes, problems: tuple[Problem, ...]) -> None:
    if data.startswith(b"\x1f\x8b"):
        return  # places are in what was unpacked
    lines = _BREAKS.split(data.decode("utf-8-sig", "replace"))
    for problem in problems:
        place = problem.place
        assert place.file == FILE
        assert 1 <= place.line <= len(lines) + 1, f"{problem} of {len(lines)} lines"
        line = lines[place.line - 1] if place.line <= len(lines) else ""
        assert 1 <= place.column <= len(line) + 1, f"{problem} in {line!r}"
        assert problem.message
        assert "\n" not in problem.message
