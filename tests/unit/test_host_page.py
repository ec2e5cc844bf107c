"""docs/operating.md says what the code does: commands that are taken, messages that are given."""

import re
import shlex
from pathlib import Path

import pytest

from builder import cli, host_cli
from builder.host.access import read_file
from builder.host.client import Limits
from builder.host.outcome import outcome
from config_documents import ROOT
from test_host_cli import ANSWERS

PAGE = (ROOT / "docs/operating.md").read_text()
COMMANDS = sorted(set(re.findall(r"(?:^    (?:[$] )?|`)bedplate ([^`\n]+)", PAGE, re.MULTILINE)))
WORD = re.compile(r"`([^`]+)`")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def verb_of(words: list[str]) -> str:
    """The first word that is neither an option, nor an option's value, nor the address."""
    left = words[1:]
    several = left[0].startswith("--")
    while left[0].startswith("--"):
        left = left[2:]
    return left[0] if several else left[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one(command: str) -> None:
    words = shlex.split(command)
    if words in (["pki"], ["host"]):  # where the page speaks of all of them
        return
    if words[-1] == "--help":
        with pytest.raises(SystemExit, match="0"):
            cli.parser().parse_args(words)
        return
    assert cli.parser().parse_args(words).func


def test_there_is_a_command_for_each_verb_and_no_task_is_missing() -> None:
    verbs = {verb_of(each.split()) for each in COMMANDS if each.startswith("host ")}
    assert verbs == set(host_cli._VERBS)
    numbers = re.findall(r"^### ([0-9]+)\. ", PAGE, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 21)]


def test_the_settings_are_a_file(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "ops.pem").touch()
    path = tmp_path / "host.yaml"
    path.write_text(example.replace("/home/me/pki/", ""))
    assert read_file(path).identity == tmp_path / "ops.pem"


def test_messages_are_those_of_the_code() -> None:
    folders = ("builder/host", "cloud-config/hostapi", "cloud-config/hostkit")
    files = [path for folder in folders for path in (ROOT / folder).glob("*.py")]
    code = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text() for path in files))
    rows = [line for line in section("What goes wrong").splitlines() if line.startswith("|")][2:]
    words = [word for row in rows for word in WORD.findall(row.split("|")[1])]
    assert len(words) > 10
    of_the_system = {"Connection refused", "No route to host"}
    for each in set(words) - of_the_system:
        assert each in code, each


def test_an_interruption_takes_as_long_as_the_page_says() -> None:
    told = re.search(r"Ctrl-C [^.]* takes up to ([0-9]+) s for TCP", section("Many hosts at once"))
    assert told
    assert int(told[1]) == Limits().connect_seconds


def test_pages_have_the_names_that_are_shown() -> None:
    for verb in ("status", "update"):
        lines = PAGE.split(f"host 192.0.2.7 {verb}\n")[1].split("\n\n")[0].splitlines()
        facts = outcome(verb, ANSWERS[verb]).page[0]
        assert isinstance(facts, list)
        shown = {line[:14].strip() for line in facts}
        for line in lines:
            assert line.strip()[:14].strip() in shown, line


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        text = (ROOT / "docs" / path).read_text() if path else PAGE
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in titles}
        assert not anchor or anchor in anchors, target
