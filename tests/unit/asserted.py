"""Fixtures that carry their own assertions: what a document is rendered to, in its own comments.

Each line `## assert-... ` of a fixture is one assertion about the files and links that it becomes:

    assert-key-is FILE SECTION KEY VALUE    all values of a key, in order, with spaces between
    assert-no-key FILE SECTION KEY
    assert-no-section FILE SECTION
    assert-no-file FILE
    assert-files NUMBER
    assert-link LINK TARGET
    assert-links NUMBER
    assert-secret FILE
    assert-error LINE:COLUMN BEGINNING      and there is no other error
    assert-warning LINE:COLUMN BEGINNING    and no other warning
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from cloudconfig.desired import Desired, File, Link
from hostkit.document.source import Problem

Lines = list[tuple[str, str, str]]  # section, key, value


@dataclass(frozen=True, slots=True)
class Rendered:
    """What there is below one folder, by names that are relative to it."""

    files: Mapping[str, File]
    links: Mapping[str, Link]


def below(folder: PurePosixPath, desired: Desired) -> Rendered:
    """What a document puts below `folder`."""
    inside = [item for item in desired.items if item.path.is_relative_to(folder)]
    named = {str(item.path.relative_to(folder)): item for item in inside}
    files = {name: item for name, item in named.items() if isinstance(item, File)}
    links = {name: item for name, item in named.items() if isinstance(item, Link)}
    assert len(files) + len(links) == len(inside)
    return Rendered(files, links)


def assertions(text: str) -> list[tuple[str, str]]:
    """Those of a fixture: a verb and what it is about."""
    words = [line.removeprefix("## assert-") for line in text.splitlines() if line[:2] == "##"]
    found = [(verb, about) for verb, _, about in (line.partition(" ") for line in words)]
    assert found, "a fixture without an assertion"
    return found


def about(asserted: Iterable[tuple[str, str]], verb: str) -> list[str]:
    """What a verb is said of."""
    return [each for name, each in asserted if name == verb]


def check_problems(found: Sequence[Problem], expected: list[str]) -> None:
    """That these problems begin as expected, and that there are no others."""
    shown = sorted(f"{item.place.line}:{item.place.column} {item.message}" for item in found)
    for message, beginning in zip(shown, sorted(expected), strict=False):
        assert message.startswith(beginning), shown
    assert len(shown) == len(expected), shown


def lines_of(file: File) -> Lines:
    """A file of sections, keys and values (systemd.syntax(7))."""
    section, lines = "", []
    for line in file.content.decode().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            key, value = line.split("=", 1)
            lines.append((section, key, value))
    return lines


def check(verb: str, words: str, rendered: Rendered) -> None:
    """One assertion about what is rendered; those about problems are for `check_problems`."""
    name, *rest = words.split(" ", 3)
    match verb:
        case "files":
            assert len(rendered.files) == int(name), rendered.files.keys()
        case "links":
            assert len(rendered.links) == int(name), rendered.links.keys()
        case "link":
            assert [rendered.links[name].target] == rest
        case "no-file":
            assert name not in rendered.files
        case _:
            _check_file(verb, rest, rendered.files[name])


def _check_file(verb: str, rest: list[str], file: File) -> None:
    lines = lines_of(file)
    match verb:
        case "key-is":
            values = [value for section, key, value in lines if [section, key] == rest[:2]]
            assert " ".join(values) == rest[2], (file.path, rest)
        case "no-key":
            assert rest not in [[section, key] for section, key, _ in lines]
        case "no-section":
            assert rest[0] not in {section for section, _, _ in lines}
        case "secret":
            assert (file.mode, file.group, file.secret) == (0o640, "systemd-network", True)
        case _:
            pytest.fail(f"no such assertion: {verb}")
