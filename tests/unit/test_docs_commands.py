"""Every command of the workstation that the documentation names is one."""

import re
import shlex
from pathlib import Path

import pytest

from builder import cli
from config_documents import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# In a line of its own, or between backquotes.
NAMED = re.compile(
    r"(?:^ {4}(?:[$] )?|`)(?:\.venv/bin/)?bedplate ((?:[^`\n\\]|\\\n)+)", re.MULTILINE
)
PICTURE = re.compile(r" {3}|->|<-")
WRONG = ("unrecognized arguments", "invalid choice")


def commands(page: Path) -> list[list[str]]:
    found = [each for each in NAMED.findall(page.read_text()) if not PICTURE.search(each)]
    # What a shell does with the output is none of the program's.
    texts = {each.replace("\\\n", " ").partition(" > ")[0] for each in found}
    return [shlex.split(text, comments=True) for text in sorted(texts)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_taken(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser, wrong = cli.parser(), []
    for words in commands(page):
        try:
            parser.parse_args(words)
        except SystemExit:
            # Where it is spoken of, it may lack what it needs.
            said = capsys.readouterr().err
            wrong += [said] if any(each in said for each in WRONG) else []
    assert wrong == []


def test_commands_are_found() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 150
