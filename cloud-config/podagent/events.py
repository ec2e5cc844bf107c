"""What happens to containers, read from the file that podman writes its events to.

With `events_logger = "file"` every podman process, those that conmon starts at a container's end
too, appends a line of JSON (podman's libpod/events, EventLogFile); no process of ours or podman's
has to run for that. An event is a reason to look at a pod. What it tells may be late, twice or in
another order, so nothing rests on it alone.

    with Events() as events:
        while True:
            happened = events.read()
            ...
            events.wait(30)
"""

import ctypes
import json
import os
import select
import struct
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Self

from podagent.types import POD_LABEL

# Where root's podman puts it, unless containers.conf has an events_logfile_path.
PATH = Path("/run/libpod/events/events.log")
_BEHIND = 1 << 20  # bytes: podman begins a new file at 1 MB by itself
# linux/inotify.h; a new file comes by rename.
_MODIFIED, _MOVED_TO, _CREATED, _DELETED = 0x2, 0x80, 0x100, 0x200
_GONE = 0x8000  # the watch itself
_NOTICE = struct.Struct("=iIII")
_BUFFER = 1 << 16


class What(StrEnum):
    """What can happen, as podman calls it; all else is left out."""

    CREATE = "create"
    START = "start"
    DIED = "died"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a container of ours or a pod; `time` is in Unix seconds."""

    what: What
    pod: str  # the instance's id
    container: str  # podman's name of it; "" for the pod itself
    time: float
    exit_code: int | None = None  # of a container that died


@dataclass(frozen=True, slots=True)
class Happened:
    """What was written since the last look; `missed`: there may have been more."""

    events: tuple[Event, ...]
    missed: bool = False


class Events:
    """Follows the file from its present end; it need not be there yet."""

    def __init__(self, path: Path = PATH) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._torn = b""
        self._begun = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._notices = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._notices < 0:
            raise OSError(ctypes.get_errno(), "cannot be told of changes to files (inotify)")
        self._watched = False
        self._watch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._notices)
        if self._file:
            self._file.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Sleep until the file may have changed, or so long; whether it may have."""
        if self._watch():
            return True
        poll = select.poll()
        poll.register(self._notices, select.POLLIN)
        ready = bool(poll.poll(None if seconds is None else seconds * 1000))
        with suppress(BlockingIOError):
            while data := os.read(self._notices, _BUFFER):
                self._watched = self._watched and not _is_gone(data)
        return ready

    def read(self) -> Happened:
        """What podman has written since the last call; it does not wait.

        `missed` is set by the first call, and where the file was begun anew, was cut, or is too
        far ahead: then all pods are to be looked at.

        Raises:
            OSError: the file is there and cannot be read.
        """
        lost = not self._begun
        if self._replaced():
            lost = self._open() or lost
        self._begun = True
        if self._file is None:
            return Happened((), missed=lost)
        size, at = os.fstat(self._file.fileno()).st_size, self._file.tell()
        if lost or size < at or size - at > _BEHIND:
            self._file.seek(0, os.SEEK_END)
            self._torn = b""
            return Happened((), missed=True)
        *lines, self._torn = (self._torn + self._file.read(_BEHIND)).split(b"\n")
        if len(self._torn) > _BEHIND:
            self._torn = b""
        return Happened(tuple(event for line in lines if (event := parse_event(line))))

    def _replaced(self) -> bool:
        """Whether another file has the name. While ours is open, no other gets its inode."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return self._file is not None
        return self._file is None or not os.path.samestat(there, os.fstat(self._file.fileno()))

    def _open(self) -> bool:
        """Open the file that has the name now; whether something was in another before."""
        lost = self._file is not None
        if self._file:
            self._file.close()
        self._file, self._torn = None, b""
        with suppress(FileNotFoundError):
            self._file = self._path.open("rb", buffering=0)
        return lost

    def _watch(self) -> bool:
        """Be told of what happens in the file's folder, which podman may not have made yet.

        Whether that begins now: then something may have happened before.
        """
        if self._watched:
            return False
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder, mask = os.fsencode(self._path.parent), _MODIFIED | _MOVED_TO | _CREATED | _DELETED
        if self._libc.inotify_add_watch(self._notices, folder, mask) < 0:
            raise OSError(ctypes.get_errno(), "cannot be watched", str(self._path.parent))
        self._watched = True
        return True


def parse_event(line: bytes) -> Event | None:
    """An event of a line of the file; None for what is not one of ours (podman-events(1))."""
    try:
        document: dict[str, Any] = json.loads(line)
        what, kind = What(document["Status"]), document["Type"]
        if kind == "pod":
            pod, container = str(document["Name"]), ""
        elif kind == "container":
            pod, container = str(document["Attributes"][POD_LABEL]), str(document["Name"])
        else:
            return None
        time = datetime.fromisoformat(document["Time"]).timestamp()
        code = document.get("ContainerExitCode")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None
    died = what is What.DIED and isinstance(code, int)
    return Event(what, pod, container, time, code if died else None)


def _is_gone(data: bytes) -> bool:
    """Whether the folder itself was taken away (inotify(7), IN_IGNORED)."""
    at, gone = 0, False
    while at < len(data):
        _, mask, _, length = _NOTICE.unpack_from(data, at)
        gone = gone or bool(mask & _GONE)
        at += _NOTICE.size + length
    return gone
