"""The reader of the journal: python3-systemd's, which only hosts have, as much of it as is used.

A reader is open files and maps of them, some KiB of memory of its own; see `hostapi.journal`.
"""

import errno
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

Entry = Mapping[str, object]
Opened = Callable[[], "Reader"]
NOTHING = 0  # what `process()` gives when nothing has changed (SD_JOURNAL_NOP)
_LONGEST = 66 << 10  # bytes of one field, where the journal has it compressed
# What the library would make objects of, twenty of them an entry, for nobody.
_CONVERTERS: Mapping[str, Callable[[Any], object]] = {
    "__REALTIME_TIMESTAMP": int,
    "__MONOTONIC_TIMESTAMP": lambda _: None,
    "_SOURCE_MONOTONIC_TIMESTAMP": int,
    "_SOURCE_REALTIME_TIMESTAMP": int,
    "_BOOT_ID": bytes.decode,
    "_MACHINE_ID": bytes.decode,
    "MESSAGE_ID": bytes.decode,
    "COREDUMP_TIMESTAMP": int,
}
# An entry whose file was removed under the reader, or whose bytes are damaged; journalctl(1) too
# goes on behind it.
_PASSED = frozenset((errno.EADDRNOTAVAIL, errno.EBADMSG, errno.EIO))
_DAMAGED = 100  # in a row, and it is no longer an entry that is damaged but the journal


class Reader(Protocol):
    """`systemd.journal.Reader` (python-systemd 235); an entry that is not there is an empty one."""

    data_threshold: int

    def add_match(self, *matches: str) -> None:
        """Want FIELD=value; see sd_journal_add_match(3)."""

    def add_disjunction(self) -> None:
        """Or what follows."""

    def add_conjunction(self) -> None:
        """And what follows."""

    def flush_matches(self) -> None:
        """Want everything; the place in the journal stays."""

    def seek_head(self) -> None:
        """Go before the first entry."""

    def seek_tail(self) -> None:
        """Go behind the last entry there is at this moment."""

    def seek_realtime(self, realtime: float) -> None:
        """Go before the first entry since a time, in Unix seconds."""

    def get_next(self, skip: int = 1) -> Entry:
        """The next entry, or the one so many further on."""

    def get_previous(self, skip: int = 1) -> Entry:
        """The entry before; or that many before, or the first if there are not so many."""

    def fileno(self) -> int:
        """What is readable when the journal changed (sd_journal_get_fd(3))."""

    def process(self) -> int:
        """Take note of the change, and make the descriptor quiet again."""

    def get_timeout_ms(self) -> int:
        """How long to rely on the descriptor, in milliseconds; -1 is for ever."""

    def close(self) -> None:
        """Give back its files and memory."""


def open_reader(folder: Path | None = None) -> Reader:
    """A reader of this host's journal, be it on the disk or (still) only in memory.

    Args:
        folder: of files to read instead.

    Raises:
        OSError: it cannot be opened.
    """
    library = importlib.import_module("systemd.journal")
    reader: Reader = library.Reader(path=folder, converters=_CONVERTERS)
    reader.data_threshold = _LONGEST
    return reader


def following(reader: Reader) -> Entry:
    """The next entry that can be read; empty at the end.

    Raises:
        OSError: the journal cannot be read.
    """
    return _readable(reader.get_next)


def preceding(reader: Reader, count: int) -> Entry:
    """The entry so many before, or one that can be read before that; empty at the beginning.

    Raises:
        OSError: the journal cannot be read.
    """
    try:
        return reader.get_previous(count)
    except OSError as error:
        if error.errno not in _PASSED:
            raise
    return _readable(reader.get_previous)


def _readable(step: Callable[[], Entry]) -> Entry:
    left = _DAMAGED
    while True:
        try:
            return step()
        except OSError as error:
            left -= 1
            if not left or error.errno not in _PASSED:
                raise
