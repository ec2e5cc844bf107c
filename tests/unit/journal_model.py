"""A journal in memory that answers as python-systemd's reader does."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from hostapi.reader import Entry

NOW, BEFORE = "0" * 31 + "2", "0" * 31 + "1"  # boots


def entry(seconds: float, message: object = "", boot: str = NOW, **fields: object) -> Entry:
    """An entry as the reader gives it, of a time since 1970."""
    return {
        "__REALTIME_TIMESTAMP": int(seconds * 1_000_000),
        "_BOOT_ID": boot,
        "MESSAGE": message,
        "PRIORITY": 6,
        "_PID": 7,
    } | fields


class Journal:
    """Entries, in order; readers of it are told of what is written."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = list(entries)
        self.readers: list[ModelReader] = []
        self.damaged: dict[int, int] = {}  # places of entries that cannot be read, and why

    def open(self) -> "ModelReader":
        reader = ModelReader(self)
        self.readers.append(reader)
        return reader

    def write(self, *entries: Entry) -> None:
        self.entries += entries
        for reader in self.readers:
            reader.tell(1)


class ModelReader:
    """Stands between two entries or on one: `place` is that one, `on` says which."""

    def __init__(self, journal: Journal) -> None:
        self.data_threshold = 0
        self.closed = False
        self.asked = 0
        self.processed = asyncio.Event()
        self._journal = journal
        self._groups: list[list[list[str]]] = []
        self._open = False
        self._place, self._on = 0, False
        self._tail = False
        self._change = 0
        self._descriptors = os.pipe()

    def add_match(self, *matches: str) -> None:
        if not self._open:
            self._groups.append([[]])
            self._open = True
        self._groups[-1][-1] += matches

    def add_disjunction(self) -> None:
        self._groups[-1].append([])

    def add_conjunction(self) -> None:
        self._open = False

    def flush_matches(self) -> None:
        self._groups, self._open = [], False

    def _wanted(self, found: Mapping[str, Any]) -> bool:
        def has(match: str) -> bool:
            name, _, value = match.partition("=")
            return str(found.get(name)) == value

        # The journal's own rule: matches of one field are alternatives (sd_journal_add_match(3)).
        return all(any(all(map(has, term)) for term in group) for group in self._groups)

    def seek_head(self) -> None:
        self._place, self._on, self._tail = 0, False, False

    def seek_tail(self) -> None:
        self._place, self._on, self._tail = len(self._journal.entries), False, True

    def seek_realtime(self, realtime: float) -> None:
        times: list[Any] = [each["__REALTIME_TIMESTAMP"] for each in self._journal.entries]
        later = (at for at, time in enumerate(times) if time >= int(realtime * 1_000_000))
        self._place, self._on, self._tail = next(later, len(times)), False, False

    def get_next(self, skip: int = 1) -> Entry:
        assert skip == 1
        self.asked += 1
        if self._tail:
            return {}
        entries = self._journal.entries
        for at in range(self._place + self._on, len(entries)):
            if self._wanted(entries[at]):
                self._place, self._on = at, True
                if code := self._journal.damaged.get(at):
                    raise OSError(code, os.strerror(code))
                return entries[at]
        return {}

    def get_previous(self, skip: int = 1) -> Entry:
        found: Entry = {}
        entries = self._journal.entries
        for at in range(self._place - 1, -1, -1):
            if skip and self._wanted(entries[at]):
                self._place, self._on, self._tail = at, True, False
                found = entries[at]
                skip -= 1
        if found and (code := self._journal.damaged.get(self._place)):
            raise OSError(code, os.strerror(code))
        return found

    def fileno(self) -> int:
        return self._descriptors[0]

    def tell(self, change: int) -> None:
        if not self.closed:
            self._change = change
            os.write(self._descriptors[1], b"!")

    def process(self) -> int:
        self.processed.set()
        os.read(self._descriptors[0], 1 << 10)
        change, self._change = self._change, 0
        return change

    def get_timeout_ms(self) -> int:
        return -1

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        for descriptor in self._descriptors:
            os.close(descriptor)
