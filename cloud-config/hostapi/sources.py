"""What the server's own endpoints are read from, so that tests can give theirs."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from hostapi.contract import ENDPOINTS, Answer, Value

# Gives one answer; it may wait, and is called in a thread.
Whole = Callable[[], Mapping[str, object] | str]
# Gives the lines of a stream, on the event loop.
Lines = Callable[[Mapping[str, Value]], AsyncIterator[Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Sources:
    """One for each endpoint that is no act, by the endpoint's name."""

    whole: Mapping[str, Whole]
    lines: Mapping[str, Lines]

    def __post_init__(self) -> None:
        for each in ENDPOINTS:
            known = self.lines if each.answer is Answer.LINES else self.whole
            assert each.act or each.name in known, each.name  # noqa: S101 - a fault of ours
