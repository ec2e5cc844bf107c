"""systemd's kind of file: sections of `key=value` lines, systemd.syntax(7)."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Section:
    """One section; a key that is None is left out."""

    name: str
    lines: list[tuple[str, str]] = field(default_factory=list)

    def add(self, key: str, value: object) -> None:
        """A line, unless there is no value; True and False are systemd's yes and no."""
        if value is None:
            return
        shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        self.lines.append((key, shown))

    def each(self, key: str, values: Iterable[object]) -> None:
        """A line for each value."""
        for value in values:
            self.add(key, value)

    def joined(self, key: str, values: Iterable[object], by: str = " ") -> None:
        """One line with all values, if there are any."""
        if found := by.join(map(str, values)):
            self.add(key, found)


def as_text(sections: Iterable[Section]) -> str:
    """The text of a file: sections with at least one line, and an empty line between two."""
    parts = []
    for section in sections:
        if section.lines:
            lines = "".join(f"{key}={value}\n" for key, value in section.lines)
            parts.append(f"[{section.name}]\n{lines}")
    return "\n".join(parts)


def span(milliseconds: int | None) -> str | None:
    """A length of time as systemd.time(7) reads it."""
    if milliseconds is None:
        return None
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"
