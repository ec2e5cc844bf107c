"""Who comes in: connections from the socket to the end of their handshake, within their shares."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

from tornado.iostream import SSLIOStream, StreamClosedError
from tornado.netutil import add_accept_handler

from hostapi.access import client_of, end_of, network, origin
from hostapi.limits import Limits
from hostapi.telling import Teller
from hostapi.tls import why
from hostapi.visitor import Visitor

# A peer that is there no more is found out within two minutes.
_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)


class Door:
    """Accepts connections, and hands those with a certificate to `welcome`.

    Whoever has none yet holds a small part of memory for a short time. When all those places are
    taken the oldest one of the network that has most of them goes: one address cannot keep others
    out, and a client that comes with a flood from its own address still has its chance.
    """

    def __init__(
        self, context: ssl.SSLContext, limits: Limits, welcome: Callable[[Visitor], None]
    ) -> None:
        self._context, self._limits, self._welcome = context, limits, welcome
        self._waiting: dict[SSLIOStream, str] = {}  # the oldest first; the value is its network
        self._tasks: set[asyncio.Task[None]] = set()
        self._removals: list[Callable[[], None]] = []
        self._teller = Teller(1)

    def open(self, listeners: Iterable[socket.socket]) -> None:
        """Take what comes to these sockets, which listen already."""
        for each in listeners:
            each.setblocking(False)  # noqa: FBT003 - the library's own signature
            self._removals.append(add_accept_handler(each, self._accepted))

    def close(self) -> None:
        """Take nobody any more; who comes waits in the sockets for the next program."""
        for remove in self._removals:
            remove()
        self._removals.clear()
        for stream in tuple(self._waiting):
            stream.close()

    def _accepted(self, connection: socket.socket, address: tuple[str, int]) -> None:
        shown = origin(address[0])
        try:
            for level, name, value in _ALIVE:
                connection.setsockopt(level, name, value)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.send_buffer)
            wrapped = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        except OSError:
            # It has gone already.
            connection.close()
            return
        if len(self._waiting) >= self._limits.handshakes:
            self._make_room()
        stream = SSLIOStream(
            wrapped, max_buffer_size=4 * self._limits.block, read_chunk_size=self._limits.block
        )
        self._waiting[stream] = network(shown)
        task = asyncio.create_task(self._greet(stream, shown))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _make_room(self) -> None:
        [(most, _)] = Counter(self._waiting.values()).most_common(1)
        oldest = next(stream for stream, each in self._waiting.items() if each == most)
        del self._waiting[oldest]
        oldest.close()

    async def _greet(self, stream: SSLIOStream, shown: str) -> None:
        try:
            async with asyncio.timeout(self._limits.handshake):
                await stream.wait_for_handshake()
            visitor = _visitor(stream, shown)
        except TimeoutError:
            self._tell(shown, f"no handshake within {self._limits.handshake:g} s")
            stream.close()
        except (StreamClosedError, OSError, ValueError) as error:
            self._tell(shown, why(getattr(error, "real_error", error)))
            stream.close()
        else:
            self._welcome(visitor)
        finally:
            self._waiting.pop(stream, None)

    def _tell(self, shown: str, reason: str) -> None:
        # All of them together: who they are nobody knows.
        self._teller.warn("", f"{shown} refused: {reason}")


def _visitor(stream: SSLIOStream, shown: str) -> Visitor:
    if stream.closed():
        # It went before this was the task's turn.
        raise StreamClosedError
    certificate = stream.socket.getpeercert() or {}
    return Visitor(client_of(certificate), end_of(certificate), shown, stream)


async def turn_away(visitor: Visitor, answer: bytes, seconds: float) -> None:
    """Say one thing and close the connection."""
    with suppress(TimeoutError, StreamClosedError):
        async with asyncio.timeout(seconds):
            await visitor.stream.write(answer)
    visitor.stream.close()
