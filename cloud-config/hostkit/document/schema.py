# ruff: noqa: D102 (what overrides a method of Kind is documented there)
"""The kinds of value a document holds: one table for checking, editors and the reference page.

A section is a frozen dataclass whose fields are declared with `key(...)`; everything else (what is
accepted, the JSON Schema, the documentation, how a document is shown) follows from that.
"""

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, field
from importlib import import_module
from typing import Any

from hostkit.document.source import Mapping as MappingNode
from hostkit.document.source import Node, Place, Problem, Scalar, ScalarKind, Sequence, shown

_KIND = "kind"
_HELP = "help"
_REQUIRED = "required"
_NAME = "name"
_ALL_BUT_THE_SAME = 0.85  # of difflib's ratio


class Wrong(Exception):  # noqa: N818 (never leaves this package: `Reading.fail` made it a Problem)
    """A value could not be read; the problem is noted already."""


@dataclass(slots=True)
class Reading:
    """One pass over a document: collects problems, so that all are reported at once."""

    partial: bool = False  # a parent or a child may hold the keys that are missing here
    as_coreos: bool = False  # `drop-ins` is `drop_ins`, and `true` may be a text
    # A number is no text, nothing may stand wherever nothing need be said, and what is refused may
    # stand there empty, as tools that write manifests have it.
    as_kubernetes: bool = False
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def note(self, place: Place, message: str) -> None:
        """Record a problem and go on."""
        self.problems.append(Problem(place, message))

    def warn(self, place: Place, message: str) -> None:
        """Say something that does not make the document wrong."""
        self.warnings.append(Problem(place, message))

    def fail(self, place: Place, message: str) -> Wrong:
        """Record a problem; raise what this returns to skip the value."""
        self.note(place, message)
        return Wrong()


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value, or to be warned of; `path` leads there by keys and positions."""

    message: str
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A kind within a kind: what a path adds for it, and where its JSON Schema stands.

    `path` is `.name` for a key, `[]` for an item, `.*` for any key, or nothing. `names` are those
    keys of a section that are not called in documents as their field is.
    """

    kind: "Kind"
    path: str
    pointer: tuple[str | int, ...]
    names: Mapping[str, str] = field(default_factory=dict)


class Kind(ABC):
    """A kind of value."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What it is, for people: "a size such as 512MiB"."""

    @property
    def secret(self) -> bool:
        """Whether no message and no repr may show a value of it."""
        return False

    @abstractmethod
    def read(self, node: Node, reading: Reading) -> Any:  # noqa: ANN401 (the field's own type)
        """The value of `node`; raises Wrong when it is noted as a problem."""

    @abstractmethod
    def json_schema(self) -> dict[str, object]:
        """JSON Schema (draft 2020-12) of what is accepted."""

    def write(self, value: Any) -> object:  # noqa: ANN401
        """The value as YAML or JSON would hold it; `read` of it gives `value` again."""
        return value

    def parts(self) -> tuple[Part, ...]:
        """The kinds that this one is made of."""
        return ()

    def text(self, node: Node, reading: Reading) -> str:
        """The text of a scalar; numbers are taken as they are written."""
        if not isinstance(node, Scalar):
            found = "a list" if isinstance(node, Sequence) else "a mapping"
            raise reading.fail(node.place, f"found {found}; expected {self.label}")
        if node.kind is ScalarKind.NULL:
            raise reading.fail(node.place, f"no value; expected {self.label}")
        if node.kind is ScalarKind.BOOLEAN and not reading.as_coreos:
            raise reading.fail(node.place, f"found the boolean {node.text}; expected {self.label}")
        if reading.as_kubernetes and node.kind in {ScalarKind.INTEGER, ScalarKind.FLOAT}:
            # As Kubernetes' own reader, to whom `1.10` without quotes is 1.1.
            raise reading.fail(node.place, f"found {node.kind.value}; quote it to make it a text")
        return node.text


@dataclass(frozen=True, slots=True)
class Later(Kind):
    """A kind that is imported when a document has a value of it, for large ones that few have.

    It is called `name` in `module`. No value of it is secret as a whole.
    """

    module: str
    name: str

    def find(self) -> Kind:
        """The kind itself."""
        found: Kind = getattr(import_module(self.module), self.name)
        return found

    @property
    def label(self) -> str:
        return self.find().label

    def read(self, node: Node, reading: Reading) -> Any:  # noqa: ANN401
        return self.find().read(node, reading)

    def json_schema(self) -> dict[str, object]:
        return self.find().json_schema()

    def write(self, value: Any) -> object:  # noqa: ANN401
        return self.find().write(value)

    def parts(self) -> tuple[Part, ...]:
        return self.find().parts()


def at_last(kind: Kind) -> Kind:
    """A kind, or what stands for it until later."""
    return kind.find() if isinstance(kind, Later) else kind


@dataclass(frozen=True, slots=True)
class ListOf(Kind):
    """A list, a tuple in the model; items with the same `identity` are the same item.

    In a definition doubles are what a child repeats; elsewhere equal items both count. `problems`
    looks at all items together; its paths begin with an item's position.
    """

    item: Kind
    identity: str | None = None
    problems: Callable[[tuple[Any, ...]], Iterable[Fault]] = lambda _: ()

    @property
    def label(self) -> str:
        return "a list"

    @property
    def secret(self) -> bool:
        return self.item.secret

    def read(self, node: Node, reading: Reading) -> tuple[Any, ...]:
        if not isinstance(node, Sequence):
            found = node.kind.value if isinstance(node, Scalar) else "a mapping"
            raise reading.fail(node.place, f"found {found}; expected a list: {self.item.label}")
        values: dict[object, Any] = {}
        # An item is whole: nothing of it can come from a parent or a child.
        whole = dataclasses.replace(reading, partial=False)
        right: list[tuple[Node, Any]] = []
        for item in node.items:
            try:
                value = self.item.read(item, whole)
            except Wrong:
                continue
            all_count = reading.as_coreos or reading.as_kubernetes
            same = len(values) if all_count and not self.identity else self._same(value)
            if same in values and (reading.partial or all_count):
                reading.note(item.place, f"{shown(str(same))} stands twice in this list")
            values[same] = value
            right.append((item, value))
        for fault in self.problems(tuple(value for _, value in right)):
            at, *within = fault.path
            reading.note(place_of(right[int(at)][0], within), fault.message)
        return tuple(values.values())

    def _same(self, value: object) -> str:
        return str(getattr(value, self.identity) if self.identity else value)

    def json_schema(self) -> dict[str, object]:
        return {"type": "array", "items": self.item.json_schema()}

    def parts(self) -> tuple[Part, ...]:
        return (Part(self.item, "[]", ("items",)),)

    def write(self, value: tuple[Any, ...]) -> object:
        return [self.item.write(item) for item in value]


@dataclass(frozen=True, slots=True)
class MapOf(Kind):
    """A mapping with free keys that match a pattern; `check` looks at all of them together."""

    pattern: str
    value: Kind
    check: Callable[[dict[str, Any]], str | None] = lambda _: None

    @property
    def label(self) -> str:
        return "a mapping"

    @property
    def secret(self) -> bool:
        return self.value.secret

    def read(self, node: Node, reading: Reading) -> dict[str, Any]:
        values = {}
        for entry in entries(node, self.label, reading):
            if not re.fullmatch(self.pattern, entry.key.text):
                message = f"{shown(entry.key.text)} is no key here; keys match {self.pattern}"
                reading.note(entry.key.place, message)
                continue
            try:
                values[entry.key.text] = self.value.read(entry.value, reading)
            except Wrong:
                continue
        if not reading.partial and (wrong := self.check(values)):
            raise reading.fail(node.place, wrong)
        return values

    def json_schema(self) -> dict[str, object]:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.pattern})$"},
            "additionalProperties": self.value.json_schema(),
        }

    def parts(self) -> tuple[Part, ...]:
        return (Part(self.value, ".*", ("additionalProperties",)),)

    def write(self, value: dict[str, Any]) -> object:
        return {name: self.value.write(item) for name, item in value.items()}


@dataclass(frozen=True, slots=True)
class Section(Kind):
    """A mapping with known keys: the fields of a dataclass; `check` looks at them together.

    `refused` and `ignored` are keys that other readers of such documents know, each with what to
    use instead: the former make a document wrong, the latter are warned of. `problems` are all
    that is wrong where `check` found nothing, each at its place; `cautions` are what there is to
    warn of in a section that is right.
    """

    model: type[Any]
    check: Callable[[Any], str | None] = lambda _: None
    refused: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    cautions: Callable[[Any], Iterable[Fault]] = lambda _: ()
    problems: Callable[[Any], Iterable[Fault]] = lambda _: ()

    @property
    def label(self) -> str:
        return "a mapping"

    def read(self, node: Node, reading: Reading) -> Any:  # noqa: ANN401
        before = len(reading.problems)
        known = keys(self.model)
        seen: set[str] = set()
        values: dict[str, Any] = {}
        for entry in entries(node, self.label, reading):
            name = entry.key.text.replace("-", "_") if reading.as_coreos else entry.key.text
            if name in seen:
                reading.note(entry.key.place, f"the key {shown(name)} stands twice")
            elif name not in known:
                if not (reading.as_kubernetes and name in self.refused and is_empty(entry.value)):
                    self._read_unknown(name, entry.key.place, reading)
            elif not (is_null(entry.value) and known[name].may_be_null(reading)):
                with suppress(Wrong):
                    values[name] = known[name].kind.read(entry.value, reading)
            seen.add(name)
        required = [name for name, known_key in known.items() if known_key.required]
        missing = [name for name in required if name not in seen]
        # A key that is not known may be a missing one, misspelt: one problem is enough of that.
        misspelt = seen - known.keys() - self.ignored.keys() - self.refused.keys()
        if missing and not reading.partial and not misspelt:
            reading.note(node.place, f"missing: {', '.join(missing)}")
        if len(reading.problems) > before:
            raise Wrong
        found = dict.fromkeys(missing) | values
        value = self.model(**{known[name].field: each for name, each in found.items()})
        if not reading.partial:
            self._judge(value, node, reading)
        for caution in self.cautions(value):
            reading.warn(place_of(node, caution.path), caution.message)
        return value

    def _judge(self, value: object, node: Node, reading: Reading) -> None:
        if wrong := self.check(value):
            raise reading.fail(node.place, wrong)
        faults = [*self.problems(value)]
        for fault in faults:
            reading.note(place_of(node, fault.path), fault.message)
        if faults:
            raise Wrong

    def _read_unknown(self, name: str, place: Place, reading: Reading) -> None:
        if name in self.ignored:
            reading.warn(place, f"{shown(name)} does nothing here: {self.ignored[name]}")
        elif name in self.refused:
            reading.note(place, f"{shown(name)} is not supported: {self.refused[name]}")
        else:
            reading.note(place, f"unknown key {shown(name)}{self._hint(name)}")

    def _hint(self, name: str) -> str:
        """The nearest known key; one that does not work here must be all but the same."""
        others = [*self.ignored, *self.refused]
        alike = [each for each in others if _likeness(name, each) >= _ALL_BUT_THE_SAME]
        return nearest(name, [*keys(self.model), *alike])

    def json_schema(self) -> dict[str, object]:
        known = keys(self.model)
        schema: dict[str, object] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                name: known_key.kind.json_schema() | {"description": known_key.help}
                for name, known_key in known.items()
            },
        }
        return schema

    def parts(self) -> tuple[Part, ...]:
        return tuple(
            Part(known_key.kind, f".{name}", ("properties", name))
            for name, known_key in keys(self.model).items()
        )

    def write(self, value: object) -> object:
        return {
            name: known_key.kind.write(found)
            for name, known_key in keys(self.model).items()
            if (found := getattr(value, known_key.field)) is not None
        }


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section."""

    kind: Kind
    help: str
    required: bool
    default: object  # None for a required key
    field: str  # the model's

    @property
    def optional(self) -> bool:
        """Whether nothing is a value too; a child takes its parent's value away with it."""
        return self.default is None and not self.required

    def may_be_null(self, reading: Reading) -> bool:
        """Whether nothing may stand there; in a definition only where it is a value too."""
        anywhere = reading.as_coreos or reading.as_kubernetes
        return self.optional or (anywhere and not self.required)


def key(
    kind: Kind,
    help: str,  # noqa: A002 (argparse's word for the same thing)
    *,
    default: object = MISSING,
    name: str | None = None,
) -> Any:  # noqa: ANN401 (dataclasses.field is declared like this)
    """Declare a field of a section; without a default the key is required.

    `name` is what documents call it where that is not the field's name.
    """
    metadata = {_KIND: kind, _HELP: help, _REQUIRED: default is MISSING, _NAME: name}
    if default is MISSING:
        return field(metadata=metadata, repr=not kind.secret)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata, repr=not kind.secret)
    return field(default=default, metadata=metadata, repr=not kind.secret)


_known: dict[type[Any], Mapping[str, Key]] = {}  # each model is looked at once


def keys(model: type[Any]) -> Mapping[str, Key]:
    """The keys of a section by their names in documents, in the order of the dataclass."""
    if model in _known:
        return _known[model]
    found = {}
    for item in dataclasses.fields(model):
        required = item.metadata[_REQUIRED]
        default: object = None if required else item.default
        found[item.metadata[_NAME] or item.name] = Key(
            kind=item.metadata[_KIND],
            help=item.metadata[_HELP],
            required=required,
            default={} if default is MISSING else default,
            field=item.name,
        )
    _known[model] = found
    return found


def entries(node: Node, label: str, reading: Reading) -> tuple[Any, ...]:
    """The entries of a mapping; raises Wrong when `node` is none."""
    if isinstance(node, MappingNode):
        return node.entries
    found = node.kind.value if isinstance(node, Scalar) else "a list"
    raise reading.fail(node.place, f"found {found}; expected {label}")


def is_null(node: Node) -> bool:
    """Whether a node is YAML's null: `key:` with nothing after it, or `~`."""
    return isinstance(node, Scalar) and node.kind is ScalarKind.NULL


def is_empty(node: Node) -> bool:
    """Whether a node says nothing: null, or a list or a mapping of nothing."""
    if isinstance(node, Scalar):
        return is_null(node)
    return not (node.items if isinstance(node, Sequence) else node.entries)


def place_of(node: Node, path: Iterable[str | int]) -> Place:
    """Where the end of a path stands below `node`, or as much of the way as a document has.

    That is the place of a scalar, of an item, or of the key of what is larger. Keys may be written
    as CoreOS did.
    """
    place = node.place
    for part in path:
        if isinstance(node, MappingNode):
            spellings = {entry.key.text.replace("-", "_"): entry for entry in node.entries}
            spellings |= {entry.key.text: entry for entry in node.entries}
            if part not in spellings:
                break
            place, node = spellings[str(part)].key.place, spellings[str(part)].value
            if isinstance(node, Scalar):
                place = node.place
        elif isinstance(node, Sequence) and isinstance(part, int):
            node = node.items[part]
            place = node.place
        else:
            break
    return place


def _likeness(word: str, other: str) -> float:
    """From 0 to 1, whatever the case."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - for what is wrong only

    return SequenceMatcher(None, word[:64].lower(), other.lower()).ratio()


def nearest(word: str, known: list[str]) -> str:
    """A hint for a typo: "; did you mean 'packages'?", or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - for what is wrong only

    matches = get_close_matches(word[:64], known, n=1)
    return f"; did you mean '{matches[0]}'?" if matches else ""
