"""A small blocking client of the QEMU Machine Protocol (docs/interop/qmp-spec)."""

import json
import socket
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from builder.vm.wait import Deadline, VmError, WaitError, wait_until

_LONGEST_LINE = 1 << 20  # bytes
_KEPT_EVENTS = 1000


class QmpError(VmError):
    """QEMU refused a command, or its monitor is gone."""


class QmpClosedError(QmpError):
    """QEMU hung up: it has ended."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something QEMU reported by itself, such as RESET or WATCHDOG."""

    name: str
    data: Mapping[str, object]


class Qmp:
    """A connection to one monitor; commands are answered in order, events are kept."""

    def __init__(self, path: Path, seconds: float = 10) -> None:
        """Connect as soon as QEMU listens at `path`, and negotiate.

        Raises:
            VmError: nobody listens there in time, or it is no QMP monitor.
        """
        self._buffer = bytearray()
        self._events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self._commands = 0
        deadline = Deadline(seconds)
        self._socket = wait_until(lambda: _connect(path), seconds, f"QEMU's monitor at {path}")
        try:
            self._negotiate(path, deadline)
        except BaseException:
            self._socket.close()
            raise

    def _negotiate(self, path: Path, deadline: Deadline) -> None:
        greeting = self._message(deadline)
        if greeting is None or "QMP" not in greeting:
            raise QmpError(f"{path} is not a QEMU monitor: it said {greeting}")
        self.execute("qmp_capabilities", seconds=deadline.left)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; QEMU goes on."""
        self._socket.close()

    def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, seconds: float = 30
    ) -> object:
        """Run one command and return its answer.

        Raises:
            QmpError: QEMU answered with an error, or hung up.
            WaitError: no answer within `seconds`.
        """
        self._commands += 1
        request: dict[str, object] = {"execute": command, "id": self._commands}
        if arguments:
            request["arguments"] = arguments
        deadline = Deadline(seconds)
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpClosedError(f"QEMU is gone, {command} cannot be sent: {error}") from error
        while True:
            message = self._message(deadline)
            if message is None:
                raise WaitError(f"QEMU did not answer {command} within {seconds:g} s")
            if message.get("id") != self._commands:
                continue  # an event, or the late answer to a command that was given up
            if "error" in message:
                raise QmpError(f"QEMU refused {command}: {_description(message['error'])}")
            if "return" in message:
                return message["return"]

    def human(self, line: str, *, seconds: float = 30) -> str:
        """Run a line of the human monitor (savevm, info usernet, ...) and return its text."""
        answer = self.execute("human-monitor-command", {"command-line": line}, seconds=seconds)
        return str(answer)

    def events(self) -> tuple[Event, ...]:
        """Every event since the last `forget_events`, oldest first, without waiting for more."""
        with suppress(QmpClosedError):
            while self._message(Deadline(0)) is not None:
                pass
        return tuple(self._events)

    def forget_events(self) -> None:
        """Drop the events so far, so that the next wait is for a new one."""
        self.events()
        self._events.clear()

    def wait_for_event(self, name: str, seconds: float) -> Event:
        """Return the oldest kept event of that name, waiting for it; it is then forgotten.

        Raises:
            WaitError: none came within `seconds`.
            QmpError: QEMU ended first.
        """
        deadline = Deadline(seconds)
        while True:
            for event in self._events:
                if event.name == name:
                    self._events.remove(event)
                    return event
            if self._message(deadline) is None:
                raise WaitError(f"waited {seconds:g} s in vain for QEMU's event {name}")

    def _message(self, deadline: Deadline) -> dict[str, object] | None:
        """The next message, events noted in passing; None at the deadline."""
        line = self._line(deadline)
        if line is None:
            return None
        try:
            message = json.loads(line)
        except ValueError as error:
            raise QmpError(f"QEMU's monitor sent what is not JSON: {line[:200]!r}") from error
        if not isinstance(message, dict):
            raise QmpError(f"QEMU's monitor sent what is not an object: {line[:200]!r}")
        if "event" in message:
            data = message.get("data", {})
            self._events.append(
                Event(str(message["event"]), data if isinstance(data, dict) else {})
            )
        return message

    def _line(self, deadline: Deadline) -> bytes | None:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LONGEST_LINE:
                raise QmpError(f"QEMU's monitor sent a line of more than {_LONGEST_LINE} bytes")
            try:
                self._socket.settimeout(deadline.left)  # 0 is "what is there already"
                received = self._socket.recv(65536)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError as error:
                raise QmpClosedError(f"QEMU's monitor failed: {error}") from error
            if not received:
                raise QmpClosedError("QEMU hung up: it has ended")
            self._buffer += received
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line


def _connect(path: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise QmpError(f"cannot connect to QEMU's monitor at {path}: {error}") from error
    return connection


def _description(error: object) -> object:
    return error.get("desc", error) if isinstance(error, dict) else error
