"""Bytes over HTTP(S) from servers that nobody trusts.

What may be read is bounded by signed lengths and by `Limits`, never by what a server says of
itself: a broken, slow, lying or endless answer ends in a retry from where it stopped, and after
too many of those in a `FetchError`.
"""

import hashlib
import io
import logging
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as UrllibTimeout
from urllib3.poolmanager import PoolManager
from urllib3.response import HTTPResponse

from updater.errors import BedplateError

_LOG = logging.getLogger(__name__)
_READ_SIZE = 64 * 1024
# So many bytes since the last failure make it a new one, and not one more of the same.
_PROGRESS = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)")
_REDIRECTS = (301, 302, 303, 307, 308)
_WORTH_A_RETRY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class FetchError(BedplateError):
    """A file could not be had; `status` is the HTTP status that said so, if one did."""

    def __init__(self, url: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"{public(url)}: {reason}")
        self.status = status


def public(url: str) -> str:
    """A URL as it may be shown: without a password, and without a query, which may be a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="..." if parts.query else "").geturl()


class _TryAgainError(Exception):
    """This attempt failed, another one may do better."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, how often and how fast; a `Fetcher` keeps to them over its whole life."""

    connect_seconds: float = 15
    gap_seconds: float = 30  # without a byte; also for the whole of the headers
    total_seconds: float = 2 * 3600  # from the making of the Fetcher on
    retries: int = 8  # in a row, without 256 KiB in between
    backoff_seconds: float = 1  # before the first retry, doubled for each further one
    backoff_limit_seconds: float = 60
    slowest: int = 1024  # bytes/s; an answer that is slower over gap_seconds is given up
    redirects: int = 5
    bandwidth: int | None = None  # bytes/s at most


class Clock(Protocol):
    """Time as the fetcher knows it; tests bring their own."""

    def now(self) -> float:
        """Monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class TokenBucket:
    """Lets `rate` bytes/s through, and at most one second's worth at once; None is no limit."""

    def __init__(self, rate: int | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = float(rate or 0)
        self._filled = clock.now()

    def take(self, count: int) -> None:
        """Wait until `count` bytes more are within the rate."""
        if self._rate is None:
            return
        now = self._clock.now()
        self._tokens = min(self._rate, self._tokens + (now - self._filled) * self._rate) - count
        self._filled = now
        if self._tokens < 0:
            self._clock.sleep(-self._tokens / self._rate)


class _HeaderLimit(HTTPConnection):
    """A connection on which the headers must be there whole within the read time-out.

    The socket's own time-out starts anew with each byte, so that headers could trickle for ever.
    """

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's differs so too
        """Wait for an answer's headers."""
        connection = self.sock
        given_up = []

        def give_up() -> None:
            given_up.append(True)
            with suppress(OSError):
                # On the socket beneath TLS: its own shutdown would touch the TLS state from here.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

        timer = threading.Timer(self.timeout or 0, give_up)
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        finally:
            timer.cancel()
        if given_up:
            # http.client takes headers that break off for whole ones.
            raise TimeoutError("no answer in time")
        return response


class _HttpsHeaderLimit(_HeaderLimit, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HeaderLimit


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsHeaderLimit


def _limit_headers(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests'
        super().init_poolmanager(*args, **kwargs)
        _limit_headers(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> PoolManager:  # noqa: ANN401
        manager: PoolManager = super().proxy_manager_for(*args, **kwargs)
        _limit_headers(manager)
        return manager


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow nothing: requests would read a redirect's body first, however long."""


def _reason(error: BaseException) -> str:
    """What the operating system said, if it is in there; requests wraps it many times."""
    chain: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None:
        chain.append(inner)
        inner = inner.__cause__ or inner.__context__
    for link in chain:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
    # A refused connection is a time-out to urllib3, so this comes second.
    if any(isinstance(link, TimeoutError | requests.Timeout | UrllibTimeout) for link in chain):
        return "no answer in time"
    # What is around it may hold the URL, and that a password.
    return f"{type(chain[-1]).__name__}: {ascii(str(chain[-1]))[1:-1][:160]}"


class Fetcher:
    """Fetches the files of one update attempt, within `limits`; for use by one thread.

    `proxies` maps "http" and "https" to a proxy's URL; the environment is not looked at.
    `received` counts the bytes of all bodies. `ranged` turns False when a server answers a range
    with the whole file: then one long stream is cheaper than many short ones.
    """

    def __init__(
        self,
        limits: Limits = Limits(),
        *,
        proxies: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.received = 0
        self.ranged = True
        self._limits = limits
        self._clock = clock or SystemClock()
        self._bucket = TokenBucket(limits.bandwidth, self._clock)
        self._ends = self._clock.now() + limits.total_seconds
        self._session = _Session()
        self._session.trust_env = False
        self._session.proxies.update(proxies or {})
        if ca_file is not None:
            self._session.verify = str(ca_file)
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, _Adapter())

    def stream(self, url: str, start: int, end: int) -> Generator[bytes, None, None]:
        """The bytes [start, end) of `url`, all of them, in pieces of at most 64 KiB.

        Broken answers are taken up where they stopped.

        Raises:
            FetchError: refused, or too many failures, or past the total deadline.
        """
        position = mark = start
        failures = 0
        while position < end:
            try:
                for piece in self._attempt(url, position, end):
                    position += len(piece)
                    yield piece
                reason = "the answer ended early"
            except _TryAgainError as error:
                reason = str(error)
            if position < end:
                if position - mark >= _PROGRESS:
                    failures, mark = 0, position
                failures += 1
                self._pause(url, failures, reason)

    def download(self, url: str, length: int, sha256: str, sink: BinaryIO) -> None:
        """Write the file of `length` bytes and that SHA-256 (hex) to `sink`, from its position on.

        What is in `sink` after an error is nobody's file.

        Raises:
            FetchError: as for `stream`, or twice other bytes than were signed.
            OSError: `sink` cannot be written.
        """
        beginning = sink.tell()
        for _ in range(2):
            sink.seek(beginning)
            state = hashlib.sha256()
            for piece in self.stream(url, 0, length):
                state.update(piece)
                sink.write(piece)
            if state.hexdigest() == sha256:
                return
            _LOG.warning("%s: not the bytes that were signed", public(url))
        raise FetchError(
            url,
            f"not the bytes that were signed: SHA-256 of the first {length} bytes is "
            f"{state.hexdigest()}, expected {sha256}",
        )

    def get(self, url: str, length: int, sha256: str) -> bytes:
        """The file of `length` bytes and that SHA-256 (hex), in memory.

        Raises:
            FetchError: as for `download`.
        """
        sink = io.BytesIO()
        self.download(url, length, sha256, sink)
        return sink.getvalue()

    def small(
        self,
        url: str,
        maximum: int,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        answers_with: Mapping[str, str] | None = None,
    ) -> bytes:
        """A file of at most `maximum` bytes whose length nobody has signed yet (TUF metadata).

        Args:
            url: of the file.
            maximum: bytes.
            headers: more of them for the request. They may be secret: with any, or with another
                method than GET, a redirect to another server is refused.
            method: of the request.
            answers_with: headers that the answer must have.

        Raises:
            FetchError: refused (`status` says by which HTTP status), longer, or too many failures.
        """
        failures = 0
        while True:
            try:
                with closing(self._open(url, headers or {}, method)) as response:
                    self._expect(url, response, HTTPStatus.OK)
                    self._expect_headers(url, response, answers_with or {})
                    data = b"".join(self._pieces(url, response, maximum + 1))
                    if len(data) <= maximum:
                        self._expect_length(response)
            except _TryAgainError as error:
                failures += 1
                self._pause(url, failures, str(error))
                continue
            if len(data) > maximum:
                raise FetchError(url, f"longer than the {maximum} bytes allowed")
            return data

    def _check_deadline(self, url: str) -> None:
        if self._clock.now() > self._ends:
            raise FetchError(
                url, f"not done within {self._limits.total_seconds:g} s, the total deadline"
            )

    def _pause(self, url: str, failures: int, reason: str) -> None:
        if failures > self._limits.retries:
            raise FetchError(url, f"{reason}; gave up after {failures} attempts")
        limits = self._limits
        _LOG.warning(
            "%s: %s; trying again (%d of %d)", public(url), reason, failures, limits.retries
        )
        seconds = min(limits.backoff_seconds * 2 ** (failures - 1), limits.backoff_limit_seconds)
        self._clock.sleep(max(0.0, min(seconds, self._ends - self._clock.now())))
        self._check_deadline(url)

    def _attempt(self, url: str, start: int, end: int) -> Iterator[bytes]:
        """One request for [start, end): what it gives of that, from the start on."""
        with closing(self._open(url, {"Range": f"bytes={start}-{end - 1}"})) as response:
            if response.status_code == HTTPStatus.OK:
                self.ranged = self.ranged and start == 0
                yield from self._skip(self._pieces(url, response, end), start)
                return
            self._expect(url, response, HTTPStatus.PARTIAL_CONTENT)
            given = response.headers.get("Content-Range", "")
            found = _CONTENT_RANGE.fullmatch(given)
            if not found or int(found[1]) != start or not start <= int(found[2]) < end:
                raise _TryAgainError(f"asked for bytes {start}-{end - 1}, got {given[:60]!r}")
            yield from self._pieces(url, response, int(found[2]) + 1 - start)

    @staticmethod
    def _skip(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
        for piece in pieces:
            if count < len(piece):
                yield piece[count:]
            count = max(0, count - len(piece))

    def _pieces(self, url: str, response: requests.Response, maximum: int) -> Iterator[bytes]:
        """At most `maximum` bytes of the body, as they come."""
        size = min(_READ_SIZE, self._limits.bandwidth or _READ_SIZE)
        waited = 0.0
        arrived = 0
        while maximum > 0:
            before = self._clock.now()
            try:
                piece = response.raw.read1(min(size, maximum), decode_content=False)
            except (HTTPError, OSError) as error:
                raise _TryAgainError(f"the answer broke off: {_reason(error)}") from error
            if not piece:
                return
            waited += self._clock.now() - before
            arrived += len(piece)
            if waited >= self._limits.gap_seconds:
                if arrived < self._limits.slowest * waited:
                    raise _TryAgainError(
                        f"slower than {self._limits.slowest} bytes/s: "
                        f"{arrived} bytes in {waited:.0f} s"
                    )
                waited, arrived = 0.0, 0
            self._check_deadline(url)
            self._bucket.take(len(piece))
            self.received += len(piece)
            maximum -= len(piece)
            yield piece

    @staticmethod
    def _expect(url: str, response: requests.Response, status: HTTPStatus) -> None:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise FetchError(url, f"the server insists on Content-Encoding {encoding[:40]!r}")
        if response.status_code == status:
            return
        reason = f"HTTP status {response.status_code}"
        if response.status_code >= 500 or response.status_code in _WORTH_A_RETRY:
            raise _TryAgainError(reason)
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            reason += ": the server's file is shorter than the signed one"
        raise FetchError(url, reason, response.status_code)

    @staticmethod
    def _expect_headers(url: str, response: requests.Response, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            given = response.headers.get(name, "")
            if given != value:
                raise FetchError(url, f"the answer's {name} is {given[:40]!r}, expected {value!r}")

    @staticmethod
    def _expect_length(response: requests.Response) -> None:
        """Without one, what breaks off would pass for the whole."""
        chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if not chunked and "Content-Length" not in response.headers:
            raise _TryAgainError("the answer does not say how long it is")

    def _open(self, url: str, headers: Mapping[str, str], method: str = "GET") -> requests.Response:
        """The answer to a request, after redirects, with its body unread."""
        target = url
        stays = method != "GET" or bool(headers.keys() - {"Range"})
        for _ in range(self._limits.redirects + 1):
            self._check_deadline(url)
            if urlsplit(target).scheme not in {"http", "https"}:
                raise FetchError(url, f"{public(target)[:200]!r} is neither http nor https")
            response = self._request(target, headers, method)
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            try:
                following = urljoin(target, response.headers.get("Location", ""))
                schemes = urlsplit(target).scheme, urlsplit(following).scheme
            except ValueError as error:
                raise FetchError(url, f"redirected to no valid URL: {error}") from error
            if schemes == ("https", "http"):
                raise FetchError(
                    url, f"redirected from https to http ({public(following)[:200]}): refused"
                )
            if stays and urlsplit(following)[:2] != urlsplit(target)[:2]:
                raise FetchError(
                    url, f"redirected to another server ({public(following)[:200]}): refused"
                )
            target = following
        raise FetchError(url, f"more than {self._limits.redirects} redirects")

    def _request(self, url: str, headers: Mapping[str, str], method: str) -> requests.Response:
        limits = self._limits
        try:
            return self._session.request(
                method,
                url,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                allow_redirects=False,
                timeout=(limits.connect_seconds, limits.gap_seconds),
            )
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise FetchError(
                    url, f"the server's certificate is not trusted: {error}"
                ) from error
            raise _TryAgainError(_reason(error)) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _TryAgainError(_reason(error)) from error
        except (OSError, HTTPError, ValueError) as error:
            raise FetchError(url, f"no valid request or answer: {_reason(error)}") from error
