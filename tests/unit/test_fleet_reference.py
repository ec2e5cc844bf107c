"""docs/pod-manifests.md is what the reader of manifests knows, and its example is one."""

import json
import re
from pathlib import Path
from typing import Any

from builder.fleet.reference import SCHEMA, json_schema, markdown
from config_documents import ROOT
from hostkit.document.reference import walk
from hostkit.document.schema import Section, keys
from podagent.manifest import parse
from podagent.manifest.documents import DOCUMENTS, REFUSED_KINDS


def test_the_page_is_the_generated_one() -> None:
    page = (ROOT / "docs/pod-manifests.md").read_text()
    command = "bedplate fleet schema --markdown > docs/pod-manifests.md"
    assert page == markdown(), f"the table has changed; run: {command}"


def test_the_page_has_every_kind_and_every_section_of_each() -> None:
    assert list(keys(SCHEMA.model)) == list(DOCUMENTS)
    models = {
        found.kind.model
        for section in DOCUMENTS.values()
        for found in walk(section)
        if isinstance(found.kind, Section)
    }
    page = markdown()
    assert len(models) > 40
    for model in models:
        for name in keys(model):
            assert f"| `{name}` |" in page, (model, name)
    for name in REFUSED_KINDS:
        assert f"| `{name}` |" in page


def test_the_pages_example_is_a_manifest() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", markdown(), re.DOTALL)
    found = parse(example.encode(), Path("example.yaml"))
    assert (found.replicas, found.service is not None) == (3, True)


def test_the_schema_knows_the_kinds_and_what_they_need() -> None:
    document: Any = json.loads(json.dumps(json_schema()))
    kinds = {each["properties"]["kind"]["const"]: each for each in document["anyOf"]}
    assert list(kinds) == list(DOCUMENTS)
    assert kinds["Deployment"]["required"] == ["apiVersion", "kind", "metadata", "spec"]
    assert kinds["Pod"]["additionalProperties"] is False


def test_patterns_of_the_schema_are_valid() -> None:
    found = set(re.findall(r'"pattern": "(.*?)"', json.dumps(json_schema())))
    assert len(found) > 20
    for pattern in found:
        re.compile(json.loads(f'"{pattern}"'))
