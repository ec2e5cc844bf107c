import argparse
import json
import re
import typing
from pathlib import Path

import pytest
import yaml

from builder.definition import model
from builder.definition.cli import add_commands, parse_overrides
from builder.definition.load import load
from builder.definition.reference import json_schema, markdown
from hostkit.document.schema import keys
from updater.errors import InputError

ROOT = Path(__file__).parents[2]


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args(argv)
    code: int = arguments.func(arguments)
    return code


def test_the_page_is_the_generated_one() -> None:
    page = (ROOT / "docs/image-definition.md").read_text()
    command = "bedplate definition schema --markdown > docs/image-definition.md"
    assert page == markdown(), f"the model has changed; run: {command}"


def test_the_page_names_every_key() -> None:
    rows = re.findall(r"^\| `(\w+)`", markdown(), re.MULTILINE)
    sections = [item for item in vars(model).values() if isinstance(item, type)]
    sections = [item for item in sections if hasattr(item, "__dataclass_fields__")]
    for section in sections:
        if section.__module__ == model.__name__:
            assert set(keys(section)) <= set(rows)


def test_the_page_s_example_is_a_definition(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", markdown(), re.DOTALL)
    (tmp_path / "example.yaml").write_text(example)
    (tmp_path / "base.yaml").write_text("packages: [systemd]\n")
    assert load(tmp_path / "example.yaml").update["strategy"] == "off"


def test_patterns_of_the_schema_are_valid() -> None:
    def patterns(value: object) -> typing.Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name == "pattern" and isinstance(inner, str):
                    yield inner
                yield from patterns(inner)

    found = list(patterns(json_schema()))
    assert found
    for pattern in found:
        re.compile(pattern)


@pytest.mark.parametrize("definition", sorted((ROOT / "images").glob("*.yaml")))
def test_the_shipped_definitions_are_valid(
    definition: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("definition", "validate", str(definition)) == 0
    assert ": valid, " in capsys.readouterr().out


def test_show_prints_yaml_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "host.yaml"
    file.write_text("name: host\nversion: 1\n")
    assert run("definition", "show", str(file), "--set", "version=1.10") == 0
    as_yaml = yaml.safe_load(capsys.readouterr().out)
    assert as_yaml["version"] == "1.10"
    assert run("definition", "show", str(file), "--set", "version=1.10", "--json") == 0
    assert json.loads(capsys.readouterr().out) == as_yaml


def test_validate_renders_templates(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("{{ gone }}")
    file = tmp_path / "host.yaml"
    file.write_text("name: host\nversion: 1\nfiles: [{path: /x, template: x.j2}]\n")
    with pytest.raises(InputError, match=r"x\.j2:1:1"):
        run("definition", "validate", str(file))


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("definition", "schema") == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


@pytest.mark.parametrize("pair", ["version", "=2", ""])
def test_overrides_need_a_key_and_a_value(pair: str) -> None:
    with pytest.raises(InputError, match="expected KEY=VALUE"):
        parse_overrides([pair])
