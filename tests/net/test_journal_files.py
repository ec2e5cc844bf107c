"""Streams of real journal files, read by the library that hosts have.

systemd-journal-remote writes them, in the journal's own export format (systemd.io,
JOURNAL_EXPORT_FORMATS): no journald has to run for that.
"""

import asyncio
import gc
import subprocess
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hostapi import containers, journal
from hostapi.entries import LONGEST
from hostapi.journal import Query, boots, stream
from hostapi.reader import open_reader

_WRITER = "/usr/lib/systemd/systemd-journal-remote"
_BEFORE, _NOW = "0" * 31 + "1", "0" * 31 + "2"
_ADDED = 4 << 20  # bytes that twenty readers may add
_DEADLINE = 20.0  # seconds


class Files:
    """A folder of journal files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open = partial(open_reader, folder)

    def write(self, *entries: dict[str, Any], file: str = "a") -> None:
        argv = [_WRITER, f"--output={self.folder}/{file}.journal", "-"]
        text = b"".join(map(_export, entries))
        subprocess.run(argv, input=text, check=True, capture_output=True)


def _export(entry: dict[str, Any]) -> bytes:
    lines = []
    for name, value in entry.items():
        if isinstance(value, bytes):  # which may hold anything, so its length is told
            lines.append(b"%b\n%b%b\n" % (name.encode(), len(value).to_bytes(8, "little"), value))
        else:
            lines.append(f"{name}={value}\n".encode())
    return b"".join(lines) + b"\n"


def _entry(seconds: int, message: object, boot: str = _NOW, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "__REALTIME_TIMESTAMP": seconds * 1_000_000,
        "__MONOTONIC_TIMESTAMP": seconds,
        "_BOOT_ID": boot,
        "PRIORITY": 6,
        "_PID": 7,
        "MESSAGE": message,
    } | fields


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    (tmp_path / "boot_id").write_text("00000000-0000-0000-0000-000000000002\n")
    monkeypatch.setattr(journal, "_BOOT_ID", tmp_path / "boot_id")
    monkeypatch.setattr(containers, "known", dict)
    folder = tmp_path / "journal"
    folder.mkdir()
    found = Files(folder)
    found.write(
        *(_entry(1000 + at, f"before {at}", _BEFORE) for at in range(3)),
        *(_entry(2000 + at, f"now {at}", PRIORITY=at % 8) for at in range(20)),
    )
    return found


def _messages(files: Files, **query: Any) -> list[Any]:  # noqa: ANN401
    async def read() -> list[object]:
        return [each["message"] async for each in stream(Query(**query), files.open)]

    return asyncio.run(read())


def test_boots(files: Files) -> None:
    told = boots(files.open)["boots"]
    assert told == [
        {
            "index": 0,
            "boot_id": _NOW,
            "first": "1970-01-01T00:33:20.000000Z",
            "last": "1970-01-01T00:33:39.000000Z",
        },
        {
            "index": -1,
            "boot_id": _BEFORE,
            "first": "1970-01-01T00:16:40.000000Z",
            "last": "1970-01-01T00:16:42.000000Z",
        },
    ]


def test_where_a_stream_begins(files: Files) -> None:
    assert _messages(files) == [f"now {at}" for at in range(20)]
    assert _messages(files, boot=-1) == ["before 0", "before 1", "before 2"]
    assert _messages(files, lines=2) == ["now 18", "now 19"]
    assert _messages(files, lines=0) == []
    assert len(_messages(files, lines=1000)) == 20
    assert _messages(files, since=2017.5) == ["now 18", "now 19"]
    assert _messages(files, since=2017.5, lines=1) == ["now 19"]
    assert _messages(files, since=9999.0) == []
    assert _messages(files, priority=0) == ["now 0", "now 8", "now 16"]
    assert _messages(files, unit="no") == []


def test_of_a_unit(files: Files) -> None:
    files.write(
        _entry(3000, "its own", _SYSTEMD_UNIT="a.service", PRIORITY=3),
        _entry(3001, "another's", _SYSTEMD_UNIT="b.service"),
        _entry(3002, "of it", _PID=1, UNIT="a.service"),
        _entry(3003, "forged", UNIT="a.service"),
    )
    assert _messages(files, unit="a") == ["its own", "of it"]
    assert _messages(files, unit="a", priority=3) == ["its own"]


def test_of_a_pod(files: Files) -> None:
    files.write(
        _entry(3000, "web", CONTAINER_NAME="web-main", CONTAINER_TAG="web"),
        _entry(3001, "web 2", CONTAINER_NAME="web-2-main", CONTAINER_TAG="web-2"),
    )
    assert _messages(files, pod="web") == ["web"]
    assert _messages(files, pod="web-2", container="main") == ["web 2"]


def test_strange_messages(files: Files) -> None:
    files.write(_entry(3000, b"\xff\0\n"), _entry(3001, "x" * 1_000_000), _entry(3002, ""))
    assert _messages(files, lines=3) == ["\ufffd\0\n", "x" * (LONGEST - 1) + "…", ""]


async def _until_it_waits() -> None:
    """Until who follows has found where to begin: reading, it gives way far less often."""
    for _ in range(1000):
        await asyncio.sleep(0)


async def _take(entries: AsyncGenerator[Mapping[str, object], None], count: int) -> list[object]:
    async with asyncio.timeout(_DEADLINE):
        return [(await anext(entries))["message"] for _ in range(count)]


@pytest.mark.parametrize("file", ["a", "b"], ids=["same file", "new file"])
@pytest.mark.parametrize(
    "query",
    [
        {"lines": 0},
        {"unit": "late"},
        {"pod": "late"},
        {"since": 2999.0},
        {"priority": 1, "lines": 0},
    ],
    ids=str,
)
def test_following(files: Files, query: dict[str, Any], file: str) -> None:
    late: dict[str, Any] = {"_SYSTEMD_UNIT": "late.service", "CONTAINER_TAG": "late", "PRIORITY": 1}

    async def follow() -> None:
        entries = stream(Query(follow=True, **query), files.open)
        for at in range(3):
            waiting = asyncio.create_task(_take(entries, 2))
            await _until_it_waits()
            new = [_entry(3000 + 2 * at + each, f"{at}.{each}", **late) for each in range(2)]
            await asyncio.to_thread(files.write, *new, file=file)
            assert await waiting == [f"{at}.0", f"{at}.1"]

    asyncio.run(follow())


def test_following_goes_on_when_old_files_are_removed(files: Files) -> None:
    async def follow() -> None:
        entries = stream(Query(follow=True, lines=1), files.open)
        assert await _take(entries, 1) == ["now 19"]
        await asyncio.to_thread(files.write, _entry(3000, "new"), file="b")
        (files.folder / "a.journal").unlink()
        assert await _take(entries, 1) == ["new"]

    asyncio.run(follow())


def _own_memory() -> int:
    """Bytes that are not a file's: its pages are the page cache's (proc(5), RssAnon)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) << 10


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_twenty_followers_are_small(files: Files) -> None:
    for file in range(8):
        many = [_entry(4000 + file * 5000 + at, f"message {at}") for at in range(5000)]
        files.write(*many, file=f"old{file}")

    async def follow() -> None:
        first = stream(Query(follow=True, lines=100), files.open)
        assert await _take(first, 100)
        await first.aclose()
        gc.collect()
        memory, descriptors = _own_memory(), _descriptors()
        entries = [stream(Query(follow=True, lines=100), files.open) for _ in range(20)]
        # A hundred are those before the moment in which they are looked for.
        await asyncio.gather(*(_take(each, 100) for each in entries))
        waiting = [asyncio.create_task(_take(each, 1)) for each in entries]
        await asyncio.to_thread(files.write, _entry(90_000, "last"), file="old7")
        assert {each[-1] for each in await asyncio.gather(*waiting)} == {"last"}
        assert _own_memory() - memory < _ADDED
        for each in entries:
            await each.aclose()
        assert _descriptors() <= descriptors

    asyncio.run(follow())
