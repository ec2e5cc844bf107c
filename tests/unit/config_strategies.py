"""Cloud-configs that are nearly right: made from the JSON Schema, and bent here and there."""

import json
from typing import Any

import yaml
from hypothesis import strategies as st

from cloudconfig.reference import json_schema

Schema = dict[str, Any]

_SCHEMA = json_schema()
_WORDS = ("", "off", "no", "0644", "14:00", "true", "~", "*a", "!x", "$private_ipv4", "a: b", "\0")
_LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(_WORDS)
_JUNK = st.recursive(
    _LEAF | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """The text of a document: some keys right, some wrong, some misspelt."""
    value = _value(draw, _SCHEMA)
    if draw(st.booleans()):
        body = json.dumps(value, ensure_ascii=False)
    else:
        body = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=1000)
    return f"#cloud-config\n{body}"


def _value(draw: st.DrawFn, schema: Schema) -> object:
    if "$ref" in schema:
        schema = _resolved(schema["$ref"])
    if draw(st.integers(0, 15)) == 0 or "not" in schema:
        return draw(_JUNK)
    if "anyOf" in schema:
        return _value(draw, draw(st.sampled_from(schema["anyOf"])))
    match schema.get("type"):
        case "object":
            return _mapping(draw, schema)
        case "array":
            return [_value(draw, schema["items"]) for _ in range(draw(st.integers(0, 3)))]
    return draw(_leaf(schema))


def _leaf(schema: Schema) -> st.SearchStrategy[object]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("type") == "integer":
        return st.integers(schema.get("minimum"), schema.get("maximum"))
    if "pattern" in schema:
        return st.from_regex(schema["pattern"])
    return _JUNK


def _mapping(draw: st.DrawFn, schema: Schema) -> dict[str, object]:
    properties = schema.get("properties", {})
    made: dict[str, object] = {}
    if not properties:
        names = st.from_regex(schema.get("propertyNames", {}).get("pattern", "[a-z]+"))
        for name in draw(st.lists(names, max_size=2)):
            made[name] = _value(draw, schema["additionalProperties"])
        return made
    some = st.lists(st.sampled_from(sorted(properties)), max_size=4, unique=True)
    for name in dict.fromkeys([*schema.get("required", ()), *draw(some)]):
        misspelt = draw(st.integers(0, 15)) == 0
        made[name[1:] if misspelt else name] = _value(draw, properties[name])
    return made


def _resolved(reference: str) -> Schema:
    found: Any = _SCHEMA
    for part in reference.removeprefix("#/").split("/"):
        found = found[int(part)] if isinstance(found, list) else found[part]
    schema: Schema = found
    return schema
