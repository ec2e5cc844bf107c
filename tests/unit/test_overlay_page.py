"""docs/overlay.md says what the code does: names, keys, messages, and examples that are taken."""

import re
from dataclasses import fields
from datetime import UTC, datetime

import pytest

from cloudconfig.model.flannel import Flannel
from config_documents import ROOT, cloud_configs
from overlay.network import parse
from overlay.report import HeldLease, OuterInterface, Peer, State, Status, samples, to_plain

PAGE = (ROOT / "docs/overlay.md").read_text()
WORD = re.compile(r"`([^`]+)`")
STATUS = Status(State.STARTING, "", datetime.now(UTC))


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading row that starts so."""
    lines = text.split(f"| {heading} |")[1].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def first_words(table: list[list[str]]) -> set[str]:
    return {word for cells in table for word in WORD.findall(cells[0])}


def test_the_pages_documents_are_among_those_that_are_parsed() -> None:
    assert [page for page, _ in cloud_configs()].count("overlay.md") == PAGE.count("```yaml\n") == 3


def test_the_configuration_of_a_network_is_one_without_a_warning() -> None:
    found = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    found += re.findall(r"/config '(.*?)'", PAGE)
    assert len(found) == 2
    for text in found:
        assert parse(text.encode()).warnings == ()


def test_every_metric_is_named_and_no_other() -> None:
    names = {sample.name for sample in samples(STATUS)}
    assert first_words(rows(section("Status and metrics"), "metric")) == names
    handbook = (ROOT / "docs/operators-handbook.md").read_text()
    assert set(re.findall(r"bedplate_overlay_\w+", PAGE + handbook)) == names


def test_every_key_of_the_status_is_named_and_no_other() -> None:
    table = rows(section("Status and metrics"), "key")
    assert first_words(table) == set(to_plain(STATUS))
    for name, kind in (("lease", HeldLease), ("outer", OuterInterface), ("peers", Peer)):
        ((_, text),) = [cells for cells in table if cells[0] == f"`{name}`"]
        assert {each.name for each in fields(kind)} <= set(WORD.findall(text)), name


def test_every_state_is_explained() -> None:
    states = {each.value for each in State}
    assert first_words(rows(section("Status and metrics"), "state")) == states
    handbook = (ROOT / "docs/operators-handbook.md").read_text().split("\n## The overlay\n")[1]
    assert first_words(rows(handbook, "`state`")) == states


def test_settings_are_those_of_the_document() -> None:
    names = {each.name for each in fields(Flannel)}
    told = first_words(rows(section("Hosts with an etcd elsewhere"), "key"))
    assert {name.replace("-", "_") for name in told} <= names


def messages() -> str:
    """The code's texts, those of several lines joined."""
    folders = ("cloud-config/overlay", "cloud-config/hostkit")
    text = "".join(
        path.read_text() for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))
    )
    return re.sub(r'"\s*\n\s*f?"', "", text)


# What is not told in these words by our code: etcd's own, a path, values that are put in.
OTHERS = {"host-gw", "SubnetMin", "no more", "/etc/bedplate/overlay.json", "too"}


@pytest.mark.parametrize(
    "words", sorted(first_words(rows(section("Trouble"), "`fault` says")) - OTHERS)
)
def test_a_fault_is_told_in_the_codes_words(words: str) -> None:
    assert words in messages()


def test_problems_and_notices_are_told_in_the_codes_words() -> None:
    problems = first_words(rows(section("Trouble"), "`problem` says")) - OTHERS
    notices = set(WORD.findall(section("Trouble").split("\nAnd `notices`: ")[1])) - {"subnets/"}
    assert len(problems) > 8
    assert len(notices) == 3
    for words in problems | notices:
        assert words in messages(), words
