"""Things that listen where an etcd should, and are none."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")


@dataclass(slots=True)
class Endpoint:
    """What listens, and the whole requests that came."""

    url: str
    requests: list[bytes] = field(default_factory=list)


def _read(connection: socket.socket) -> bytes:
    """A whole request; empty when there is none any more."""
    request = b""
    while True:
        head, separator, body = request.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n") if separator else None
        if length and len(body) >= int(length[1]):
            return request
        piece = connection.recv(65536)
        if not piece:
            return b""
        request += piece


@contextmanager
def listening(answer: Callable[[socket.socket, bytes], None]) -> Iterator[Endpoint]:
    """Each request on each connection is given to `answer`, which writes what it likes."""
    listener = socket.create_server(("127.0.0.1", 0))
    endpoint = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}")
    connections: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while request := _read(connection):
                endpoint.requests.append(request)
                answer(connection, request)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        for each in (listener, *connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join(5)


def says(body: bytes, status: str = "200 OK") -> Callable[[socket.socket, bytes], None]:
    """A well-formed answer."""

    def answer(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )

    return answer


def writes(*pieces: bytes, pause: float = 0, end: bool = True) -> Callable[..., None]:
    """These bytes, with a pause in seconds before each; then the end of the connection."""

    def answer(connection: socket.socket, _request: bytes) -> None:
        for piece in pieces:
            threading.Event().wait(pause)
            connection.sendall(piece)
        if end:
            connection.shutdown(socket.SHUT_RDWR)

    return answer


def endless(start: bytes, piece: bytes, pause: float = 0) -> Callable[..., None]:
    """A start, and then the same for ever."""

    def answer(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(start)
        while True:
            threading.Event().wait(pause)
            connection.sendall(piece)

    return answer


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
