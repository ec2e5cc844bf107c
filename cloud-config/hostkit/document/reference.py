"""What a schema says of itself: tables of its keys for people, JSON Schema for editors."""

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import Key, Kind, Part, Section, at_last, keys

Pointer = tuple[str | int, ...]
Paths = Mapping[type[object], str]  # where each model stands first, such as `coreos.units[]`


@dataclass(frozen=True, slots=True)
class Found:
    """A kind within a schema: its path in a document, and where its JSON Schema stands."""

    kind: Kind
    path: str
    pointer: Pointer
    names: Mapping[str, str]  # of keys that are not called as their field is


def walk(kind: Kind) -> Iterator[Found]:
    """A kind and all that it is made of, outermost first, in the order of the model."""
    yield from _walk(Part(kind, "", ()), "", ())


def _walk(part: Part, path: str, pointer: Pointer) -> Iterator[Found]:
    pointer, kind = (*pointer, *part.pointer), at_last(part.kind)
    yield Found(kind, path.removeprefix("."), pointer, part.names)
    for inner in kind.parts():
        name = part.names.get(inner.path.removeprefix("."))
        yield from _walk(inner, path + (f".{name}" if name else inner.path), pointer)


def tables(schema: Section) -> str:
    """Markdown: the keys of a schema, then those of each section in it; each model stands once."""
    sections: dict[type[object], tuple[Found, Section]] = {}
    for found in walk(schema):
        if isinstance(found.kind, Section):
            sections.setdefault(found.kind.model, (found, found.kind))
    paths = {model: found.path for model, (found, _) in sections.items()}
    parts = []
    for found, section in sections.values():
        if section is schema:
            parts += ["## Keys\n"]
        else:
            about = inspect.cleandoc(section.model.__doc__ or "")
            parts += [f"## `{found.path}`\n", f"{about}\n"]
        parts += _section_tables(found, section, paths)
    return "\n".join(parts)


def _section_tables(found: Found, section: Section, paths: Paths) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for field, known in keys(section.model).items():
        name = found.names.get(field, field)
        holds = _key_holds(f"{found.path}.{name}".removeprefix("."), known, paths)
        rows.append((f"`{name}`", holds, _default(known), known.help))
    parts = [_table(("key", "holds", "default", "meaning"), rows)]
    if section.refused:
        parts += ["Keys of other systems that are refused, and what to use:\n"]
        parts += [_table(("key", "instead"), _by_reason(section.refused))]
    if section.ignored:
        parts += ["Keys of other systems that do nothing here, with a warning:\n"]
        parts += [_table(("key", "because"), _by_reason(section.ignored))]
    return parts


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_reason(others: Mapping[str, str]) -> list[tuple[str, ...]]:
    names: dict[str, list[str]] = {}
    for name, reason in others.items():
        names.setdefault(reason, []).append(f"`{name}`")
    return [(", ".join(group), reason) for reason, group in names.items()]


def _key_holds(path: str, known: Key, paths: Paths) -> str:
    kind = at_last(known.kind)
    if isinstance(kind, Section) and paths[kind.model] == path:
        return "see below"
    return _holds(kind, paths)


def _holds(kind: Kind, paths: Paths) -> str:
    if isinstance(kind, Section):
        return f"a mapping, see `{paths[kind.model]}`"
    return "; or ".join(_part_holds(part, paths) for part in kind.parts()) or kind.label


def _part_holds(part: Part, paths: Paths) -> str:
    within = {"[]": "list", ".*": "mapping"}.get(part.path)
    holds = _holds(part.kind, paths)
    if within is None:
        return holds
    if holds.startswith("a mapping, "):
        return f"{within} of {holds.replace('a mapping', 'mappings', 1)}"
    return f"{within}: {holds}"


def _default(known: Key) -> str:
    if known.required:
        return "required"
    if isinstance(known.default, bool):
        return f"`{str(known.default).lower()}`"
    if known.default is None or isinstance(known.kind, Section) or not known.default:
        return ""
    return f"`{known.kind.write(known.default)}`"


def json_schema(
    schema: Section, title: str, *, partial: bool = False, as_coreos: bool = False
) -> dict[str, object]:
    """JSON Schema (draft 2020-12) of a document, for readings with these flags."""
    whole = schema.json_schema()
    for found in walk(schema):
        at = _resolve(whole, found.pointer)
        if isinstance(found.kind, Section):
            _add_others(at, found.kind)
            if not partial:
                _add_required(at, found.kind)
            if as_coreos:
                _add_dashes(at, found)
        elif as_coreos:
            _add_booleans(at, found.kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **whole}


def _resolve(whole: Any, pointer: Pointer) -> Any:  # noqa: ANN401 (JSON is of any type)
    for part in pointer:
        whole = whole[part]
    return whole


def _add_others(at: dict[str, Any], section: Section) -> None:
    """An editor shows the description of a key under the pointer, and strikes out old ones."""
    for name, instead in section.refused.items():
        at["properties"][name] = {"not": {}, "description": f"Not supported: {instead}."}
    for name, reason in section.ignored.items():
        at["properties"][name] = {"deprecated": True, "description": f"Does nothing: {reason}."}


def _add_required(at: dict[str, Any], section: Section) -> None:
    # A name with an underscore has a second spelling, so none is required.
    names = [name for name, known in keys(section.model).items() if known.required]
    if names := [name for name in names if "_" not in name]:
        at["required"] = names


def _add_dashes(at: dict[str, Any], found: Found) -> None:
    """CoreOS's other spelling of each key, which is a reference to the first."""
    base = "".join(f"/{part}" for part in (*found.pointer, "properties"))
    for name in [name for name in at["properties"] if "_" in name]:
        at["properties"][name.replace("_", "-")] = {"$ref": f"#{base}/{name}"}


def _add_booleans(at: dict[str, Any], kind: Kind) -> None:
    """Editors take `true` for a boolean, where the reading takes it for a text."""
    words = {"true": True, "false": False}
    if isinstance(kind, Choice):
        at["enum"] += [words[option] for option in at["enum"] if option in words]
    elif isinstance(kind, Text) and kind.matches("true"):
        at["type"] += ["boolean"]


def as_json(value: Mapping[str, object]) -> str:
    """Canonical for the same value: sorted keys, two spaces, a final newline."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
