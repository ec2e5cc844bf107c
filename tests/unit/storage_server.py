"""A web server on loopback that behaves, or misbehaves as a test wants."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass(slots=True)
class Asked:
    """A request for bytes [start, end) of `data`; `ranged` if it asked for a range."""

    handler: BaseHTTPRequestHandler
    path: str
    data: bytes
    start: int
    end: int
    ranged: bool

    def head(self, status: int, **headers: object) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), str(value))
        self.handler.end_headers()

    def body(self, data: bytes) -> None:
        self.handler.wfile.write(data)

    def hang_up(self) -> None:
        self.handler.wfile.flush()
        self.handler.close_connection = True

    def range_header(self, shift: int = 0) -> str:
        return f"bytes {self.start + shift}-{self.end - 1 + shift}/{len(self.data)}"


Behaviour = Callable[[Asked], None]


def good(asked: Asked) -> None:
    """What a right server does."""
    part = asked.data[asked.start : asked.end]
    if asked.ranged:
        asked.head(206, Content_Length=len(part), Content_Range=asked.range_header())
    else:
        asked.head(200, Content_Length=len(part))
    asked.body(part)


@dataclass(slots=True)
class Server:
    """Serves `files`; the first requests get the behaviours of `script`, the others `usual`."""

    files: dict[str, bytes]
    script: list[Behaviour] = field(default_factory=list)
    usual: Behaviour = good
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def wire_bytes(self) -> int:
        """Bytes of the wire file that were asked for."""
        return sum(end - start for path, start, end in self.asked if path == "root.wire")

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """Clients hang up; that is what is tested."""

        self._server = Quiet(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.rpartition("/")[2]
        behave = self.script.pop(0) if self.script else self.usual
        self.headers.append(dict(handler.headers.items()))
        data = self.files.get(path)
        if data is None:
            handler.send_response(404)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
        start, end = 0, len(data)
        if found:
            start, end = int(found[1]), min(len(data), int(found[2]) + 1)
        self.asked.append((path, start, end))
        behave(Asked(handler, path, data, start, end, ranged=found is not None))


@dataclass(slots=True)
class FakeClock:
    """Time passes by `sleep`, and by `tick` seconds at each look at the clock."""

    tick: float = 0
    time: float = 0
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None

    def now(self) -> float:
        self.time += self.tick
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        self.on_sleep()
