"""The pages show no cloud-config that a host would not take."""

from pathlib import Path

import pytest

from builder.config_cli import examine
from cloudconfig.reference import markdown
from config_documents import ROOT, cloud_configs


@pytest.mark.parametrize(("page", "text"), cloud_configs())
def test_an_example_is_taken_without_a_warning(page: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / page
    file.write_text(text)
    assert [str(finding) for finding in examine(file)] == []


def test_the_pages_have_examples() -> None:
    assert "cloud-config.md" in {page for page, _ in cloud_configs()}


def test_the_reference_is_the_generated_one() -> None:
    page = (ROOT / "docs/cloud-config.md").read_text()
    command = "bedplate config schema --markdown > docs/cloud-config.md"
    assert page == markdown(), f"the model has changed; run: {command}"
