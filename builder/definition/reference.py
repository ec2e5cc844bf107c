"""What is written about definitions for editors and for people, made from the model."""

import json
from collections.abc import Iterator

from hostkit.document.schema import Key, Kind, ListOf, MapOf, Section, keys

from builder.definition.model import SCHEMA, Definition

_INTRODUCTION = """\
# Image definitions

An image is defined in YAML. This page is generated from the model
(`bedplate definition schema --markdown`), so it lists every key there is.

```yaml
name: example
version: "1"
extends: base
packages:
  - tcpdump
files:
  - path: /usr/lib/motd
    content: |
      An example.
units:
  wanted:
    multi-user.target: [example.service]
update:
  server: https://updates.example.org
  channel: stable
  strategy: off
```

- `extends: base` adds to `base.yaml` beside the file. Lists are joined (the parent's first,
  doubles dropped), mappings are merged by key, anything else is replaced; a file replaces the
  parent's file of the same path whole. A key without a value takes an optional value of the
  parent away.
- Paths of sources, templates and folders are relative to the file that names them.
- Globs are relative to the image's root: `*` and `?` stay within one folder, `**` crosses folders.
- Sizes are `512MiB` (B, KiB, MiB, GiB, TiB) or bytes.
- Scalars follow YAML 1.2: `off`, `no` and `0644` are texts, only `true` and `false` are booleans.
  Anchors work; tags and merge keys do not.
- Templates are Jinja2 and see the `variables`, `image.name`, `image.version`,
  `image.architecture` and `image.suite`, and the sizes `disk.esp`, `disk.root` and `disk.verity`
  in bytes; an undefined name is an error.
- `bedplate definition validate FILE` reports every problem as `file:line:column: message`.
  `bedplate definition show FILE` prints the definition with all it extends.
- For an editor: `bedplate definition schema > bedplate.schema.json`, and in the YAML
  `# yaml-language-server: $schema=bedplate.schema.json`.
"""


def json_schema() -> dict[str, object]:
    """JSON Schema of one file; `extends` may supply what it lacks, so no key is required."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bedplate image definition",
        **SCHEMA.json_schema(),
    }


def to_plain(definition: Definition) -> dict[str, object]:
    """The merged definition as YAML or JSON values; loading it gives the same definition."""
    plain = SCHEMA.write(definition)
    assert isinstance(plain, dict)  # noqa: S101 (a section writes a mapping)
    plain.pop("extends", None)
    return plain


def markdown() -> str:
    """The reference page, docs/image-definition.md."""
    parts = [_INTRODUCTION, "## Keys\n", _table(Definition)]
    for name, section in _sections(Definition):
        parts += [f"## `{name}`\n", f"{section.model.__doc__}\n", _table(section.model)]
    return "\n".join(parts)


def _sections(model: type[object], prefix: str = "") -> Iterator[tuple[str, Section]]:
    seen: set[type[object]] = set()
    for name, known in keys(model).items():
        is_list = isinstance(known.kind, ListOf)
        inner = known.kind.item if isinstance(known.kind, ListOf) else known.kind
        if isinstance(inner, Section) and inner.model not in seen and not (prefix and is_list):
            seen.add(inner.model)
            yield f"{prefix}{name}" + ("[]" if is_list else ""), inner
            yield from _sections(inner.model, f"{prefix}{name}.")


def _table(model: type[object]) -> str:
    rows = ["| key | holds | default | meaning |", "|---|---|---|---|"]
    for name, known in keys(model).items():
        holds = _holds(known.kind).replace("|", "\\|")
        rows.append(f"| `{name}` | {holds} | {_default(known)} | {known.help} |")
    return "\n".join(rows) + "\n"


def _holds(kind: Kind) -> str:
    if isinstance(kind, ListOf):
        if isinstance(kind.item, Section):
            return f"list of mappings, see `{kind.item.model.__name__.lower()}s[]`"
        return f"list: {kind.item.label}"
    if isinstance(kind, MapOf):
        return f"mapping: {_holds(kind.value)}"
    if isinstance(kind, Section):
        return "see below"
    return kind.label


def _default(known: Key) -> str:
    if known.required:
        return "required"
    if known.default is None or isinstance(known.kind, Section) or not known.default:
        return ""
    value = known.kind.write(known.default)
    return f"`{value}`"


def as_json(value: dict[str, object]) -> str:
    """Canonical for the same value: sorted keys, two spaces, a final newline."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
