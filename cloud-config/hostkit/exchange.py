"""What bounds an HTTP exchange by `requests` in time, and what is to be told of one that failed."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as UrllibTimeout

LATE = "no answer in time"
# What requests and urllib3 raise of an exchange; ValueError is http.client's of garbage.
FAULTS = (requests.RequestException, HTTPError, OSError, ValueError)
# A peer that has vanished without a word is noticed within a minute, also by a quiet stream.
_KEEPALIVE = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class Guard:
    """Cuts the connection in use when the time is over.

    A socket's own time-out begins anew with each byte, so that an answer could trickle for ever.
    `sent` says whether a request may have reached the other side.
    """

    def __init__(self) -> None:
        self.connection: HTTPConnection | None = None
        self.sent = False
        self.expired = False
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def arm(self, seconds: float) -> None:
        """Begin a new span of time; an older one counts no more."""
        self.disarm()
        timer = threading.Timer(seconds, self._expire)
        timer.args = (timer,)  # so that one which is late knows that it is
        timer.daemon = True
        with self._lock:
            self.expired = False
            self._timer = timer
        timer.start()

    def disarm(self) -> None:
        """No time is running."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer:
            timer.cancel()

    def cut(self) -> None:
        """End whatever is read or written now; may be called by any thread."""
        connection = self.connection
        held = None if connection is None else connection.sock
        if held is not None:
            with suppress(OSError):
                # On the socket beneath TLS: its own shutdown would touch the TLS state from here.
                socket.socket.shutdown(held, socket.SHUT_RDWR)

    def _expire(self, timer: threading.Timer) -> None:
        with self._lock:
            if timer is self._timer:
                self.expired = True
                self.cut()


def _pools(guard: Guard) -> dict[str, type[HTTPConnectionPool]]:
    """Connections that tell the guard which of them is in use, and whether it has sent."""

    class Connection(HTTPConnection):
        def connect(self) -> None:
            guard.connection = self
            super().connect()

        def send(self, data: Any) -> None:  # noqa: ANN401 - http.client's
            guard.connection = self
            if self.sock is None:
                self.connect()
            guard.sent = True
            super().send(data)

    class TlsConnection(Connection, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": Pool, "https": TlsPool}


class GuardedAdapter(HTTPAdapter):
    """For one exchange at a time, under a guard; `more` goes to urllib3's pools."""

    def __init__(self, guard: Guard, **more: Any) -> None:  # noqa: ANN401 - urllib3's
        self._guard = guard
        self._more = more
        super().__init__(pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests'
        """Called by requests, once."""
        options = {"socket_options": _KEEPALIVE, **kwargs, **self._more}
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._guard)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what is in it; requests and urllib3 wrap it many times, and in both ways."""
    inner: object = error
    while isinstance(inner, BaseException):
        yield inner
        wrapped = inner.args[0] if inner.args else None
        if not isinstance(wrapped, BaseException):
            wrapped = inner.__cause__ or inner.__context__
        inner = wrapped


def reason(error: BaseException, otherwise: str = "") -> str:
    """What the operating system said, if it is in there; else `otherwise`, or the innermost's."""
    links = list(chain(error))
    for link in links:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
    # A refused connection is a time-out to urllib3, so this comes second.
    if any(isinstance(link, TimeoutError | requests.Timeout | UrllibTimeout) for link in links):
        return LATE
    return otherwise or f"{type(links[-1]).__name__}: {ascii(str(links[-1]))[1:-1][:160]}"
