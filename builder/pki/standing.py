"""A document that stands already: new certificates take the place of the old ones, in it.

All its other lines are somebody's, and stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from builder.pki.errors import PkiInputError
from cloudconfig.document import LIMITS
from hostkit.document.source import Entry, Node, decode, parse, read_bytes
from hostkit.document.source import Mapping as Section

TRUSTED = ("ca",)
BROUGHT = ("ca", "certificate", "key")
_KEYS = (*BROUGHT, "crl")  # a document may do without a list


@dataclass(frozen=True, slots=True)
class _Value:
    """A key of `bedplate.api`, and the lines of its text: from `first` to before `last`."""

    key: str
    indent: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A document with the API's certificates; `values` are in the order of its lines."""

    path: Path
    lines: tuple[str, ...]
    values: tuple[_Value, ...]

    @classmethod
    def read(cls, path: Path, needed: tuple[str, ...]) -> Self:
        """Look where its certificates are, of which it has at least those `needed`.

        Raises:
            PkiInputError: one of them is not there, or not in lines of its own.
            InputError: it cannot be read, or is no YAML.
        """
        text = decode(read_bytes(path, LIMITS), path, LIMITS)
        lines = tuple(text.split("\n"))
        api = _inner(_inner(parse(text, path, LIMITS), "bedplate"), "api")
        found = {each.key.text: each for each in _entries(api) if each.key.text in _KEYS}
        if missing := [key for key in needed if key not in found]:
            raise PkiInputError(
                f"{path}: its bedplate.api has no {' and no '.join(missing)}; pki issue, renew and"
                " token write a document that has, by --snippet with a name that is not there yet"
            )
        return cls(path, lines, tuple(_value(each, lines) for each in found.values()))

    def with_texts(self, texts: Mapping[str, str]) -> str:
        """The document with these texts, by key; those of which it has no key are left out."""
        lines = list(self.lines)
        # From the end: the places before it hold.
        for each in reversed(self.values):
            if each.key in texts:
                lines[each.first : each.last] = block(each.key, texts[each.key], each.indent)
        return "\n".join(lines)


def block(key: str, text: str, indent: str = "") -> list[str]:
    """A key with a text of several lines, as YAML has them."""
    return [f"{indent}{key}: |", *(f"{indent}  {line}" for line in text.splitlines())]


def _entries(node: Node | None) -> tuple[Entry, ...]:
    return node.entries if isinstance(node, Section) else ()


def _inner(node: Node | None, key: str) -> Node | None:
    return next((each.value for each in _entries(node) if each.key.text == key), None)


def _value(entry: Entry, lines: tuple[str, ...]) -> _Value:
    key, place = entry.key.text, entry.key.place
    indent, first = " " * (place.column - 1), place.line - 1
    if not lines[first].startswith(f"{indent}{key}:"):
        raise PkiInputError(
            f"{place}: {key} stands among others in one line; give it lines of its own"
        )
    last = first + 1
    while last < len(lines) and (not lines[last].strip() or lines[last].startswith(f"{indent} ")):
        last += 1
    while not lines[last - 1].strip():
        last -= 1
    return _Value(key, indent, first, last)
