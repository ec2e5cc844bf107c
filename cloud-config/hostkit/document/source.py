"""YAML text to a tree of nodes that know their line and column.

Scalars follow YAML 1.2's core schema (section 10.3.2), not PyYAML's 1.1: `off`, `no` and `0644`
are texts, so `strategy: off` means what it says. The tree is built from parser events, so
nesting and aliases are bounded before anything is expanded.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from updater.errors import InputError

_T = TypeVar("_T")

DEPTH_LIMIT = 32  # nested collections
PROBLEM_LIMIT = 50  # problems shown at once

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what libyaml counts as the end of a line
# How all scalars begin that are no text; most are, and need no closer look.
_TYPED = re.compile(r"[-+.0-9~nNtTfF]|\Z")
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,2})?")

_FORBIDDEN = re.compile("[\0\ud800-\udfff]")  # no path and no UTF-8 file can hold these
# What is not in YAML 1.2, section 5.1, "c-printable": the class of what is in it takes as long to
# compile as a module to import.
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a document may cost before anything of it is looked at."""

    length: int = 256 << 10  # bytes
    nodes: int = 20_000  # each alias counted with all it stands for


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; line and column count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class DocumentError(InputError):
    """A document is wrong; holds every problem found, a line each, and what it was warned of."""

    def __init__(self, problems: Iterable[Problem], warnings: Iterable[Problem] = ()) -> None:
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        lines = [str(problem) for problem in self.problems[:PROBLEM_LIMIT]]
        if len(self.problems) > PROBLEM_LIMIT:
            lines.append(f"... and {len(self.problems) - PROBLEM_LIMIT} more")
        super().__init__("\n".join(lines))


class ScalarKind(Enum):
    """What a scalar is, named as a message names it."""

    TEXT = "text"
    INTEGER = "a whole number"
    FLOAT = "a number"
    BOOLEAN = "true or false"
    NULL = "nothing"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; `text` is as written, so 1.10 stays "1.10"."""

    place: Place
    kind: ScalarKind
    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping and its value."""

    key: Scalar
    value: "Node"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping; no key stands twice."""

    place: Place
    entries: tuple[Entry, ...]


Node = Scalar | Sequence | Mapping
LIMITS = Limits()


def parse(
    text: str, file: Path, limits: Limits = LIMITS, doubles: list[Problem] | None = None
) -> Node:
    """The one YAML document in `text`; `file` is named in places.

    Keys that stand twice are added to `doubles`, if that is given, and only the first one counts.

    Raises:
        DocumentError: no YAML, more than one document, or beyond a limit of this module.
    """
    return _composed(text, file, limits, _Composer.document, doubles)


def parse_stream(text: str, file: Path, limits: Limits = LIMITS) -> tuple[Node, ...]:
    """The YAML documents in `text`, any number of them; the limits are for all together.

    Raises:
        DocumentError: no YAML, or beyond a limit of this module.
    """
    return _composed(text, file, limits, lambda composer: tuple(composer.documents()))


def _composed(
    text: str,
    file: Path,
    limits: Limits,
    work: Callable[["_Composer"], _T],
    doubles: list[Problem] | None = None,
) -> _T:
    start = Place(file, 1, 1)
    if bad := _UNPRINTABLE.search(text):
        message = f"not YAML: the character U+{ord(bad.group()):04X} is not allowed"
        raise DocumentError([Problem(_place_of(text, bad.start(), file), message)])
    found: list[Problem] = []
    try:
        made = work(_Composer(text, file, limits, found))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else start
        words = " ".join(filter(None, (error.context, error.problem)))
        raise DocumentError([*found, Problem(place, f"not YAML: {words}")]) from None
    except yaml.YAMLError as error:
        raise DocumentError([*found, Problem(start, f"not YAML: {error}")]) from None
    if doubles is None and found:
        raise DocumentError(found)
    if doubles is not None:
        doubles += found
    return made


def read(file: Path, limits: Limits = LIMITS) -> Node:
    """The YAML document in `file`, UTF-8.

    Raises:
        DocumentError: as for `parse`, or the file is too long or not UTF-8.
        InputError: the file is missing or cannot be read.
    """
    return parse(decode(read_bytes(file, limits), file, limits), file, limits)


def read_bytes(file: Path, limits: Limits = LIMITS) -> bytes:
    """What is in `file`, or its beginning where it is longer than it may be.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(limits.length + 1)
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{file}: cannot be read: {reason}") from None


def decode(data: bytes, file: Path, limits: Limits = LIMITS) -> str:
    """The text of a document.

    Raises:
        DocumentError: it is too long, or not UTF-8.
    """
    if len(data) > limits.length:
        message = f"longer than the {limits.length} bytes that it may have"
        raise DocumentError([Problem(Place(file, 1, 1), message)])
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        place = _place_of(before, len(before), file)
        raise DocumentError([Problem(place, "not UTF-8")]) from None


def _place_of(text: str, position: int, file: Path) -> Place:
    before = _BREAK.split(text[:position])
    return Place(file, len(before), len(before[-1]) + 1)


def scalar_kind(text: str) -> ScalarKind:
    """What an unquoted scalar is by YAML 1.2's core schema."""
    if not _TYPED.match(text):
        return ScalarKind.TEXT
    for kind, pattern in (
        (ScalarKind.NULL, _NULL),
        (ScalarKind.BOOLEAN, _BOOLEAN),
        (ScalarKind.INTEGER, _INTEGER),
        (ScalarKind.FLOAT, _FLOAT),
    ):
        if pattern.fullmatch(text):
            # A leading zero is a file mode or a serial number, never a decimal.
            zero = kind is ScalarKind.INTEGER and len(text) > 1 and text.lstrip("+-")[0] == "0"
            return ScalarKind.TEXT if zero else kind
    return ScalarKind.TEXT


def shown(text: str) -> str:
    """A value as a message quotes it: one line, printable, not endless, without a password."""
    before, sign, after = text.rpartition("@")
    if sign and ":" in before:  # the user and password of a URL
        text = f"...@{after}"
    short = text if len(text) <= 60 else text[:57] + "..."
    return "'" + "".join(char if char.isprintable() else "?" for char in short) + "'"


def height(node: Node) -> int:
    """How many collections deep a node goes; a scalar goes 0 deep."""
    if isinstance(node, Scalar):
        return 0
    if isinstance(node, Sequence):
        return 1 + max(map(height, node.items), default=0)
    return 1 + max((height(entry.value) for entry in node.entries), default=0)


class _Composer:
    """Builds nodes from events; the only state is the anchors seen and the nodes counted.

    Keys that stand twice are added to `doubles`.
    """

    def __init__(self, text: str, file: Path, limits: Limits, doubles: list[Problem]) -> None:
        # PyYAML's stubs do not type the parser, nor what each kind of event carries.
        loader: Any = yaml.CSafeLoader(text)
        self._next: Callable[[], Any] = loader.get_event
        self._file = file
        self._limits = limits
        self._doubles = doubles
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._count = 0

    def document(self) -> Node:
        self._next()  # the start of the stream
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise DocumentError([Problem(Place(self._file, 1, 1), "the file is empty")])
        node = self._node(self._next(), 0)
        self._next()  # the end of the document
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error(after, "a second YAML document; a file holds one")
        return node

    def documents(self) -> Iterator[Node]:
        self._next()  # the start of the stream
        while not isinstance(self._next(), yaml.StreamEndEvent):
            self._anchors.clear()  # each document has its own: YAML 1.2, section 9.2
            yield self._node(self._next(), 0)
            self._next()  # the end of the document

    def _place(self, event: Any) -> Place:  # noqa: ANN401 (see above)
        mark = event.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1)

    def _error(self, event: Any, message: str) -> DocumentError:  # noqa: ANN401
        return DocumentError([*self._doubles, Problem(self._place(event), message)])

    def _spend(self, event: Any, nodes: int) -> None:  # noqa: ANN401
        self._count += nodes
        if self._count > self._limits.nodes:
            message = f"more than {self._limits.nodes} values, aliases included"
            raise self._error(event, message)

    def _check_depth(self, event: Any, depth: int) -> None:  # noqa: ANN401
        if depth > DEPTH_LIMIT:
            raise self._error(event, f"nested deeper than {DEPTH_LIMIT} levels")

    def _node(self, event: Any, depth: int) -> Node:  # noqa: ANN401
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None:
            # It may be a secret that begins with `!`, so it is not shown.
            raise self._error(
                event, "a tag, which nothing here has; quote a text that begins with !"
            )
        self._check_depth(event, depth)
        before = self._count
        self._spend(event, 1)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            if bad := _FORBIDDEN.search(event.value):
                code = f"U+{ord(bad.group()):04X}"
                raise self._error(event, f"the character {code} is not allowed")
            kind = ScalarKind.TEXT if event.style else scalar_kind(event.value)
            node = Scalar(self._place(event), kind, event.value)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        if event.anchor is not None:
            # Known only once complete, so an alias inside its own anchor finds nothing.
            self._anchors[event.anchor] = (node, self._count - before)
        return node

    def _alias(self, event: Any, depth: int) -> Node:  # noqa: ANN401
        name = event.anchor
        if name not in self._anchors:
            # It may be a secret that begins with `*`, so it is not shown.
            message = "an alias without an anchor before it; quote a text that begins with *"
            raise self._error(event, message)
        node, size = self._anchors[name]
        self._spend(event, size)
        self._check_depth(event, depth + height(node))
        return node

    def _sequence(self, start: Any, depth: int) -> Sequence:  # noqa: ANN401
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Sequence(self._place(start), tuple(items))

    def _mapping(self, start: Any, depth: int) -> Mapping:  # noqa: ANN401
        entries: dict[str, Entry] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise self._error(event, "a list or a mapping as a key; expected text")
            if key.text == "<<" and key.kind is ScalarKind.TEXT:
                raise self._error(event, "merge keys are not supported; write the keys out")
            if key.text in entries:
                first = entries[key.text].key.place
                message = f"the key {shown(key.text)} stands twice, first in line {first.line}"
                self._doubles.append(Problem(self._place(event), message))
            if isinstance(event, yaml.AliasEvent):  # it stands here, not where its anchor is
                key = replace(key, place=self._place(event))
            value = self._node(self._next(), depth + 1)
            entries.setdefault(key.text, Entry(key, value))
        return Mapping(self._place(start), tuple(entries.values()))
