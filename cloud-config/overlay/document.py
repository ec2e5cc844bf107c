"""JSON as Go reads it, since flannel is written in Go and reads the same documents.

Go's `encoding/json` takes a key in any case, the last of several, and null for "not given". What
is read here comes from etcd, where anyone with access may have written anything.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field


def read_object(text: bytes, longest: int) -> dict[str, object]:
    """A JSON object of at most `longest` bytes.

    Raises:
        ValueError: it is longer, or no JSON object; says so in words.
    """
    if len(text) > longest:
        raise ValueError(f"{len(text)} bytes, more than the {longest} allowed")
    try:
        document = json.loads(text.decode())
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError as error:
        raise ValueError(f"no valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, got {type(document).__name__}")  # noqa: TRY004
    return document


def named(values: Mapping[str, object], names: Collection[str]) -> dict[str, object]:
    """The values of these names, written in any case; null ones are left out."""
    known = {name.lower(): name for name in names}
    found = {known[key.lower()]: value for key, value in values.items() if key.lower() in known}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(slots=True)
class Reader:
    """Takes values out of an object and notes everything that is wrong with them.

    A value that is wrong is noted in `problems` and its default given, so that one reading finds
    all problems. `path` is what stands before each name, such as `Backend.`.
    """

    values: Mapping[str, object]
    path: str = ""
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def bad(self, name: str, expected: str) -> None:
        """Note that a value is not what it should be."""
        self.problems.append(f"{self.path}{name}: expected {expected}, got {self._shown(name)}")

    def _shown(self, name: str) -> str:
        return repr(self.values.get(name))[:80] if name != "PSK" else "something else"

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean; what is absent has the default."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            self.bad(name, "true or false")
            return default
        return value

    def number(self, name: str, low: int, high: int, default: int) -> int:
        """A whole number; 0 is the default, as an absent key is to Go."""
        value = self.values.get(name, 0)
        if value == 0 and not isinstance(value, bool):
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.bad(name, f"a whole number from {low} to {high}")
            return default
        return value

    def text(self, name: str) -> str:
        """A text; empty when it is not there."""
        value = self.values.get(name, "")
        if not isinstance(value, str):
            self.bad(name, "a text")
            return ""
        return value

    def inner(self, name: str, names: Collection[str]) -> "Reader":
        """What reads the object `name`, and notes its problems here."""
        value = self.values.get(name, {})
        if not isinstance(value, dict):
            self.bad(name, "an object")
            value = {}
        reader = Reader(named(value, names), f"{self.path}{name}.", self.problems, self.warnings)
        reader.warn_of_unknown(value, names)
        return reader

    def warn_of_unknown(self, values: Iterable[str], names: Collection[str]) -> None:
        """Note the names in `values` that are not known; flannel ignores them too."""
        known = {name.lower() for name in names}
        self.warnings += [
            f"{self.path}{name} is not known to this host and is ignored"
            for name in values
            if name.lower() not in known
        ]
