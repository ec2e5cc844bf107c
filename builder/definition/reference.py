"""What is written about definitions for editors and for people, made from the model."""

from builder.definition.model import SCHEMA, Definition
from hostkit.document import reference

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
    return reference.json_schema(SCHEMA, "Bedplate image definition", partial=True)


def to_plain(definition: Definition) -> dict[str, object]:
    """The merged definition as YAML or JSON values; loading it gives the same definition."""
    plain = SCHEMA.write(definition)
    assert isinstance(plain, dict)  # noqa: S101 (a section writes a mapping)
    plain.pop("extends", None)
    return plain


def markdown() -> str:
    """The reference page, docs/image-definition.md."""
    return f"{_INTRODUCTION}\n{reference.tables(SCHEMA)}"
