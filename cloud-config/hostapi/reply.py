"""One answer on its way out: every write waits for the client, and not for ever."""

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from tornado import httputil
from tornado.iostream import StreamClosedError

from hostapi.limits import Limits
from hostapi.refusal import RefusedError
from updater.errors import BedplateError

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

JSON = "application/json"


class GoneError(BedplateError):
    """The client has closed its connection, or does not read."""


class Reply:
    """Writes one answer. `begun` says that the status is on its way and cannot be changed."""

    def __init__(self, connection: "HTTP1Connection", limits: Limits) -> None:
        self._connection = connection
        self._stream = connection.stream
        self._limits = limits
        self.begun = False
        self._ended = False

    async def refuse(self, refusal: RefusedError) -> None:
        """Answer with an error, and end the connection if its headers say so.

        Raises:
            GoneError: nobody takes it; as with all that follow.
        """
        await self.whole(refusal.status, JSON, refusal.body(), refusal.headers)
        if refusal.headers.get("Connection") == "close":
            self.cut()

    async def whole(
        self, status: int, media: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with a body whose length is known."""
        size = {"Content-Length": str(len(body)), **(headers or {})}
        await self.begin(status, media, size)
        for at in range(0, len(body), self._limits.block):
            await self.write(body[at : at + self._limits.block])
        await self.finish()

    async def begin(
        self, status: int, media: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send status and headers."""
        self.begun = True
        found = httputil.HTTPHeaders(
            {
                "Content-Type": media,
                "Date": httputil.format_timestamp(time.time()),
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                **(headers or {}),
            }
        )
        line = httputil.ResponseStartLine("HTTP/1.1", status, HTTPStatus(status).phrase)
        await self._taken(self._connection.write_headers(line, found))

    async def write(self, block: bytes) -> None:
        """Send a part of the body."""
        await self._taken(self._connection.write(block))

    async def finish(self) -> None:
        """End the answer, and wait until the client has taken it."""
        if self._stream.closed():
            raise GoneError("the client has gone")
        self._connection.finish()
        self._ended = True
        if not self._stream.closed():
            await self._taken(self._stream.write(b""))

    def cut(self) -> None:
        """End the connection."""
        self._stream.close()

    def leave(self) -> None:
        """Cut an answer that was begun and not ended, so that nobody takes it for whole."""
        if self.begun and not self._ended:
            self.cut()

    async def _taken(self, written: "asyncio.Future[None]") -> None:
        try:
            async with asyncio.timeout(self._limits.write):
                await written
        except StreamClosedError:
            raise GoneError("the client has gone") from None
        except TimeoutError:
            self.cut()
            raise GoneError("the client does not read") from None
