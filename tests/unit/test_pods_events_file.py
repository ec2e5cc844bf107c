"""The events file as podman leaves it: growing, begun anew, cut, torn, gone."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent.events import Event, Events, Happened, What, parse_event

_RECORDED = Path(__file__).parent / "podman_output/events.log"
_NOTHING = Happened(())
_MISSED = Happened((), missed=True)


def _line(**fields: Any) -> bytes:  # noqa: ANN401
    event = {
        "Name": "web-main",
        "Status": "died",
        "Time": "2026-11-22T19:27:37.510716819Z",
        "Type": "container",
        "Attributes": {"org.bedplate.pod": "web"},
        "ContainerExitCode": 137,
    }
    return json.dumps(event | fields).encode() + b"\n"


_DIED = parse_event(_line())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events/events.log"


@pytest.fixture
def events(path: Path) -> Iterator[Events]:
    """Follows a file that exists, and was read to its end."""
    path.parent.mkdir()
    path.write_bytes(_line())
    with Events(path) as made:
        assert made.read() == _MISSED
        assert made.read() == _NOTHING
        yield made


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)


def test_what_podman_wrote() -> None:
    found = [parse_event(line) for line in _RECORDED.read_bytes().splitlines()]
    told = [(each.what, each.pod, each.container, each.exit_code) for each in found if each]
    assert told == [
        (What.CREATE, "web-2", "", None),
        (What.CREATE, "web-2", "web-2-main", None),
        (What.CREATE, "web-2", "web-2-side", None),
        (What.START, "web-2", "web-2-main", None),
        (What.START, "web-2", "web-2-side", None),
        (What.START, "web-2", "", None),
        (What.DIED, "web-2", "web-2-side", 3),
    ]
    assert found[-1]
    assert found[-1].time == pytest.approx(1795376994.038749)


def test_new_lines_are_told_once(events: Events, path: Path) -> None:
    _append(path, _line() + _line(Status="remove"))
    happened = events.read()
    assert [each.what for each in happened.events] == [What.DIED, What.REMOVE]
    assert not happened.missed
    assert events.read() == _NOTHING


def test_a_torn_line_waits_for_its_end(events: Events, path: Path) -> None:
    _append(path, _line()[:40])
    assert events.read() == _NOTHING
    _append(path, _line()[40:] + _line()[:5])
    assert events.read().events == (_DIED,)
    _append(path, _line()[5:])
    assert events.read().events == (_DIED,)


def test_a_new_file_of_the_name(events: Events, path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(_line() * 5)
    new.replace(path)
    assert events.read() == _MISSED
    _append(path, _line())
    assert events.read().events == (_DIED,)


def test_a_file_that_was_cut(events: Events, path: Path) -> None:
    _append(path, _line()[:7])
    events.read()
    path.write_bytes(b"")
    assert events.read() == _MISSED
    _append(path, _line())
    assert events.read().events == (_DIED,)


def test_a_file_that_is_too_far_ahead(events: Events, path: Path) -> None:
    _append(path, b"x" * (1 << 20) + b"\n" + _line())
    assert events.read() == _MISSED
    assert events.read() == _NOTHING


def test_a_line_without_an_end_is_given_up(events: Events, path: Path) -> None:
    for _ in range(4):
        _append(path, b"x" * (1 << 19))
        assert not events.read().events
    assert len(events._torn) <= 1 << 20


def test_no_file_yet(path: Path) -> None:
    with Events(path) as events:
        assert events.read() == _MISSED
        assert events.read() == _NOTHING
        _append(path, _line())
        assert events.read().events == (_DIED,)
        path.unlink()
        assert events.read() == _MISSED
        assert events.read() == _NOTHING


def test_a_wait_ends_with_a_change(events: Events, path: Path) -> None:
    assert not events.wait(0)
    writer = threading.Thread(target=_append, args=(path, _line()))
    writer.start()
    assert events.wait(60)
    writer.join()
    assert events.read().events == (_DIED,)


def test_a_folder_that_went_is_watched_again(events: Events, path: Path) -> None:
    shutil.rmtree(path.parent)
    assert events.wait(60)
    assert events.read() == _MISSED
    while not path.parent.exists():
        assert events.wait(60)
    _append(path, _line())
    assert events.wait(60)
    assert events.read().events == (_DIED,)


def test_what_is_not_ours_is_left_out() -> None:
    assert parse_event(_line(Attributes=None)) is None
    assert parse_event(_line(Attributes={"app": "web"})) is None
    assert parse_event(_line(Type="image")) is None
    assert parse_event(_line(Status="exec")) is None
    assert parse_event(_line(Type="pod", Status="remove", Name="web")) == Event(
        What.REMOVE, "web", "", 1795375657.510716
    )


@given(
    st.binary(max_size=30)
    | st.dictionaries(
        st.sampled_from(("Name", "Status", "Time", "Type", "Attributes", "ContainerExitCode")),
        st.none() | st.integers() | st.text(max_size=3) | st.lists(st.none(), max_size=1),
    ).map(lambda fields: _line(**fields))
)
def test_odd_lines_are_passed_over(line: bytes) -> None:
    event = parse_event(line)
    assert event is None or isinstance(event.time, float)
