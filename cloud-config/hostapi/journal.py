"""The journal: its entries, as a stream that may go on for ever, and its boots.

    async for entry in stream(Query.of(arguments, time.time())):
        ...

Every stream has a reader of its own. That costs some hundred KiB, because what a reader maps of the
journal's files is the page cache's; it keeps a client's place while that client is slow, and lets
the journal's own indices say what it wants. One reader for all would have to read, for a client
that wants one unit's errors, every line of the host. A reader is asked only when the journal's
descriptor says that it has changed, which journald does at most four times a second.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hostapi import containers, selection
from hostapi.contract import SCHEMA, Value
from hostapi.entries import Container, microseconds, rfc3339, text, to_plain
from hostapi.reader import NOTHING, Entry, Opened, Reader, following, open_reader, preceding
from updater.errors import InputError

_PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BEFORE = 10  # entries shown before what comes: `journalctl --follow`
_SLICE = 0.002  # seconds of reading, until others have their turn
_STEP = 500  # entries gone back at once: about as long
_MOST_BOOTS = 1000


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries; None is any. `since` is in Unix seconds, `priority` as in syslog(3)."""

    unit: str | None = None
    pod: str | None = None
    container: str | None = None
    since: float | None = None
    priority: int | None = None
    boot: int = 0  # 0 is this boot, -1 the one before
    lines: int | None = None  # only the last so many
    follow: bool = False

    @classmethod
    def of(cls, arguments: Mapping[str, Value], now: float) -> "Query":
        """What the contract's arguments of "logs" ask for; `now` in Unix seconds.

        Raises:
            InputError: a time that is none, a container without its pod, an end to follow.
        """

        def words(name: str) -> str | None:
            value = arguments.get(name)
            return None if value is None else str(value)

        since, priority, lines = words("since"), words("priority"), arguments.get("lines")
        query = cls(
            unit=words("unit"),
            pod=words("pod"),
            container=words("container"),
            since=None if since is None else _since(since, now),
            priority=None if priority is None else _priority(priority),
            boot=int(arguments.get("boot", 0)),
            lines=None if lines is None else int(lines),
            follow=bool(arguments.get("follow", False)),
        )
        if query.container is not None and query.pod is None:
            raise InputError("container: of which pod? Names of containers are each pod's own")
        if query.follow and query.boot:
            raise InputError("follow: nothing comes in a boot that is over; leave out one of both")
        return query


def _since(words: str, now: float) -> float:
    if age := re.fullmatch(r"([0-9]{1,8})([smhd])", words, re.ASCII):
        return max(0.0, now - int(age[1]) * _UNITS[age[2]])
    try:
        moment = datetime.fromisoformat(words)
    except ValueError as error:
        raise InputError(f"since: {error}; expected RFC 3339 or an age such as 15m") from None
    if moment.tzinfo is None:
        raise InputError("since: a time without its offset; expected RFC 3339, such as ...Z")
    return max(0.0, moment.timestamp())


def _priority(words: str) -> int:
    return int(words) if words.isdecimal() else _PRIORITIES.index(words)


def stream(
    query: Query, opened: Opened = open_reader
) -> AsyncGenerator[Mapping[str, object], None]:
    """The entries in order, as `hostapi.entries.to_plain` has them; then what comes, to follow.

    Closing the generator, or cancelling who waits for it, frees the reader.

    Raises:
        OSError: it cannot be read; while entries are read, too.
        FileNotFoundError: only then: the journal does not know that boot.
    """
    known = containers.known()
    reader = opened()
    try:
        if query.follow:
            # From here on no change is missed (sd_journal_get_fd(3)).
            reader.fileno()
    except BaseException:
        reader.close()
        raise
    return _entries(reader, query, known)


class _Turn:
    """A slice of time: who reads for long lets others work in between."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + _SLICE

    async def over(self) -> None:
        """Let the others work if it is over, and begin the next one."""
        if time.monotonic() > self._ends:
            await asyncio.sleep(0)
            self._ends = time.monotonic() + _SLICE


def _groups(query: Query, boot: str, known: Mapping[str, Container]) -> list[selection.Group]:
    groups = [selection.of_boot(boot)]
    if query.priority is not None:
        groups.append(selection.of_priority(query.priority))
    if query.unit is not None:
        groups.append(selection.of_unit(query.unit))
    if query.pod is not None:
        names = [name for name, container in known.items() if container.pod == query.pod]
        groups.append(selection.of_pod(query.pod, query.container, names))
    return groups


async def _seek(reader: Reader, query: Query, turn: _Turn) -> Entry:
    """Go to where the query begins; if that is on an entry and not before one, it is given."""
    lines = query.lines
    if lines is None and query.follow and query.since is None:
        lines = _BEFORE
    if lines is not None:
        reader.seek_tail()
        # Nothing would ever come behind the tail itself: stand on the last entry.
        entry = await _back(reader, max(1, lines), turn)
        if not entry:
            reader.seek_head()
        if not entry or not lines:
            return {}
        if not _too_old(entry, query):
            return entry
    if query.since is None:
        reader.seek_head()
    else:
        reader.seek_realtime(query.since)
    return {}


async def _back(reader: Reader, lines: int, turn: _Turn) -> Entry:
    """The entry so many before; empty, or the first, if there are not so many."""
    entry: Entry = {}
    for at in range(0, lines, _STEP):
        if not (entry := preceding(reader, min(_STEP, lines - at))):
            break
        await turn.over()
    return entry


def _too_old(entry: Entry, query: Query) -> bool:
    """Whether it is of before; where a clock was set back, the journal finds such, too."""
    return query.since is not None and microseconds(entry) < int(query.since * 1_000_000)


async def _entries(
    reader: Reader, query: Query, known: Mapping[str, Container]
) -> AsyncGenerator[Mapping[str, object], None]:
    turn = _Turn()
    wanted = query.follow or query.lines != 0
    try:
        boot = await _boot_id(reader, query.boot, turn)
        selection.select(reader, _groups(query, boot, known))
        first = await _seek(reader, query, turn)
        entry = first or (following(reader) if wanted else {})
        while True:
            while entry:
                if not _too_old(entry, query):
                    yield to_plain(entry, known)
                await turn.over()
                entry = following(reader)
            if not query.follow:
                return
            await _changed(reader)
            entry = following(reader)
    finally:
        reader.close()


async def _changed(reader: Reader) -> None:
    """Wait until the journal has changed.

    Its descriptor is watched only here: a client that does not read must not make it wake us.
    """
    loop = asyncio.get_running_loop()
    descriptor = reader.fileno()
    while True:
        woken = asyncio.Event()
        milliseconds = reader.get_timeout_ms()
        loop.add_reader(descriptor, woken.set)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if milliseconds < 0 else milliseconds / 1000):
                    await woken.wait()
        finally:
            loop.remove_reader(descriptor)
        if reader.process() != NOTHING:
            return


# --- Boots ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot that the journal knows; times in microseconds since 1970, as the journal got them."""

    id: str
    first: int
    last: int


def boots(opened: Opened = open_reader) -> dict[str, object]:
    """The boots that the journal knows, the last first, as JSON values.

    It looks at each boot's first and last entry, on a disk that may be slow: not for a loop.

    Raises:
        OSError: the journal cannot be read.
    """
    reader = opened()
    try:
        found = [
            {
                "index": -place,
                "boot_id": each.id,
                "first": rfc3339(each.first),
                "last": rfc3339(each.last),
            }
            for place, each in enumerate(_boots(reader))
        ]
    finally:
        reader.close()
    return {"schema": SCHEMA, "boots": found}


def _boots(reader: Reader) -> Iterator[Boot]:
    """From the last backwards, by the journal's own order: a clock may have been wrong."""
    reader.seek_tail()
    seen: set[str] = set()
    while len(seen) < _MOST_BOOTS and (entry := reader.get_previous()):
        boot = text(entry, "_BOOT_ID")
        if boot is None or boot in seen:
            continue
        seen.add(boot)
        reader.add_match(f"_BOOT_ID={boot}")
        reader.seek_head()
        first = reader.get_next()
        reader.flush_matches()
        yield Boot(boot, microseconds(first or entry), microseconds(entry))


def _this_boot() -> str:
    return _BOOT_ID.read_text().strip().replace("-", "")


async def _boot_id(reader: Reader, index: int, turn: _Turn) -> str:
    if index == 0:
        return _this_boot()
    for place, boot in enumerate(_boots(reader)):
        if place == -index:
            return boot.id
        await turn.over()
    raise FileNotFoundError(f"the journal knows no boot {index}; see the list of boots")
