from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostkit.document.source import (
    DocumentError,
    Limits,
    Mapping,
    Place,
    Problem,
    Scalar,
    ScalarKind,
    Sequence,
    parse,
    read,
    scalar_kind,
)
from updater.errors import InputError

FILE = Path("x.yaml")


def problem(text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        parse(text, FILE)
    return str(caught.value)


def test_nodes_know_their_places() -> None:
    node = parse("a:\n  - 1\n  - b\n", FILE)
    assert isinstance(node, Mapping)
    (entry,) = node.entries
    assert str(entry.key.place) == "x.yaml:1:1"
    assert isinstance(entry.value, Sequence)
    assert [str(item.place) for item in entry.value.items] == ["x.yaml:2:5", "x.yaml:3:5"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("off", ScalarKind.TEXT),
        ("no", ScalarKind.TEXT),
        ("0644", ScalarKind.TEXT),
        ("1:30", ScalarKind.TEXT),
        ("0", ScalarKind.INTEGER),
        ("-12", ScalarKind.INTEGER),
        ("9" * 30, ScalarKind.FLOAT),
        ("1.10", ScalarKind.FLOAT),
        ("true", ScalarKind.BOOLEAN),
        ("", ScalarKind.NULL),
        ("~", ScalarKind.NULL),
    ],
)
def test_scalars_follow_the_core_schema(text: str, kind: ScalarKind) -> None:
    assert scalar_kind(text) is kind


def test_a_quoted_scalar_is_text() -> None:
    node = parse("'true'", FILE)
    assert isinstance(node, Scalar)
    assert node.kind is ScalarKind.TEXT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x.yaml:1:1: the file is empty"),
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1: the key 'a' stands twice, first in line 1"),
        ("a: 1\na: 2\nb: {c: 3, c: 4}\n", "x.yaml:3:11: the key 'c' stands twice"),
        ("a: 1\na: 2\nb: [", "x.yaml:2:1: the key 'a' stands twice"),
        ("a: 1\n--- \nb: 2\n", "x.yaml:2:1: a second YAML document"),
        ("a: &b [*b]", "x.yaml:1:8: an alias without an anchor before it"),
        ("a: !!python/name:os.system x", "x.yaml:1:4: a tag"),
        ("a: !x y", "quote a text that begins with !"),
        ("? [a]\n: b", "a list or a mapping as a key"),
        ("a: &x {b: c}\nd:\n  <<: *x", "x.yaml:3:3: merge keys are not supported"),
        ("a: b: c", "x.yaml:1:5: not YAML"),
        ("a: b\r\nc: \x01", "x.yaml:2:4: not YAML: the character U+0001 is not allowed"),
        ("a: b\rc: \x01", "x.yaml:2:4: not YAML: the character U+0001 is not allowed"),
        ("a: \x01", "x.yaml:1:4: not YAML: the character U+0001 is not allowed"),
        ('a: "\\0"', "x.yaml:1:4: the character U+0000 is not allowed"),
        ('"\\uD800"', "invalid Unicode character escape code"),
        ('"\\UFFFFFFFF"', "invalid Unicode character escape code"),
        ("%YAML " + "1" * 5000 + ".1\n--- a", "extremely long version number"),
        ("[" * 40, "nested deeper than 32 levels"),
        ("- &a [x]\n" + "- &a [*a]\n" * 100, "nested deeper than 32 levels"),
        ("- &a [x]\n" + f"- &a [{','.join(['*a'] * 20)}]\n" * 9, "more than 20000 values"),
    ],
)
def test_what_is_refused_is_refused_with_its_place(text: str, words: str) -> None:
    assert words in problem(text)


def test_an_alias_stands_for_its_anchor() -> None:
    node = parse("a: &x [1]\nb: *x\n", FILE)
    assert isinstance(node, Mapping)
    assert node.entries[0].value == node.entries[1].value


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="Is a directory"):
        read(tmp_path)
    file = tmp_path / "x.yaml"
    file.write_bytes(b"a: b\nc: \xff\n")
    with pytest.raises(DocumentError, match=r"x\.yaml:2:4: not UTF-8"):
        read(file)
    file.write_bytes("ä: é\rc: ".encode() + b"\xff")
    with pytest.raises(DocumentError, match=r"x\.yaml:2:4: not UTF-8"):
        read(file)
    file.write_bytes(b"#" * (Limits().length + 1))
    with pytest.raises(DocumentError, match="longer than"):
        read(file)


def test_many_problems_are_cut() -> None:
    error = DocumentError(Problem(Place(FILE, line, 1), "wrong") for line in range(1, 61))
    assert len(error.problems) == 60
    assert str(error).splitlines()[-1] == "... and 10 more"


@given(st.text())
def test_any_text_is_a_node_or_an_error(text: str) -> None:
    try:
        parse(text, FILE)
    except DocumentError:
        return


@given(st.text(alphabet="ab:-? []{},&*!|>'\"%#@`\n\t\\~.0", max_size=60))
def test_any_soup_of_yaml_signs_is_a_node_or_an_error(text: str) -> None:
    try:
        parse(text, FILE)
    except DocumentError:
        return
