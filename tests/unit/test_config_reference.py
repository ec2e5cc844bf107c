import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from cloudconfig.model.top import SCHEMA
from cloudconfig.reference import json_schema, markdown
from hostkit.document.reference import walk
from hostkit.document.schema import Section, keys

WHOLE = json_schema()


def sections() -> Iterator[tuple[str, type[object], list[str]]]:
    """Path, model, and the keys as they are called in documents."""
    for each in walk(SCHEMA):
        if isinstance(each.kind, Section):
            model = each.kind.model
            yield each.path, model, [each.names.get(name, name) for name in keys(model)]


def at(pointer: str) -> Any:  # noqa: ANN401 (JSON is of any type)
    found: Any = WHOLE
    for part in filter(None, pointer.removeprefix("#").split("/")):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


def every(value: Any, name: str) -> Iterator[Any]:  # noqa: ANN401 (see above)
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from every(inner, name)


def table_of(path: str) -> str:
    title = f"## `{path}`\n" if path else "## Keys\n"
    return markdown().split(title)[1].split("\n## ")[0]


def test_sections_are_found_wherever_they_stand() -> None:
    paths = [path for path, _, _ in sections()]
    assert paths[0] == ""
    # In a list, in a list of either, in a mapping, in a section of a list.
    assert {"write_files[]", "users[]", "bedplate.registries.*", "write_files[].source"} <= set(
        paths
    )


def test_the_page_has_a_table_of_every_section() -> None:
    models = set()
    for path, model, names in sections():
        if model in models:
            continue
        models.add(model)
        rows = set(re.findall(r"^\| `([\w]+)`", table_of(path), re.MULTILINE))
        assert set(names) <= rows, path


def test_a_key_is_called_as_in_documents() -> None:
    assert "| `from` |" in table_of("bedplate.network.ethernets.*.routes[]")
    assert (
        "from"
        in at("#/properties/bedplate/properties/network/anyOf/0")["properties"]["ethernets"][
            "additionalProperties"
        ]["properties"]["routes"]["items"]["properties"]
    )


def test_netplan_s_own_spelling_is_in_the_schema() -> None:
    network = at("#/properties/bedplate/properties/network/anyOf/0/properties")
    assert "dummy-devices" in network
    assert "dhcp4-overrides" in network["ethernets"]["additionalProperties"]["properties"]


def test_the_page_says_what_is_refused_and_what_does_nothing() -> None:
    refused, ignored = table_of("").split("do nothing here")
    assert "`runcmd`, `bootcmd`" in refused
    assert "`growpart`" in ignored
    assert "`growpart`" not in refused


def test_both_spellings_are_in_the_schema() -> None:
    update = at("#/properties/coreos/properties/update/properties")
    assert update["reboot-strategy"] == {
        "$ref": "#/properties/coreos/properties/update/properties/reboot_strategy"
    }
    references = list(every(json_schema(), "$ref"))
    assert len(references) > 30
    for reference in references:
        assert "description" in at(reference), reference


def test_the_schema_knows_what_is_required_refused_and_unknown() -> None:
    schema = at("#/properties/write_files/items")
    assert schema["required"] == ["path"]
    assert schema["additionalProperties"] is False
    top = at("#/properties")
    assert top["runcmd"]["not"] == {}
    assert "write a unit" in top["runcmd"]["description"]
    assert top["growpart"]["deprecated"] is True


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("manage_etc_hosts/enum", True), ("manage_etc_hosts/enum", "true")],
)
def test_what_an_editor_takes_for_a_boolean_is_allowed(pointer: str, value: object) -> None:
    assert value in at(f"#/properties/{pointer}")


def test_a_text_may_be_true() -> None:
    assert "boolean" in at("#/properties/final_message/type")
    assert "boolean" not in at("#/properties/bedplate/properties/update/properties/server/type")


def test_patterns_of_the_schema_are_valid() -> None:
    patterns = list(every(json_schema(), "pattern"))
    assert len(patterns) > 30
    for pattern in patterns:
        re.compile(pattern)


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(json_schema())) == json_schema()
