"""docs/pods.md says what the code does: manifests, files and commands that are taken, its words."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from builder import cli
from builder.fleet import listing, tables
from builder.fleet.access import read_file
from config_documents import ROOT, cloud_configs
from fleet_kit import FleetEtcd
from podagent.cluster.hosts import MACHINE
from podagent.drain import Stage
from podagent.manifest import parse

PAGE = (ROOT / "docs/pods.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
MANIFESTS = [each for each in EXAMPLES if each.startswith("apiVersion")]
FLEETS = [each for each in EXAMPLES if each.startswith("endpoints")]
# Commands on their own, and those before what they print.
COMMANDS = sorted(set(re.findall(r"(?:`|[$] )bedplate (fleet [^`\n]+)", PAGE)))
WORD = re.compile(r"`([^`]+)`")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> set[str]:
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    return {word for row in rows for word in WORD.findall(row.split("|")[1])}


def sources() -> str:
    """The code's texts, with those joined that go over several lines."""
    folders = ("builder", "cloud-config/podagent")
    text = "".join(
        path.read_text() for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))
    )
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_each_example_is_of_a_kind_that_is_tried() -> None:
    documents = [page for page, _ in cloud_configs()].count("pods.md")
    assert (documents, len(MANIFESTS), len(FLEETS)) == (3, 1, 1)
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("example", MANIFESTS)
def test_an_example_is_a_manifest(example: str) -> None:
    found = parse(example.encode(), Path("example.yaml"))
    assert (found.name, found.replicas, found.max_unavailable) == ("shop", 4, 1)


def test_the_pods_of_the_examples_documents_are_the_hosts_own() -> None:
    found = [
        parse(pod["manifest"].encode(), Path("x"), of_host=True).name
        for page, text in cloud_configs()
        if page == "pods.md"
        for pod in yaml.safe_load(text)["bedplate"].get("pods", [])
    ]
    assert found == ["page"]


@pytest.mark.parametrize("example", FLEETS)
def test_an_example_is_a_fleet_file(example: str, tmp_path: Path) -> None:
    for name in ("ca.crt", "ops.crt", "ops.key"):
        (tmp_path / name).touch()
    (tmp_path / "fleet.yaml").write_text(example)
    assert len(read_file(tmp_path / "fleet.yaml").endpoints) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one(command: str) -> None:
    words = shlex.split(command)
    if words == ["fleet", "get"]:  # where the page speaks of all of them
        return
    assert cli.parser().parse_args(words).func


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 8


def test_tables_have_the_columns_that_are_shown() -> None:
    view = FleetEtcd().view()
    for sheet in (
        tables.pods(listing.pods(view), wide=False),
        tables.workloads(listing.workloads(view), wide=False),
    ):
        (line,) = [line for line in PAGE.splitlines() if line.split() == [*sheet.columns]]
        assert line.startswith("    ")


def test_what_trouble_is_called_is_what_it_says() -> None:
    words = first_cells(section("Trouble"))
    assert len(words) > 8
    known = sources()
    for each in words:
        assert each in known, each


def test_the_stages_of_a_drain_are_told() -> None:
    rows = section("Drains and updates").split("| until |")[1].split("\n\n")[0]
    assert WORD.findall(rows)[:1] == ["leaving"]
    assert {each.value for each in Stage} <= set(WORD.findall(rows))


def test_the_labels_that_every_host_has_are_told() -> None:
    assert {MACHINE, listing.VERSION_LABEL} <= first_cells(section("Hosts of a cluster"))


def test_links_lead_somewhere() -> None:
    titles = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        if target.startswith("https:"):
            continue
        assert not path or (ROOT / "docs" / path).exists(), target
        assert path or anchor in anchors, target
