"""A read-only web server for a repository: for trying things, for tests, for a small site.

aiohttp does the HTTP, Range and conditional requests included. A busy site takes any other web
server: the folder is static.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Middleware

from updater.errors import BedplateError, InputError

_LOG = logging.getLogger(__name__)
_LOG_FORMAT = '%a "%r" %s %b %{Range}i'  # who, what, status, bytes, which part
_PIECE = 64 * 1024  # bytes written at a time; what is counted beyond what left is at most two
_STOP_GRACE = 1.0  # seconds that running answers get when the server stops


class ServeError(BedplateError):
    """The server could not start."""


class ServeInputError(InputError):
    """What is to be served is not there."""


class Traffic:
    """Bytes of file contents sent, by path; running and broken off answers count too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, int] = {}
        self._running: dict[object, tuple[str, Callable[[], int]]] = {}

    @contextmanager
    def counting(self, path: str, sent: Callable[[], int]) -> Iterator[None]:
        """Count an answer for `path` while it is sent; `sent` tells its bytes so far."""
        answer = object()
        with self._lock:
            self._running[answer] = (path, sent)
        try:
            yield
        finally:
            with self._lock:
                del self._running[answer]
                self._sent[path] = self._sent.get(path, 0) + sent()

    def bytes_sent(self, prefix: str = "") -> int:
        """Bytes sent of all paths that begin with `prefix` (no slash before it)."""
        with self._lock:
            ended = sum(sent for path, sent in self._sent.items() if path.startswith(prefix))
            running = [sent() for path, sent in self._running.values() if path.startswith(prefix)]
            return ended + sum(running)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is running."""

    url: str
    traffic: Traffic

    def bytes_sent(self, prefix: str = "") -> int:
        """Bytes of file contents sent of paths that begin with `prefix`, "targets/" for example."""
        return self.traffic.bytes_sent(prefix)


class _CountedFile(web.FileResponse):
    """A file answer that adds to the traffic what it sent, be it broken off or not."""

    def __init__(self, path: Path, name: str, traffic: Traffic) -> None:
        super().__init__(path, chunk_size=_PIECE)
        self._file = path
        self._name = name
        self._traffic = traffic
        # Written through the stream writer, which counts, rather than by sendfile, which does not.
        self.enable_compression(web.ContentCoding.identity)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the file or the part asked for."""
        writer = request.writer

        def sent() -> int:
            if request.method != hdrs.METH_GET or self.status not in (200, 206):
                return 0
            return min(self.content_length or 0, writer.output_size)

        with self._traffic.counting(self._name, sent):
            return await super().prepare(_without_stale_range(request, self._file))


def _without_stale_range(request: web.BaseRequest, path: Path) -> web.BaseRequest:
    """The request, less its Range where If-Range names another ETag than the file's.

    aiohttp weighs a date in If-Range, but passes over an ETag, and would then send a part of a file
    that the client does not have the rest of (RFC 9110, 13.1.5). The ETag is spelled as aiohttp's.
    """
    condition = request.headers.get(hdrs.IF_RANGE, "")
    if not condition.startswith(('"', "W/")):
        return request
    stat = path.stat()
    if condition == f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"':
        return request
    headers = request.headers.copy()
    headers.popall(hdrs.RANGE, None)
    return request.clone(headers=headers)


def make_application(
    folder: Path, traffic: Traffic, middlewares: Sequence[Middleware] = ()
) -> web.Application:
    """The application that serves the files under `folder`; GET and HEAD only, no listings.

    Names that begin with a dot (locks, unfinished files) and links that lead outside are not found.
    """
    top = folder.resolve()

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        path = _find(top, name)
        if path is None:
            raise web.HTTPNotFound
        return _CountedFile(path, name, traffic)

    application = web.Application(middlewares=list(middlewares))
    application.router.add_get("/{name:.*}", answer)
    return application


@contextmanager
def serving(
    folder: Path,
    *,
    bind: str = "127.0.0.1",
    port: int = 0,
    middlewares: Sequence[Middleware] = (),
) -> Iterator[Server]:
    """Serve `folder` from a thread while the block runs; port 0 takes a free one.

    `middlewares` (aiohttp's) stand before the files: a test's place to lie, trickle or break off.

    Raises:
        ServeInputError: `folder` is no folder.
        ServeError: the address cannot be bound.
    """
    if not folder.is_dir():
        raise ServeInputError(f"{folder}: no such folder to serve")
    traffic = Traffic()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(
        make_application(folder, traffic, middlewares),
        access_log=_LOG,
        access_log_format=_LOG_FORMAT,
        shutdown_timeout=_STOP_GRACE,
    )
    try:
        loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, bind, port)
        loop.run_until_complete(site.start())
    except OSError as error:
        loop.run_until_complete(runner.cleanup())
        loop.close()
        raise ServeError(f"cannot serve on {bind} port {port}: {error.strerror}") from error
    thread = threading.Thread(target=loop.run_forever, name="serve", daemon=True)
    thread.start()
    host, bound = runner.addresses[0][:2]
    shown = f"[{host}]" if ":" in host else host
    try:
        yield Server(f"http://{shown}:{bound}", traffic)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _find(top: Path, name: str) -> Path | None:
    """The file called `name` under `top`, or None; no listing, nothing hidden, nothing outside."""
    parts = name.split("/")
    if any(part.startswith(".") or "\0" in part for part in parts):
        return None
    try:
        path = top.joinpath(*parts).resolve()
    except OSError:
        return None
    return path if path.is_relative_to(top) and path.is_file() else None
