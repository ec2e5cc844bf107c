# ruff: noqa: D102 (what overrides a method of Kind is documented there)
"""The kinds of single value: text, sizes, permissions, paths, choices."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from hostkit.document.schema import Kind, Reading, nearest
from hostkit.document.source import Mapping, Node, ScalarKind, Sequence, shown

SIZE_LIMIT = 1 << 62
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,12}) ?([A-Za-z]*)")
_PLAIN: dict[ScalarKind, Callable[[str], object]] = {
    ScalarKind.TEXT: str,
    ScalarKind.INTEGER: int,
    ScalarKind.FLOAT: float,
    ScalarKind.BOOLEAN: lambda text: text.lower() == "true",
    ScalarKind.NULL: lambda _: None,
}


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """Text that matches a pattern (Python and ECMAScript read it alike).

    No message shows a text that is `secret`.
    """

    what: str
    pattern: str = r"[\s\S]*"
    limit: int = 65536  # characters
    secret: bool = False

    @property
    def label(self) -> str:
        return self.what

    def read(self, node: Node, reading: Reading) -> str:
        text = self.text(node, reading)
        if len(text) > self.limit:
            message = f"{len(text)} characters; {self.what} has {self.limit} at most"
            raise reading.fail(node.place, message)
        if not self.matches(text):
            found = f"{shown(text)} is" if not self.secret else "this is"
            raise reading.fail(node.place, f"{found} not {self.what}")
        return text

    def matches(self, text: str) -> bool:
        """Whether the pattern allows `text`, however long."""
        return re.fullmatch(self.pattern, text) is not None

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "number"], "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class Parsed(Kind):
    """Text read by a function that raises ValueError or the errors it is said to raise.

    No message shows a text that is `secret`.
    """

    what: str
    parse: Callable[[str], Any]
    errors: tuple[type[Exception], ...] = (ValueError,)
    pattern: str | None = None
    secret: bool = False

    @property
    def label(self) -> str:
        return self.what

    def read(self, node: Node, reading: Reading) -> Any:  # noqa: ANN401
        text = self.text(node, reading)
        try:
            return self.parse(text)
        except self.errors:
            found = f"{shown(text)} is" if not self.secret else "this is"
            raise reading.fail(node.place, f"{found} not {self.what}") from None

    def json_schema(self) -> dict[str, object]:
        schema: dict[str, object] = {"type": ["string", "number"]}
        return schema | ({"pattern": f"^(?:{self.pattern})$"} if self.pattern else {})

    def write(self, value: object) -> object:
        return str(value)


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of a closed set, an Enum with text values."""

    options: type[Enum]

    @property
    def label(self) -> str:
        return "one of " + ", ".join(f"`{option.value}`" for option in self.options)

    def read(self, node: Node, reading: Reading) -> Enum:
        text = self.text(node, reading)
        for option in self.options:
            if option.value == text:
                return option
        names = [str(option.value) for option in self.options]
        message = f"{shown(text)} is not one of {', '.join(names)}{nearest(text, names)}"
        raise reading.fail(node.place, message)

    def json_schema(self) -> dict[str, object]:
        return {"enum": [option.value for option in self.options]}

    def write(self, value: Enum) -> object:
        return value.value


@dataclass(frozen=True, slots=True)
class Size(Kind):
    """Bytes: "512MiB" or a whole number; a multiple of `multiple`."""

    multiple: int = 1

    @property
    def label(self) -> str:
        of = f", a multiple of {format_bytes(self.multiple)}" if self.multiple > 1 else ""
        return f"a size such as 512MiB{of}"

    def read(self, node: Node, reading: Reading) -> int:
        text = self.text(node, reading)
        match = _SIZE.fullmatch(text)
        if not match:
            raise reading.fail(node.place, f"{shown(text)} is not {self.label}")
        digits, unit = match.groups()
        if unit not in _UNITS:
            hint = nearest(unit, list(_UNITS)) or f"; units are {', '.join(filter(None, _UNITS))}"
            raise reading.fail(node.place, f"the unit {shown(unit)} is not known{hint}")
        size = int(digits) * _UNITS[unit]
        if size > SIZE_LIMIT or size % self.multiple or size == 0:
            raise reading.fail(node.place, f"{shown(text)} is not {self.label}")
        return size

    def json_schema(self) -> dict[str, object]:
        units = "|".join(filter(None, _UNITS))
        return {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": f"^[0-9]{{1,12}} ?({units})?$"},
            ]
        }

    def write(self, value: int) -> object:
        return format_bytes(value)


class Mode(Kind):
    """File permissions in octal."""

    @property
    def label(self) -> str:
        return "permissions in octal such as 0644"

    def read(self, node: Node, reading: Reading) -> int:
        text = self.text(node, reading)
        if not re.fullmatch(r"0?[0-7]{3,4}", text):
            raise reading.fail(node.place, f"{shown(text)} is not {self.label}")
        return int(text, 8)

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "integer"], "pattern": "^0?[0-7]{3,4}$"}

    def write(self, value: int) -> object:
        return f"{value:04o}"


@dataclass(frozen=True, slots=True)
class LocalPath(Kind):
    """A file or a folder beside the definition, as an absolute path; it must exist."""

    folder: bool = False

    @property
    def label(self) -> str:
        what = "folder" if self.folder else "file"
        return f"the path of a {what}, relative to the file that names it"

    def read(self, node: Node, reading: Reading) -> Path:
        text = self.text(node, reading)
        path = node.place.file.absolute().parent / text
        try:
            found = path.is_dir() if self.folder else path.is_file()
        except OSError:  # such as a name too long
            found = False
        if not text or not found:
            what = "folder" if self.folder else "file"
            raise reading.fail(node.place, f"no {what} {shown(text)} at {path}")
        return path

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "minLength": 1}

    def write(self, value: Path) -> object:
        return str(value)


class Plain(Kind):
    """Anything YAML's core schema holds, as plain Python values."""

    @property
    def label(self) -> str:
        return "any value"

    def read(self, node: Node, reading: Reading) -> object:
        if isinstance(node, Sequence):
            return [self.read(item, reading) for item in node.items]
        if isinstance(node, Mapping):
            return {entry.key.text: self.read(entry.value, reading) for entry in node.entries}
        return _PLAIN[node.kind](node.text)

    def json_schema(self) -> dict[str, object]:
        return {}


def format_bytes(size: int) -> str:
    """Bytes exactly, in the largest unit that divides them: "512MiB"."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _UNITS[unit] and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
