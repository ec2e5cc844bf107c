"""Pages and lines of answers: whatever a host says, a terminal obeys none of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.host.outcome import outcome
from builder.host.pages import VIEWS
from builder.host.values import printable
from builder.sheets import Sheet, plain
from test_host_cli import ANSWERS

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


# Objects with the keys that pages look for, and anything behind them.
KEYS = sorted(keys(list(ANSWERS.values())))
OBJECTS = st.recursive(
    JSON,
    lambda inner: (
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=6) | st.lists(inner, max_size=3)
    ),
    max_leaves=20,
)


def hostile(value: object) -> object:
    """The same with what a terminal obeys in every text, keys too."""
    if isinstance(value, dict):
        return {key: hostile(each) for key, each in value.items()} | {"\x1b[2J": "\x9b2J"}
    if isinstance(value, list):
        return [hostile(each) for each in value]
    return f"\x1b]0;x\x07\u202e{value}\r\n\x9b2J" if isinstance(value, str) else value


def assert_harmless(view: str, document: dict[str, object]) -> None:
    found = outcome(view, document)
    assert found.line.isprintable()
    for part in found.page:
        for line in plain(part) if isinstance(part, Sheet) else part:
            assert line.isprintable()


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_what_a_terminal_obeys_is_taken_out_of_every_text(view: str) -> None:
    for document in ANSWERS.values():
        found = hostile(document)
        assert isinstance(found, dict)
        assert_harmless(view, found)


@pytest.mark.parametrize("view", sorted(VIEWS))
@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(KEYS), OBJECTS, max_size=8))
def test_no_control_character_reaches_a_terminal(view: str, document: dict[str, object]) -> None:
    assert_harmless(view, document)


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_a_host_that_says_nothing_has_a_page(view: str) -> None:
    assert outcome(view, {"schema": 1}).page


@given(JSON)
def test_json_for_programs_has_line_ends_and_no_other_control_character(value: object) -> None:
    text = json.dumps(printable(value), ensure_ascii=False)
    assert text.isprintable()
