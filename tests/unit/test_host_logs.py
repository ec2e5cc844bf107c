"""A host's journal: how entries are written, and how a stream that broke goes on."""

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.host import entries, following
from builder.host.errors import RefusedError, UnreachableError
from host_kit import (
    FakeHost,
    Site,
    client,
    entry,
    in_turn,
    lined,
    make_site,
    running,
    sending,
)
from hostapi.refusal import ending


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def host(site: Site) -> Iterator[FakeHost]:
    with running(site) as found:
        yield found


def broken(*lines: object) -> bytes:
    return lined(*lines, whole=False)


# --- How entries are written ----------------------------------------------------------------------


def test_an_entry_is_a_line_as_of_journalctl() -> None:
    assert entries.lines(entry(5, "hello"), "web-1") == [
        "2026-11-23T02:00:05+00:00 web-1 web[7]: hello"
    ]


def test_a_container_is_named_by_its_pod() -> None:
    (line,) = entries.lines(entry(5, "GET /", pod="shop-0", container="nginx", pid=None), "web-1")
    assert line == "2026-11-23T02:00:05+00:00 web-1 shop-0/nginx: GET /"


def test_further_lines_of_a_message_are_indented() -> None:
    assert entries.lines(entry(5, "one\ntwo\tthree"), "h")[1:] == ["    two     three"]


@pytest.mark.parametrize(
    ("priority", "start"), [(0, "\x1b[1;31m"), (3, "\x1b[1;31m"), (4, "\x1b[1;33m"), (7, "\x1b[2m")]
)
def test_what_is_grave_is_marked_on_a_terminal(priority: int, start: str) -> None:
    (line,) = entries.lines(entry(5, "x", priority=priority), "h", colour=True)
    assert line.startswith(start)
    assert line.endswith("\x1b[0m")


@pytest.mark.parametrize("priority", [5, 6, None, "x", True])
def test_what_is_not_is_not(priority: object) -> None:
    (line,) = entries.lines(entry(5, "x", priority=priority), "h", colour=True)
    assert "\x1b" not in line


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


KEYS = ("time", "priority", "unit", "identifier", "pid", "message", "pod", "boot")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)))
def test_no_control_character_of_an_entry_reaches_a_terminal(found: dict[str, object]) -> None:
    for line in entries.lines(found, "web-1"):
        assert line.isprintable()


# --- How a stream goes on -------------------------------------------------------------------------


def test_a_stream_that_broke_goes_on_without_doubling_or_losing(site: Site, host: FakeHost) -> None:
    host.says("boots", {"schema": 1, "boots": [{"index": 0, "boot_id": "b1", "first": "x"}]})
    host.scripts["logs"] = in_turn(
        sending(broken(entry(1, "a"), entry(2, "b"), entry(2, "b"), entry(2, "c"))),
        sending(broken()),
        # Since the last one's time: what was told of it comes again, and more of the same.
        sending(broken(entry(2, "b"), entry(2, "b"), entry(2, "c"), entry(2, "b"), entry(3, "d"))),
        sending(broken(entry(3, "d"), entry(3, "d"), entry(1, "the clock was set back"))),
        sending(broken(entry(1, "the clock was set back"), entry(4, "e"))),
    )
    pauses: list[float] = []
    with client(site, host) as one:
        stream = following.follow(one, {"unit": "web"}, pauses.append)
        found = [each["message"] for each in islice(stream, 9)]
    assert found == ["a", "b", "b", "c", "b", "d", "d", "the clock was set back", "e"]
    asked = [each.target for each in host.does("logs")]
    assert asked[0] == "/v1/logs?unit=web&lines=10&follow=true"
    assert asked[1] == "/v1/logs?unit=web&since=2026-11-23T02%3A00%3A02.000000Z&follow=true"
    assert pauses == [0.5, 1.0, 0.5, 0.5]


def test_a_reboot_meanwhile_loses_nothing(site: Site, host: FakeHost) -> None:
    first = "2026-11-23T02:00:09.000000Z"
    host.says(
        "boots",
        {
            "schema": 1,
            "boots": [
                {"index": 0, "boot_id": "b2", "first": first},
                {"index": -1, "boot_id": "b1", "first": "x"},
            ],
        },
    )
    host.scripts["logs"] = in_turn(
        sending(broken(entry(1, "a"))),
        sending(lined(entry(1, "a"), entry(2, "going down"))),
        sending(broken(entry(9, "up", boot="b2"))),
    )
    with client(site, host) as one:
        stream = following.follow(one, {"boot": 0, "lines": 5}, lambda _: None)
        assert [each["message"] for each in islice(stream, 3)] == ["a", "going down", "up"]
    asked = [each.target.partition("?")[2] for each in host.does("logs")]
    assert asked == [
        "boot=0&lines=5&follow=true",
        "since=2026-11-23T02%3A00%3A01.000000Z&boot=-1",
        "since=2026-11-23T02%3A00%3A09.000000Z&follow=true",
    ]


def test_a_stream_that_broke_before_its_first_entry_begins_again(
    site: Site, host: FakeHost
) -> None:
    host.scripts["logs"] = in_turn(sending(broken()), sending(broken(entry(1, "a"))))
    with client(site, host) as one:
        stream = following.follow(one, {"since": "15m"}, lambda _: None)
        assert next(stream)["message"] == "a"
    assert {each.target for each in host.seen} == {"/v1/logs?since=15m&follow=true"}


def test_a_host_that_was_never_there_is_an_error(site: Site) -> None:
    with running(site) as host:
        pass
    with client(site, host) as one, pytest.raises(UnreachableError):
        next(following.follow(one, {}, lambda _: None))


def test_what_a_host_refuses_is_not_asked_again(site: Site, host: FakeHost) -> None:
    error = {"error": {"code": "failed", "message": "the journal is gone"}}
    host.streams("logs", entry(1, "a"), error)
    with client(site, host) as one:
        stream = following.follow(one, {}, lambda _: None)
        next(stream)
        with pytest.raises(RefusedError, match="the journal is gone"):
            next(stream)


def test_a_server_that_ends_is_asked_again(site: Site, host: FakeHost) -> None:
    """As it does for a new certificate, and before a reboot."""
    host.says("boots", {"schema": 1, "boots": []})
    host.scripts["logs"] = in_turn(
        sending(lined(entry(1, "a"), ending().to_plain())), sending(broken(entry(2, "b")))
    )
    with client(site, host) as one:
        stream = following.follow(one, {}, lambda _: None)
        assert [each["message"] for each in islice(stream, 2)] == ["a", "b"]


def test_a_host_that_is_crowded_is_asked_again(site: Site, host: FakeHost) -> None:
    crowded = {"schema": 1, "error": {"code": "crowded", "message": "too many streams"}}
    host.scripts["logs"] = in_turn(sending(broken(entry(1, "a"))), sending(broken(entry(2, "b"))))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        document = {"schema": 1, "boots": []} if len(pauses) > 2 else crowded
        host.says("boots", document, 200 if len(pauses) > 2 else 503)

    with client(site, host) as one:
        stream = following.follow(one, {}, pause)
        assert [each["message"] for each in islice(stream, 2)] == ["a", "b"]
    assert pauses == [0.5, 1.0, 2.0]
