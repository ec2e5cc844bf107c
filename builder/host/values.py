"""A host's answers, made fit to be read: of the kinds that are expected, and printable. Pure.

What a host of another release leaves out is empty, and what it adds is passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from builder.fleet.safe import clean


@dataclass(frozen=True, slots=True)
class Values:
    """An object of JSON by its keys; every text is in one line that no terminal obeys."""

    of: Mapping[str, object] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """A text, a number or a truth as text; empty if there is none."""
        value = self.of.get(key)
        if isinstance(value, bool):
            return "yes" if value else "no"
        return clean(str(value)) if isinstance(value, str | int | float) else ""

    def number(self, key: str) -> float | None:
        """A number, None if there is none."""
        value = self.of.get(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def whole(self, key: str) -> int:
        """A whole number, 0 if there is none."""
        value = self.of.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def holds(self, key: str) -> bool:
        """Whether it is true."""
        return self.of.get(key) is True

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts of a list."""
        value = self.of.get(key)
        items = value if isinstance(value, list) else []
        return tuple(clean(str(each)) for each in items if isinstance(each, str | int | float))

    def join(self, key: str) -> str:
        """The texts of a list, with blanks between."""
        return " ".join(self.texts(key))

    def inner(self, key: str) -> Self | None:
        """The object at a key, None if there is none."""
        value = self.of.get(key)
        return type(self)(value) if isinstance(value, dict) else None

    def within(self, key: str) -> Self:
        """The object at a key, or an empty one."""
        return self.inner(key) or type(self)()

    def inners(self, key: str) -> tuple[Self, ...]:
        """The objects of a list."""
        value = self.of.get(key)
        items = value if isinstance(value, list) else []
        return tuple(type(self)(each) for each in items if isinstance(each, dict))

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """The texts of an object by their keys."""
        inner = self.within(key)
        return tuple((clean(str(name)), inner.text(name)) for name in inner.of)


def block(text: str) -> list[str]:
    """A text of several lines, each fit for a terminal; tabs are blanks."""
    return [clean(line) for line in text.expandtabs().split("\n")]


def printable(value: object) -> object:
    """A value of JSON for programs, whose texts keep their line ends and nothing else of control.

    JSON's own escapes begin at U+0020 only: a terminal obeys some of what is above.
    """
    match value:
        case str():
            return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in value)
        case dict():
            return {str(printable(str(key))): printable(each) for key, each in value.items()}
        case list():
            return [printable(each) for each in value]
        case _:
            return value
