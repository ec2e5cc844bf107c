"""A loopback HTTP server that misbehaves by rule, and counts what it was asked and gave.

Faults are found by path, change while it runs, and end at once when it is stopped.
"""

import re
import socket
import sys
import threading
import time
import traceback
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar
from urllib.parse import unquote, urlsplit

_PIECE = 64 << 10  # bytes read and sent at a time
_TICK_SECONDS = 0.1  # between two pieces of a trickle
_KEPT_REQUESTS = 100_000
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Truncate:
    """The file ends after `size` bytes, as if it had never been longer."""

    size: int


@dataclass(frozen=True, slots=True)
class Garble:
    """The bits of the byte at this place of the file are turned over, whatever range is asked."""

    offset: int


@dataclass(frozen=True, slots=True)
class LieAboutLength:
    """Content-Length says this many bytes more (or, negative, less) than there are.

    All bytes are sent, then the connection closes.
    """

    by: int


@dataclass(frozen=True, slots=True)
class Trickle:
    """The body comes at this many bytes a second."""

    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """The connection closes without an answer."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The answer begins this much later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Status:
    """An error instead of the file."""

    code: int


@dataclass(frozen=True, slots=True)
class IgnoreRange:
    """The whole file, with 200, whatever range is asked."""


@dataclass(frozen=True, slots=True)
class ShiftRange:
    """The bytes, and the Content-Range, lie this far behind those asked for."""

    by: int


@dataclass(frozen=True, slots=True)
class LieAboutRange:
    """Content-Range claims to begin this far behind the bytes that are sent."""

    by: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The connection closes after this many bytes of the body."""

    after: int


Fault = (
    Truncate
    | Garble
    | LieAboutLength
    | Trickle
    | Refuse
    | Delay
    | Status
    | IgnoreRange
    | ShiftRange
    | LieAboutRange
    | Disconnect
)
F = TypeVar("F", bound=Fault)


@dataclass(frozen=True, slots=True)
class Rule:
    """Faults for the paths that a regular expression finds (re.search); the first rule wins.

    Attributes:
        path: the expression.
        faults: they work together.
        times: the requests it applies to, after which it is as if it were not there.
    """

    path: str
    faults: tuple[Fault, ...]
    times: int | None = None


@dataclass(slots=True)
class Request:
    """One request and what it got.

    Attributes:
        status: what was answered; 0 for a connection closed without an answer.
        sent: bytes of the body given to the kernel.
        seconds: from the first of them to the last piece.
    """

    method: str
    path: str
    range: str | None
    status: int = 0
    sent: int = 0
    seconds: float = 0.0


class FaultServer:
    """Serves a folder at `url` from `with` to the end of it, in threads of its own."""

    def __init__(self, folder: Path, *rules: Rule, port: int = 0) -> None:
        self._folder = folder.resolve()
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._used: Counter[int] = Counter()
        self._requests: deque[Request] = deque(maxlen=_KEPT_REQUESTS)
        self.stopping = threading.Event()
        self.set_rules(*rules)
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url_for_guest(self) -> str:
        """The same server, seen from a guest behind QEMU's user network."""
        return f"http://10.0.2.2:{self.port}"

    def set_folder(self, folder: Path) -> None:
        """Serve this folder from now on."""
        self._folder = folder.resolve()

    def set_rules(self, *rules: Rule) -> None:
        """These rules, instead of those before, for requests from now on."""
        with self._lock:
            self._rules = list(rules)
            self._used.clear()

    def requests(self, path: str = "") -> tuple[Request, ...]:
        """The requests so far whose path the expression finds, in order of arrival."""
        with self._lock:
            return tuple(one for one in self._requests if re.search(path, one.path))

    def bytes_sent(self, path: str = "") -> int:
        """The body bytes given for those requests."""
        return sum(one.sent for one in self.requests(path))

    def forget(self) -> None:
        """Drop the list of requests."""
        with self._lock:
            self._requests.clear()

    # What the handlers ask

    def begin(self, request: Request) -> tuple[Fault, ...]:
        """Note a request and say what shall go wrong with it."""
        with self._lock:
            self._requests.append(request)
            for number, rule in enumerate(self._rules):
                spent = rule.times is not None and self._used[number] >= rule.times
                if not spent and re.search(rule.path, request.path):
                    self._used[number] += 1
                    return rule.faults
        return ()

    def find(self, path: str) -> Path | None:
        """The file behind a path of a URL, None outside of the folder."""
        file = (self._folder / unquote(urlsplit(path).path).lstrip("/")).resolve()
        return file if file.is_relative_to(self._folder) and file.is_file() else None


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for every answer's thread

    def __init__(self, address: tuple[str, int], owner: FaultServer) -> None:
        super().__init__(address, _Handler)
        self.owner = owner
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def close_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().close_request(request)

    def close_connections(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        if not isinstance(sys.exception(), OSError):  # a client may hang up whenever it likes
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a byte from or to the client
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        request = Request(self.command, self.path, self.headers.get("Range"))
        faults = owner.begin(request)
        delay = _one(faults, Delay)
        stopped = delay is not None and owner.stopping.wait(delay.seconds)
        if stopped or _one(faults, Refuse) is not None:
            self.close_connection = True
        elif (status := _one(faults, Status)) is not None:
            self._error(request, status.code)
        elif (file := owner.find(self.path)) is None:
            self._error(request, HTTPStatus.NOT_FOUND)
        else:
            self._serve(file, request, faults)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing: the tests ask for `requests`."""

    def _error(self, request: Request, code: int, *headers: tuple[str, str]) -> None:
        request.status = code
        self.send_response(code)
        for name, value in (*headers, ("Content-Length", "0")):
            self.send_header(name, value)
        self.end_headers()

    def _serve(self, file: Path, request: Request, faults: tuple[Fault, ...]) -> None:
        size = file.stat().st_size
        if (truncate := _one(faults, Truncate)) is not None:
            size = min(size, truncate.size)
        asked = None if _one(faults, IgnoreRange) else _parse_range(request.range, size)
        start, end = asked or (0, size)
        if start >= end and asked:
            self._error(
                request,
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                ("Content-Range", f"bytes */{size}"),
            )
            return
        if asked and (shift := _one(faults, ShiftRange)) is not None:
            start, end = min(start + shift.by, size), min(end + shift.by, size)
        length = end - start
        if (lie := _one(faults, LieAboutLength)) is not None:
            length += lie.by
            self.close_connection = True
        request.status = HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK
        self.send_response(request.status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(length))
        if asked:
            claim = _one(faults, LieAboutRange)
            first = start + (claim.by if claim else 0)
            self.send_header("Content-Range", f"bytes {first}-{first + end - start - 1}/{size}")
        self.end_headers()
        if request.method != "HEAD":
            with file.open("rb") as stream:
                self._send_body(stream, start, end, request, faults)

    def _send_body(
        self, stream: BinaryIO, start: int, end: int, request: Request, faults: tuple[Fault, ...]
    ) -> None:
        if (disconnect := _one(faults, Disconnect)) is not None:
            end = min(end, start + disconnect.after)
            self.close_connection = True
        trickle = _one(faults, Trickle)
        piece = _PIECE if trickle is None else max(1, int(trickle.bytes_per_second * _TICK_SECONDS))
        garble = _one(faults, Garble)
        began = time.monotonic()
        stopping = self.server.owner.stopping
        stream.seek(start)
        for position in range(start, end, piece):
            data = bytearray(stream.read(min(piece, end - position)))
            if garble is not None and position <= garble.offset < position + len(data):
                data[garble.offset - position] ^= 0xFF
            # First, so that a client that has them finds them counted.
            request.sent += len(data)
            request.seconds = time.monotonic() - began
            self.wfile.write(data)
            pause = 0.0 if trickle is None else piece / trickle.bytes_per_second
            if stopping.wait(pause) if pause else stopping.is_set():
                self.close_connection = True
                return


def _one(faults: tuple[Fault, ...], kind: type[F]) -> F | None:
    return next((fault for fault in faults if isinstance(fault, kind)), None)


def _parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last (RFC 9110, 14.1.2); None for what to ignore.

    An empty span stands for a range that cannot be satisfied.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
