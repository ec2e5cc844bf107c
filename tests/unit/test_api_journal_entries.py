"""Entries of the journal as JSON: whatever is in them, and whatever is missing."""

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostapi.entries import LONGEST, Container, rfc3339, to_plain
from journal_model import NOW, entry

_FIELDS = (
    "MESSAGE",
    "PRIORITY",
    "UNIT",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_PID",
    "CONTAINER_NAME",
    "CONTAINER_TAG",
    "_BOOT_ID",
    "_COMM",
    "_PID",
    "_SYSTEMD_UNIT",
    "__REALTIME_TIMESTAMP",
)


def test_an_entry() -> None:
    found = entry(
        1_795_376_994.038749,
        "Started.",
        PRIORITY=5,
        _PID=321,
        _SYSTEMD_UNIT="a.service",
        SYSLOG_IDENTIFIER="a",
    )
    assert to_plain(found, {}) == {
        "time": "2026-11-22T19:49:54.038749Z",
        "priority": 5,
        "unit": "a.service",
        "identifier": "a",
        "pid": 321,
        "message": "Started.",
        "boot": NOW,
    }


def test_an_entry_of_nothing() -> None:
    assert to_plain({}, {}) == {
        "time": "1970-01-01T00:00:00.000000Z",
        "priority": 6,
        "unit": None,
        "identifier": None,
        "pid": None,
        "message": "",
        "boot": None,
    }


def test_what_the_service_manager_says_of_a_unit() -> None:
    told = {"UNIT": "b.service", "_SYSTEMD_UNIT": "init.scope"}
    assert to_plain(entry(1, _PID=1, **told), {})["unit"] == "b.service"
    assert to_plain(entry(1, _PID=2, **told), {})["unit"] == "init.scope"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"th\xc3\xa9 \xff\x00", "thé \ufffd\x00"),
        (["one", "two"], "one"),
        ([], ""),
        (None, ""),
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * (LONGEST + 1), "x" * (LONGEST - 1) + "…"),
        ("😀" * (LONGEST + 1), "😀" * (LONGEST - 1) + "…"),
    ],
    ids=["binary", "twice", "none of many", "null", "longest", "longer", "longer in bytes"],
)
def test_messages(message: object, told: str) -> None:
    assert to_plain(entry(1, message), {})["message"] == told


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"CONTAINER_TAG": "web-2"}, {"pod": "web-2", "container": "main"}),
        ({}, {"pod": "old", "container": "told"}),
        ({"CONTAINER_TAG": "of another kind"}, {"pod": "old", "container": "told"}),
    ],
    ids=["tag", "known", "foreign tag"],
)
def test_containers(fields: dict[str, str], told: dict[str, str]) -> None:
    known = {"web-2-main": Container("old", "told")}
    found = to_plain(entry(1, CONTAINER_NAME="web-2-main", **fields), known)
    assert {name: found[name] for name in told} == told


def test_a_container_without_a_pod() -> None:
    found = to_plain(entry(1, CONTAINER_NAME="alone"), {})
    assert "pod" not in found
    assert found["container"] == "alone"


@pytest.mark.parametrize("value", ["9" * 5000, "-1", "٣", "", b"\xff", "1e3"])
def test_numbers_that_are_none(value: object) -> None:
    told = to_plain(entry(1, PRIORITY=value, _PID=value), {})
    assert (told["priority"], told["pid"]) == (6, None)


def test_a_time_after_all_times() -> None:
    assert rfc3339(10**18) == "9999-12-31T23:59:59.999999Z"


_VALUES = st.one_of(
    st.none(), st.integers(), st.text(), st.binary(), st.lists(st.binary(), max_size=2)
)


@given(st.dictionaries(st.sampled_from(_FIELDS), _VALUES))
def test_whatever_is_in_it_it_is_json(found: dict[str, object]) -> None:
    told = json.loads(json.dumps(to_plain(found, {})))
    assert 0 <= told["priority"] <= 7
    assert len(told["message"]) <= LONGEST
    assert datetime.fromisoformat(told["time"]).tzinfo
    assert told["pid"] is None or isinstance(told["pid"], int)
