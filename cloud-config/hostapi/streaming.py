"""A stream on its way: what has come is sent at once, and no more is kept than one block."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from hostapi.limits import Limits
from hostapi.refusal import RefusedError, refusal_of
from hostapi.reply import Reply


@dataclass(frozen=True, slots=True)
class Stream:
    """What is sent: parts of a body, their media type, and how an end before the time is told.

    The headers are sent with the first part, or after `first` seconds without one: a failure before
    that is answered with a status of its own. Without a `tail` the answer is left unfinished.
    """

    parts: AsyncIterator[bytes]
    media: str
    first: float
    tail: Callable[[RefusedError], bytes] | None


class Pump:
    """Takes the parts as they come, and sends them as the client reads."""

    def __init__(self, stream: Stream, reply: Reply, limits: Limits) -> None:
        self._stream, self._reply, self._limits = stream, reply, limits
        self._pending = bytearray()
        self._came, self._room = asyncio.Event(), asyncio.Event()
        self._ended = False
        self._stopped: RefusedError | None = None
        self._gathering: asyncio.Task[None] | None = None

    def stop(self, reason: RefusedError) -> None:
        """Let it end early."""
        self._stopped = reason
        if self._gathering is not None:
            self._gathering.cancel()

    async def run(self, begun: Callable[[], None]) -> None:
        """Send it all; `begun` is called when the status is settled.

        Raises:
            Exception: what the parts raised before the first of them was sent.
            GoneError: the client has gone, or does not read.
        """
        self._gathering = asyncio.create_task(self._gather())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._stream.first):
                    await self._came.wait()
            if self._ended and not self._pending and (failure := await self._failure()):
                raise failure
            begun()
            await self._reply.begin(200, self._stream.media)
            await self._send()
        finally:
            self._gathering.cancel()
            await asyncio.wait({self._gathering})

    async def _send(self) -> None:
        while not (self._ended and not self._pending):
            await self._came.wait()
            self._came.clear()
            if self._pending:
                block = bytes(self._pending)
                self._pending.clear()
                self._room.set()
                await self._reply.write(block)
        if failure := await self._failure():
            if self._stream.tail is not None:
                await self._reply.write(self._stream.tail(refusal_of(failure)))
                await self._reply.finish()
            raise failure
        await self._reply.finish()

    async def _failure(self) -> Exception | None:
        gathering = self._gathering
        assert gathering is not None  # noqa: S101 - `run` made it
        await asyncio.wait({gathering})
        if gathering.cancelled():
            return self._stopped
        failure = gathering.exception()
        if failure is not None and not isinstance(failure, Exception):
            raise failure
        return failure

    async def _gather(self) -> None:
        try:
            async for part in self._stream.parts:
                self._pending += part
                self._came.set()
                while len(self._pending) >= self._limits.block:
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._ended = True
            self._came.set()
            # A generator that is not run to its end is told so now, not when it is collected.
            if (close := getattr(self._stream.parts, "aclose", None)) is not None:
                await close()
