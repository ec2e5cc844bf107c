"""Streams of the journal: where they begin, what they hold, how they go on and end."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from hostapi import containers, journal
from hostapi.contract import BY_NAME, Value, read_all
from hostapi.entries import Container
from hostapi.journal import Query, boots, stream
from journal_model import BEFORE, NOW, Journal, entry
from updater.errors import InputError

_NOON = 1_800_000_000.0


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host in its boot NOW, with one pod that was played without a tag."""
    (tmp_path / "boot_id").write_text("00000000-0000-0000-0000-000000000002\n")
    monkeypatch.setattr(journal, "_BOOT_ID", tmp_path / "boot_id")
    monkeypatch.setattr(containers, "known", lambda: {"old-main": Container("old", "main")})


def _filled() -> Journal:
    return Journal(
        *(entry(10 + at, f"before {at}", BEFORE) for at in range(3)),
        *(entry(20 + at, f"now {at}", PRIORITY=at % 8) for at in range(16)),
    )


def _messages(found: Journal, **query: Any) -> list[object]:  # noqa: ANN401
    async def read() -> list[object]:
        return [each["message"] async for each in stream(Query(**query), found.open)]

    messages = asyncio.run(read())
    assert all(reader.closed for reader in found.readers)
    return messages


# --- Queries --------------------------------------------------------------------------------------


def _query(**given: object) -> Query:
    """As the server does: by the contract first."""
    return Query.of(read_all(BY_NAME["logs"].parameters, given), _NOON)


def test_nothing_asked_is_this_boot() -> None:
    assert _query() == Query(boot=0)


def test_all_that_can_be_asked() -> None:
    query = _query(
        unit="a.service", pod="web", container="main", since="2m", priority="err", lines="5"
    )
    assert query == Query("a.service", "web", "main", _NOON - 120, 3, 0, 5)
    assert _query(follow="true").follow
    assert _query(boot="-3").boot == -3


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("90s", _NOON - 90),
        ("3h", _NOON - 3 * 3600),
        ("2d", _NOON - 2 * 86400),
        ("99999999d", 0.0),
        ("2027-01-15T08:00:00Z", _NOON),
        ("2027-01-15T10:00:00.250000+02:00", _NOON + 0.25),
    ],
)
def test_since(words: str, seconds: float) -> None:
    assert _query(since=words).since == seconds


@pytest.mark.parametrize("words", ["2027-02-30T08:00:00Z", "2027-01-15T99:00:00Z"])
def test_no_such_time(words: str) -> None:
    with pytest.raises(InputError, match="since"):
        _query(since=words)


@pytest.mark.parametrize(("words", "level"), [("0", 0), ("7", 7), ("emerg", 0), ("debug", 7)])
def test_priority(words: str, level: int) -> None:
    assert _query(priority=words).priority == level


def test_a_container_needs_its_pod() -> None:
    with pytest.raises(InputError, match="of which pod"):
        _query(container="main")


def test_nothing_comes_in_a_boot_that_is_over() -> None:
    with pytest.raises(InputError, match="follow"):
        _query(boot="-1", follow="true")


# --- What a stream holds --------------------------------------------------------------------------


def test_this_boot_in_order() -> None:
    assert _messages(_filled()) == [f"now {at}" for at in range(16)]


def test_the_boot_before() -> None:
    assert _messages(_filled(), boot=-1) == ["before 0", "before 1", "before 2"]


def test_a_boot_that_the_journal_does_not_know() -> None:
    found = _filled()
    with pytest.raises(FileNotFoundError, match="no boot -2"):
        _messages(found, boot=-2)
    assert all(reader.closed for reader in found.readers)


@pytest.mark.parametrize("step", [1, 2, 5, 500])
def test_the_last_lines(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_STEP", step)
    assert _messages(_filled(), lines=2) == ["now 14", "now 15"]
    assert len(_messages(_filled(), lines=15)) == 15
    assert len(_messages(_filled(), lines=16)) == 16
    assert len(_messages(_filled(), lines=999)) == 16
    assert _messages(_filled(), lines=0) == []
    assert _messages(Journal(), lines=3) == []


def test_since_a_time() -> None:
    assert _messages(_filled(), since=33.5) == ["now 14", "now 15"]
    assert _messages(_filled(), since=33.5, lines=5) == ["now 14", "now 15"]
    assert _messages(_filled(), since=33.5, lines=1) == ["now 15"]
    assert _messages(_filled(), since=99.0) == []


def test_a_clock_that_was_set_back() -> None:
    found = Journal(entry(50, "a"), entry(60, "b"), entry(40, "early"), entry(70, "c"))
    assert _messages(found, since=55.0) == ["b", "c"]


def test_by_priority() -> None:
    assert _messages(_filled(), priority=1) == ["now 0", "now 1", "now 8", "now 9"]


def test_by_unit() -> None:
    found = Journal(
        entry(1, "its own", _SYSTEMD_UNIT="a.service"),
        entry(2, "another's", _SYSTEMD_UNIT="b.service"),
        entry(3, "of it", _PID=1, UNIT="a.service"),
        entry(4, "forged", UNIT="a.service"),
    )
    assert _messages(found, unit="a.service") == ["its own", "of it"]
    assert _messages(found, unit="a") == ["its own", "of it"]
    assert _messages(found, unit="a", priority=5) == []


def test_by_pod() -> None:
    def logged(at: float, pod: str | None, name: str) -> Mapping[str, object]:
        tag = {"CONTAINER_TAG": pod} if pod else {}
        return entry(at, name, CONTAINER_NAME=name, **tag)

    found = Journal(
        logged(1, "web", "web-main"),
        logged(2, "web-2", "web-2-main"),
        logged(3, "web", "web-side"),
        logged(4, None, "old-main"),
        logged(5, None, "foreign"),
    )
    assert _messages(found, pod="web") == ["web-main", "web-side"]
    assert _messages(found, pod="web", container="side") == ["web-side"]
    assert _messages(found, pod="web-2") == ["web-2-main"]
    assert _messages(found, pod="old") == ["old-main"]


def test_a_damaged_entry_is_passed_by() -> None:
    found = Journal(*(entry(at, at) for at in range(3)))
    found.damaged = {1: errno.EBADMSG}
    assert _messages(found) == ["0", "2"]


def test_going_back_passes_a_damaged_entry_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_STEP", 2)
    found = Journal(*(entry(at, at) for at in range(6)))
    found.damaged = {2: errno.EBADMSG}
    assert _messages(found, lines=4) == ["1", "3", "4", "5"]
    found.damaged = {2: errno.ENOMEM}
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        _messages(found, lines=4)
    assert found.readers[-1].asked == 0


@pytest.mark.parametrize(("code", "asked"), [(errno.EBADMSG, 100), (errno.ENOMEM, 1)])
def test_a_damaged_journal_is_told(code: int, asked: int) -> None:
    found = Journal(*(entry(at) for at in range(200)))
    found.damaged = dict.fromkeys(range(200), code)
    with pytest.raises(OSError, match=os.strerror(code)):
        _messages(found)
    assert found.readers[0].asked == asked
    assert found.readers[0].closed


# --- Following ------------------------------------------------------------------------------------


def _following(found: Journal, **query: Any) -> AsyncGenerator[Mapping[str, object], None]:  # noqa: ANN401
    return stream(Query(follow=True, **query), found.open)


async def _take(entries: AsyncGenerator[Mapping[str, object], None], count: int) -> list[object]:
    async with asyncio.timeout(10):
        return [(await anext(entries))["message"] for _ in range(count)]


def test_following_begins_with_the_last_ten() -> None:
    async def follow() -> None:
        found = _filled()
        entries = _following(found)
        assert await _take(entries, 10) == [f"now {at}" for at in range(6, 16)]
        waiting = asyncio.create_task(_take(entries, 2))
        await asyncio.sleep(0)
        found.write(entry(90, "one"), entry(91, "other boot's", BEFORE), entry(92, "two"))
        assert await waiting == ["one", "two"]

    asyncio.run(follow())


@pytest.mark.parametrize(
    "query", [{"lines": 0}, {"unit": "late"}, {"pod": "late"}, {"since": 80.0}], ids=str
)
def test_following_what_is_not_there_yet(query: dict[str, Any]) -> None:
    async def follow() -> None:
        found = _filled()
        waiting = asyncio.create_task(_take(_following(found, **query), 1))
        await asyncio.sleep(0)
        fields = {"_SYSTEMD_UNIT": "late.service", "CONTAINER_TAG": "late"}
        found.write(entry(90, "first", **fields))
        assert await waiting == ["first"]

    asyncio.run(follow())


def test_a_change_of_nothing_reads_nothing() -> None:
    async def follow() -> None:
        found = Journal()
        waiting = asyncio.create_task(_take(_following(found), 1))
        await asyncio.sleep(0)
        reader = found.readers[0]
        reader.tell(0)
        await reader.processed.wait()
        found.write(entry(1, "at last"))
        assert await waiting == ["at last"]
        assert reader.asked == 2  # at the beginning, and when there was something

    asyncio.run(follow())


def test_a_client_that_does_not_read_wakes_nobody() -> None:
    async def follow() -> None:
        found = _filled()
        entries = _following(found, lines=0)
        waiting = asyncio.create_task(_take(entries, 1))
        await asyncio.sleep(0)
        found.write(entry(90, "read"), entry(91, "unread"))
        assert await waiting == ["read"]
        assert not asyncio.get_running_loop().remove_reader(found.readers[0].fileno())

    asyncio.run(follow())


def test_closing_frees_the_reader() -> None:
    async def follow() -> None:
        found = _filled()
        async with aclosing(_following(found)) as entries:
            await anext(entries)
        assert found.readers[0].closed

    asyncio.run(follow())


def test_cancelling_frees_the_reader() -> None:
    async def follow() -> None:
        found = Journal()
        waiting = asyncio.create_task(_take(_following(found), 1))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert found.readers[0].closed

    asyncio.run(follow())


@pytest.mark.parametrize(
    ("query", "entries", "turns"),
    [
        # Each entry is read; gone back by two; looked at the last of each boot.
        (Query(), 16, 16),
        (Query(lines=999), 1, 8),
        (Query(boot=-20), 1, 20),
    ],
)
def test_a_long_read_lets_others_work(
    query: Query, entries: int, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_SLICE", -1.0)
    monkeypatch.setattr(journal, "_STEP", 2)
    found = _filled()
    found.entries[:0] = [entry(1, boot=f"{at:032}") for at in range(100, 119)]

    async def read() -> int:
        others = 0

        async def other() -> None:
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        async with aclosing(stream(query, found.open)) as lines:
            for _ in range(entries):
                await anext(lines)
        task.cancel()
        return others

    assert asyncio.run(read()) >= turns - 1


# --- Boots ----------------------------------------------------------------------------------------


def test_boots_are_in_the_journals_order() -> None:
    oldest = "0" * 31 + "9"
    found = Journal(
        # Its clock was ahead.
        entry(500, boot=oldest),
        entry(501, boot=oldest),
        *_filled().entries,
    )
    told = boots(found.open)
    assert told == {
        "schema": 1,
        "boots": [
            _boot(0, NOW, 20, 35),
            _boot(-1, BEFORE, 10, 12),
            {
                "index": -2,
                "boot_id": oldest,
                "first": "1970-01-01T00:08:20.000000Z",
                "last": "1970-01-01T00:08:21.000000Z",
            },
        ],
    }
    assert found.readers[0].closed


def _boot(index: int, boot: str, first: int, last: int) -> dict[str, object]:
    told = {"first": first, "last": last}
    times = {name: f"1970-01-01T00:00:{at}.000000Z" for name, at in told.items()}
    return {"index": index, "boot_id": boot} | times


def test_a_boot_whose_beginning_goes_meanwhile_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = _filled()
    reader = found.open()
    monkeypatch.setattr(reader, "seek_head", lambda: None)
    told = cast("list[dict[str, Value]]", boots(lambda: reader)["boots"])
    assert [each["boot_id"] for each in told] == [NOW, BEFORE]


def test_an_empty_journal_has_no_boots() -> None:
    assert boots(Journal().open) == {"schema": 1, "boots": []}
