"""Crashes that are kept: core dumps (systemd-coredump(8)) and kernel crashes (systemd-pstore(8)).

Their folders and names may be read by anybody, what is in them only by root: the list is made here,
and one of them is given out by root's side (hostapi.acts.crashes). A file is never found by a path
that a client gives: the list is made anew, and one of its names is looked for.
"""

import os
import re
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hostapi import containers
from hostapi.contract import SCHEMA
from hostapi.entries import Container, container_of, number, rfc3339, text
from hostapi.reader import Entry, Opened, Reader, open_reader
from hostapi.selection import COREDUMP

CORES = Path("var/lib/systemd/coredump")
KERNEL = Path("var/lib/systemd/pstore")
_MOST = 1000  # crashes in the list, the last ones
_LONGEST = 200  # characters of a name, which the contract takes
# core.COMM.UID.BOOT.PID.MICROSECONDS, with \x and two digits for what is special in a COMM, and
# what compressed it (systemd's coredump.c, make_filename()).
_CORE = re.compile(
    r"core\.(?P<program>[^.]*)\.[0-9]+\.[0-9a-f]{32}"
    r"\.(?P<pid>[0-9]{1,10})\.(?P<at>[0-9]{1,17})(\.[a-z0-9]+)?"
)
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_OTHER = re.compile(r"[^A-Za-z0-9_.@+:\-]")  # than the contract's names have
_EPOCH = re.compile(r"[0-9]{10}")  # efi-pstore's first part of a record's number: seconds
_WHOLE = "dmesg.txt"  # the parts of one record, joined by systemd-pstore
# What is told of a dump's entry in the journal, which has the process's environment, too.
_TOLD = (
    "COREDUMP_CGROUP",
    "COREDUMP_EXE",
    "COREDUMP_SIGNAL",
    "COREDUMP_SIGNAL_NAME",
    "COREDUMP_UNIT",
)
_CONTAINER = re.compile(r"/libpod-([0-9a-f]{64})")


class Kind(StrEnum):
    """What crashed."""

    KERNEL = "kernel"
    CORE = "core"


@dataclass(frozen=True, slots=True)
class Crash:
    """A file that is kept; `name` is what the API calls it, `at` in microseconds since 1970."""

    name: str
    kind: Kind
    at: int
    bytes: int
    program: str
    path: Path  # as systemd names it in the journal
    pid: int | None = None


# --- Files ----------------------------------------------------------------------------------------


def kept(root: Path = Path("/")) -> list[Crash]:
    """What is kept, the last first."""
    found = [crash for crash, _ in walk(root)]
    return sorted(found, key=lambda each: (-each.at, each.name))[:_MOST]


def walk(root: Path = Path("/")) -> Iterator[tuple[Crash, Callable[[], int]]]:
    """Each crash, and how to open its file for reading as long as the walk stands there.

    Folders and files are opened one below the other without following a link.

    Raises:
        OSError: a folder cannot be read; one that is not there holds nothing.
    """
    for kind, folder in ((Kind.CORE, CORES), (Kind.KERNEL, KERNEL)):
        top = root / folder
        if not top.is_dir():
            continue
        for place, folders, files, descriptor in os.fwalk(top, follow_symlinks=False):
            if kind is Kind.CORE:
                folders.clear()
            below = Path(place).relative_to(top)
            # The parts would only tell once more what is in the whole.
            for file in [_WHOLE] if _WHOLE in files else sorted(files):
                try:
                    status = os.stat(file, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # its age or its folder's size took it just now
                if crash := _crash(kind, below / file, status):
                    yield crash, _opening(file, descriptor)


def _opening(file: str, folder: int) -> Callable[[], int]:
    return lambda: os.open(
        file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
    )


def _crash(kind: Kind, below: Path, status: os.stat_result) -> Crash | None:
    if not stat.S_ISREG(status.st_mode) or below.name.startswith("."):
        return None
    if kind is Kind.CORE:
        match = _CORE.fullmatch(below.name)
        if not match:
            return None
        return Crash(
            name=_name(_plain(below.name)),
            kind=kind,
            at=int(match["at"]),
            bytes=status.st_size,
            program=_plain(match["program"]),
            path=Path("/") / CORES / below,
            pid=int(match["pid"]),
        )
    seconds = _EPOCH.fullmatch(below.parts[0])
    return Crash(
        name=_name(".".join(("kernel", *below.parts))),
        kind=kind,
        at=int(seconds[0]) * 1_000_000 if seconds else status.st_mtime_ns // 1000,
        bytes=status.st_size,
        program="kernel",
        path=Path("/") / KERNEL / below,
    )


def _plain(escaped: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), escaped)


def _name(words: str) -> str:
    """As the contract wants names; each is told apart by its numbers."""
    return _OTHER.sub("_", words)[:_LONGEST]


# --- The list -------------------------------------------------------------------------------------


def listing(root: Path = Path("/"), opened: Opened = open_reader) -> dict[str, object]:
    """The crashes that are kept as JSON values, the last first.

    A core dump has "signal", "pid" and "unit" as far as they are known, and "pod" and "container"
    if its process was in one.

    Raises:
        OSError: a folder or the journal cannot be read.
    """
    crashes = kept(root)
    told: Mapping[str, dict[str, object]] = {}
    if any(each.kind is Kind.CORE for each in crashes):
        reader = opened()
        try:
            told = _told(reader, {str(each.path) for each in crashes})
        finally:
            reader.close()
    return {"schema": SCHEMA, "crashes": [_entry(each, told) for each in crashes]}


def _entry(crash: Crash, told: Mapping[str, dict[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {
        "name": crash.name,
        "kind": crash.kind.value,
        "at": rfc3339(crash.at),
        "bytes": crash.bytes,
        "program": crash.program,
    }
    if crash.pid is not None:
        found["pid"] = crash.pid
    return found | told.get(str(crash.path), {})


def _told(reader: Reader, paths: set[str]) -> dict[str, dict[str, object]]:
    """What the journal tells of core dumps, by their files."""
    reader.add_match(COREDUMP)
    reader.seek_tail()
    entries: dict[str, Entry] = {}
    for _ in range(_MOST):
        entry = reader.get_previous()
        if not entry or len(entries) == len(paths):
            break
        if (path := text(entry, "COREDUMP_FILENAME")) in paths:
            entries[str(path)] = {name: entry.get(name) for name in _TOLD}
    known = containers.known()
    homes: dict[str, Container | None] = {}
    return {path: _details(reader, entry, known, homes) for path, entry in entries.items()}


def _details(
    reader: Reader,
    entry: Entry,
    known: Mapping[str, Container],
    homes: dict[str, Container | None],
) -> dict[str, object]:
    found: dict[str, object] = {}
    if program := text(entry, "COREDUMP_EXE"):
        found["program"] = program
    if name := text(entry, "COREDUMP_SIGNAL_NAME") or _signal(number(entry, "COREDUMP_SIGNAL")):
        found["signal"] = name
    if unit := text(entry, "COREDUMP_UNIT"):
        found["unit"] = unit
    if match := _CONTAINER.search(text(entry, "COREDUMP_CGROUP") or ""):
        if match[1] not in homes:
            homes[match[1]] = _home(reader, match[1], known)
        if home := homes[match[1]]:
            found |= {"pod": home.pod, "container": home.name}
    return found


def _signal(value: int | None) -> str | None:
    try:
        return None if value is None else signal.Signals(value).name
    except ValueError:
        return str(value)


def _home(reader: Reader, podman_id: str, known: Mapping[str, Container]) -> Container | None:
    """Which container has podman's id, by what it has logged."""
    reader.flush_matches()
    reader.add_match(f"CONTAINER_ID_FULL={podman_id}")
    reader.seek_tail()
    return container_of(reader.get_previous(), known)
