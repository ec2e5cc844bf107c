"""The HTTPS server: connections within their shares, and requests on each one after the other."""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from tornado import httputil
from tornado.http1connection import HTTP1ConnectionParameters, HTTP1ServerConnection

from hostapi.api import Api
from hostapi.door import Door, turn_away
from hostapi.exchange import Exchange
from hostapi.refusal import Fault, RefusedError
from hostapi.visitor import Visitor

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

_CROWDED = RefusedError(Fault.CROWDED, "too many connections; close one, or try again later").body()
_TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
) % (len(_CROWDED), _CROWDED)
_PARTING = 1.0  # seconds


class Server(httputil.HTTPServerConnectionDelegate):
    """Serves `api` to whoever `context` lets in."""

    def __init__(self, api: Api, context: ssl.SSLContext) -> None:
        self._api = api
        limits = api.limits
        self._door = Door(context, limits, self._welcome)
        # In the order in which they came.
        self._visitors: dict[object, Visitor] = {}
        self._parting: set[asyncio.Task[None]] = set()
        self._parameters = HTTP1ConnectionParameters(
            chunk_size=limits.block,
            max_header_size=limits.header,
            header_timeout=limits.idle,
            max_body_size=limits.discarded,
            body_timeout=limits.body,
        )

    def open(self, listeners: Iterable[socket.socket]) -> None:
        """Begin to serve."""
        self._door.open(listeners)

    async def close(self) -> None:
        """End: streams with a line that says so, short answers as they are, all else at once."""
        self._door.close()
        self._parameters.no_keep_alive = True
        for visitor in tuple(self._visitors.values()):
            if visitor.rested(0):
                visitor.stream.close()
        await self._api.stop()
        for visitor in tuple(self._visitors.values()):
            visitor.stream.close()

    def _welcome(self, visitor: Visitor) -> None:
        if not self._api.connections.has(visitor.client):
            self._make_room(visitor)
        if not self._api.connections.take(visitor.client):
            task = asyncio.create_task(turn_away(visitor, _TURNED_AWAY, _PARTING))
            self._parting.add(task)
            task.add_done_callback(self._parting.discard)
            self._api.teller.warn(visitor.client, f"{visitor}: too many connections")
            return
        connection = HTTP1ServerConnection(visitor.stream, self._parameters, visitor)
        self._visitors[connection] = visitor
        connection.start_serving(self)

    def _make_room(self, newcomer: Visitor) -> None:
        """Close the connection that was idle longest, if one was: its client can come again."""
        own = self._api.connections.full_for(newcomer.client)
        resting = [
            each
            for each in self._visitors.values()
            if each.rested(self._api.limits.resting) and (not own or each.client == newcomer.client)
        ]
        if resting:
            leaving = min(resting, key=lambda each: each.since)
            leaving.stream.close()
            self._leave(next(key for key, each in self._visitors.items() if each is leaving))

    def start_request(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """Begin with one request (tornado.httputil.HTTPServerConnectionDelegate)."""
        visitor = cast("Visitor", cast("HTTP1ServerConnection", server_conn).context)
        return Exchange(self._api, cast("HTTP1Connection", request_conn), visitor)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection."""
        self._leave(server_conn)

    def _leave(self, connection: object) -> None:
        if (visitor := self._visitors.pop(connection, None)) is not None:
            self._api.connections.give_back(visitor.client)
