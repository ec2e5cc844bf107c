"""Strict reading of small JSON documents: every surprise is refused, and the key is named."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from updater.errors import BedplateError
from updater.version import Version, VersionError

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_TIME_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


class FormatError(BedplateError):
    """A document is not what its format says; the message names the key."""


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose keys differ: a hook for `json.loads` that raises ValueError."""
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {double!r} is given twice")
    return result


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON number")


def render_time(moment: datetime) -> str:
    """`moment` (aware) as RFC 3339 in UTC with whole seconds: 2026-11-22T00:00:00Z."""
    return moment.astimezone(UTC).strftime(_TIME)


def render_json(document: object) -> bytes:
    """The one form in which we write documents: sorted, compact, ASCII, a final newline."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object whose keys are known to be the expected ones; `where` names it in errors."""

    values: dict[str, object]
    where: str

    @classmethod
    def parse(cls, data: bytes, where: str, keys: Iterable[str], maximum: int) -> Self:
        """Read a document of at most `maximum` bytes that is an object with exactly `keys`.

        Raises:
            FormatError: too long, no JSON, a key twice, missing or unknown.
        """
        if len(data) > maximum:
            raise FormatError(f"{where}: {len(data)} bytes, more than the {maximum} allowed")
        try:
            document = json.loads(
                data.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=_no_constant
            )
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{where}: no valid JSON: {error}") from error
        return cls.of(document, where, keys)

    @classmethod
    def of(cls, value: object, where: str, keys: Iterable[str]) -> Self:
        """Take `value` for an object with exactly `keys`."""
        if not isinstance(value, dict):
            raise FormatError(f"{where}: expected an object, got {type(value).__name__}")
        expected = set(keys)
        for key in value:
            if key not in expected:
                known = ", ".join(sorted(expected))
                raise FormatError(f"{where}: unknown key {key!r}; known are {known}")
        for key in sorted(expected):
            if key not in value:
                raise FormatError(f"{where}: key {key!r} is missing")
        return cls(value, where)

    def error(self, key: str, expected: str) -> FormatError:
        """The error for `key`: what was expected, and what is there."""
        found = repr(self.values[key])
        if len(found) > 80:
            found = found[:77] + "..."
        return FormatError(f"{self.where}: key {key!r}: expected {expected}, got {found}")

    def text(self, key: str, pattern: str, expected: str) -> str:
        """A string that the whole of `pattern` (ASCII only) matches."""
        value = self.values[key]
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise self.error(key, expected)
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer in [low, high]; a bool or a float is none."""
        value = self.values[key]
        if type(value) is not int or not low <= value <= high:
            raise self.error(key, f"an integer from {low} to {high}")
        return value

    def version(self, key: str) -> Version:
        """A `Version`."""
        value = self.values[key]
        try:
            return Version.parse(value if isinstance(value, str) else "")
        except VersionError:
            raise self.error(key, "a version such as 2026.11.1") from None

    def time(self, key: str) -> datetime:
        """An aware time in UTC, written as 2026-11-22T00:00:00Z."""
        value = self.text(key, _TIME_PATTERN.pattern, "a time such as 2026-11-22T00:00:00Z")
        try:
            return datetime.strptime(value, _TIME).replace(tzinfo=UTC)
        except ValueError:
            raise self.error(key, "a time such as 2026-11-22T00:00:00Z") from None

    def fields(self, key: str, keys: Iterable[str]) -> "Fields":
        """The object under `key`, with exactly `keys`."""
        return Fields.of(self.values[key], f"{self.where}: {key}", keys)

    def items(self, key: str, keys: Iterable[str], low: int, high: int) -> list["Fields"]:
        """The list under `key`: `low` to `high` objects, each with exactly `keys`."""
        value = self.values[key]
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise self.error(key, f"a list of {low} to {high} objects")
        names = list(keys)
        return [
            Fields.of(item, f"{self.where}: {key}[{number}]", names)
            for number, item in enumerate(value)
        ]
