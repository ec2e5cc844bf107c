"""docs/operators-handbook.md: its definition is one, its credential is the updater's."""

import json
import re
from pathlib import Path

from builder.definition.load import load
from config_documents import ROOT
from updater import config
from updater.config import Fragment, Strategy, parse_fragment

PAGE = (ROOT / "docs/operators-handbook.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
DEFINITIONS = [each for each in EXAMPLES if each.startswith("name: ")]
CREDENTIALS = [each for each in EXAMPLES if each.startswith("server: ")]
# What an image says of its updates, and a credential need not.
IMAGE = Fragment(Path("image"), {"server": "https://elsewhere.example.org", "channel": "stable"})


def test_each_example_is_of_a_kind_that_is_tried() -> None:
    documents = [each for each in EXAMPLES if each.startswith("#cloud-config")]
    assert (len(documents), len(DEFINITIONS), len(CREDENTIALS)) == (2, 1, 1)
    assert len(EXAMPLES) == 4


def test_the_definition_is_one(tmp_path: Path) -> None:
    base = ROOT / "images/base.yaml"
    mine = tmp_path / "mine.yaml"
    # It is meant to lie beside base.yaml.
    mine.write_text(DEFINITIONS[0].replace("extends: base\n", f"extends: {base}\n"))
    definition = load(mine)
    assert definition.name == load(base).name
    assert definition.packages == load(base).packages
    fragment = parse_fragment(json.dumps(definition.update).encode(), mine)
    found = config.validate(config.merge(fragment))
    assert found.server == "https://updates.example.org"
    assert found.strategy is Strategy.WINDOW


def test_the_credential_is_laid_over_the_image(tmp_path: Path) -> None:
    fragment = parse_fragment(CREDENTIALS[0].encode(), tmp_path / "bedplate.update")
    found = config.validate(config.merge(IMAGE, fragment))
    assert (found.server, found.channel) == ("https://updates.example.org", "beta")
    assert found.strategy is Strategy.OFF
