"""What came of a verb on one host."""

from collections.abc import Mapping
from dataclasses import dataclass

from builder.host.pages import VIEWS, Page
from builder.host.values import Values, printable

OK = "ok"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer for programs, for people, and as one line among many hosts.

    `verdict` is how it is counted among many; any but "ok" makes the exit status `code`.
    """

    document: Mapping[str, object]
    page: Page
    line: str
    verdict: str = OK
    code: int = 0


def outcome(view: str, document: Mapping[str, object], verdict: str = OK, code: int = 0) -> Outcome:
    """An answer as the view of that name shows it."""
    found, shown = Values(document), VIEWS[view]
    plain = {str(key): printable(value) for key, value in document.items()}
    return Outcome(plain, shown.page(found), shown.line(found), verdict, code)


def said(line: str, **more: object) -> Outcome:
    """One sentence; `more` is for programs."""
    return Outcome({"schema": 1, "done": line, **more}, ([line],), line)
