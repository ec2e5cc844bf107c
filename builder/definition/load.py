"""From files to one Definition: parents first, children over them, overrides last."""

import os
from collections.abc import Mapping as Options
from pathlib import Path

from builder.definition.model import SCHEMA, Definition
from hostkit.document.schema import ListOf, MapOf, Reading, Section, Wrong, keys, nearest
from hostkit.document.source import (
    DocumentError,
    Entry,
    Mapping,
    Node,
    Place,
    Problem,
    Scalar,
    ScalarKind,
    Sequence,
    parse,
    read,
    shown,
)

PARENTS_LIMIT = 16


def load(path: Path, *, overrides: Options[str, str] | None = None) -> Definition:
    """The definition in `path` with all it extends.

    `overrides` maps dotted keys ("version", "update.server", "packages") to YAML values; a text
    needs no quotes. They count as a last child. Lists are joined, mappings merged by key, and a
    later value replaces an earlier one; files of the same path replace one another whole.

    Raises:
        DocumentError: every problem of the documents, each with file, line and column.
        InputError: `path` itself cannot be read.
    """
    documents = [*_family(path), *_override_documents(overrides or {})]
    problems = []
    for document in documents:
        problems += _read(document, partial=True)[1]
    if problems:
        raise DocumentError(problems)
    merged = documents[0]
    for document in documents[1:]:
        merged = merge(merged, document)
    definition, problems = _read(merged, partial=False)
    if definition is None:
        raise DocumentError(problems)
    return definition


def merge(parent: Node, child: Node) -> Node:
    """`child` laid over `parent`; the result stands where the child stands."""
    if isinstance(parent, Mapping) and isinstance(child, Mapping):
        entries = {entry.key.text: entry for entry in parent.entries}
        for entry in child.entries:
            before = entries.get(entry.key.text)
            value = merge(before.value, entry.value) if before else entry.value
            entries[entry.key.text] = Entry(entry.key, value)
        return Mapping(child.place, tuple(entries.values()))
    if isinstance(parent, Sequence) and isinstance(child, Sequence):
        # Doubles go when the list is read: only there are two items known to be the same.
        return Sequence(child.place, parent.items + child.items)
    return child


def _read(document: Node, *, partial: bool) -> tuple[Definition | None, list[Problem]]:
    reading = Reading(partial=partial)
    try:
        definition: Definition = SCHEMA.read(document, reading)
    except Wrong:
        return None, reading.problems
    return definition, reading.problems


def _family(path: Path) -> list[Node]:
    """The documents of `path` and its parents, the oldest first."""
    documents = [read(path)]
    seen = {Path(os.path.normpath(path))}
    while (name := _extends(documents[0])) is not None:
        parent = _parent_path(name)
        if parent in seen:
            raise _error(name.place, f"extends {parent}, which extends this one in turn")
        if len(documents) >= PARENTS_LIMIT:
            raise _error(name.place, f"more than {PARENTS_LIMIT} definitions extend one another")
        seen.add(parent)
        documents.insert(0, read(parent))
    return documents


def _extends(document: Node) -> Scalar | None:
    if not isinstance(document, Mapping):
        return None
    for entry in document.entries:
        if entry.key.text == "extends" and isinstance(entry.value, Scalar):
            return entry.value if entry.value.kind is not ScalarKind.NULL else None
    return None


def _parent_path(name: Scalar) -> Path:
    folder = name.place.file.parent
    is_path = "/" in name.text or name.text.endswith((".yaml", ".yml"))
    path = folder / (name.text if is_path else f"{name.text}.yaml")
    try:
        found = path.is_file()
    except OSError:  # such as a name too long
        found = False
    if not found:
        raise _error(name.place, f"extends {shown(name.text)}, but there is no {shown(str(path))}")
    # Not resolved further: symbolic links may share one definition between folders.
    return Path(os.path.normpath(path))


def _error(place: Place, message: str) -> DocumentError:
    return DocumentError([Problem(place, message)])


def _override_documents(overrides: Options[str, str]) -> list[Node]:
    return [_override_document(name, value) for name, value in overrides.items()]


def _override_document(name: str, value: str) -> Node:
    """One override as the document that a child would write: {a: {b: value}}."""
    file = Path(f"override {name}")
    place = Place(file, 1, 1)
    node: Node = Scalar(place, ScalarKind.TEXT, value)
    if _is_collection(name, place):
        node = parse(value, file)
    elif name.startswith("update."):
        node = parse(value, file)  # of any type, so the text alone does not say which
    for part in reversed(name.split(".")):
        node = Mapping(place, (Entry(Scalar(place, ScalarKind.TEXT, part), node),))
    return node


def _is_collection(name: str, place: Place) -> bool:
    """Whether the key is a list or a mapping; scalars are taken as they are typed."""
    kind: object = SCHEMA
    for part in name.split("."):
        if isinstance(kind, MapOf):
            kind = kind.value
            continue
        known = keys(kind.model) if isinstance(kind, Section) else {}
        if part not in known:
            raise _error(place, f"unknown key '{part}'{nearest(part, list(known))}")
        kind = known[part].kind
    return isinstance(kind, ListOf | MapOf | Section)
