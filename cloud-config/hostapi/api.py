"""From a checked request to its answer: by a source of this host, or by root's side."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, nullcontext

from hostapi.access import Client
from hostapi.acting import Data, Progress, Result, Root, Word
from hostapi.contract import SCHEMA, Answer
from hostapi.exposition import join
from hostapi.limits import Buckets, Limits, Shares
from hostapi.openapi import description
from hostapi.refusal import Fault, RefusedError, ending, expired
from hostapi.reply import Reply
from hostapi.routing import DESCRIPTION, Asked
from hostapi.sources import Sources
from hostapi.streaming import Pump, Stream
from hostapi.telling import Teller
from hostapi.turns import Turns
from hostapi.visitor import Visitor
from updater.metrics import Sample, render_metrics

_THREADS = 2
STREAMED = frozenset((Answer.LINES, Answer.BYTES))


def encode(values: Mapping[str, object]) -> bytes:
    """A JSON object as a line."""
    return json.dumps(values, ensure_ascii=False).encode(errors="replace") + b"\n"


@contextmanager
def taken(shares: Shares, client: Client) -> Iterator[None]:
    """Have a share.

    Raises:
        RefusedError: there is none left.
    """
    if not shares.take(client):
        whose = "of this client" if shares.full_for(client) else "on this host"
        message = f"too many requests are open {whose}; end one, or try again later"
        raise RefusedError(Fault.CROWDED, message, {"Retry-After": "5"})
    try:
        yield
    finally:
        shares.give_back(client)


class Api:
    """Everything that the requests of all clients share."""

    def __init__(self, sources: Sources, root: Root, limits: Limits) -> None:
        self.limits = limits
        self.stopping = False
        self.requests = Shares(limits.requests, limits.requests_each, limits.requests_kept)
        self.streams = Shares(limits.streams, limits.streams_each, limits.streams_kept)
        # Only operators have any.
        self.documents = Shares(limits.documents, limits.documents_each, 0)
        self._long = Shares(limits.long, limits.long_each, limits.long_kept)
        self.connections = Shares(
            limits.connections, limits.connections_each, limits.connections_kept
        )
        self.rates = Buckets(limits.rate, limits.burst, limits.clients)
        self.teller = Teller(limits.clients)
        self.codes: Counter[int] = Counter()
        self.tasks: set[asyncio.Task[None]] = set()
        self._sources, self._root = sources, root
        self._turns = Turns(Shares(limits.acts, limits.acts, limits.acts_kept))
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="reading")
        self._pumps: set[Pump] = set()

    async def stop(self) -> None:
        """Take no more requests, end the streams, and wait for the other answers for a while."""
        self.stopping = True
        for pump in self._pumps:
            pump.stop(ending())
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=self.limits.grace)
        for task in self.tasks:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def admit(self, client: Client) -> None:
        """Count a request of a client.

        Raises:
            RefusedError: they were too many of late, or this program ends.
        """
        if self.stopping:
            raise ending()
        if wait := self.rates.take(client, time.monotonic()):
            headers = {"Retry-After": str(wait), "Connection": "close"}
            message = f"more than {self.limits.rate:g} requests a second; wait {wait} s"
            raise RefusedError(Fault.RATE, message, headers)

    async def answer(
        self, visitor: Visitor, asked: Asked, reply: Reply, settled: Callable[[], None]
    ) -> None:
        """Answer; `settled` is called when the status is known to be 200.

        Raises:
            Exception: why not, for `refusal_of`; the reply has begun or not.
        """
        client, endpoint = visitor.client, asked.endpoint
        if endpoint.answer in STREAMED:
            pump = Pump(self._stream(client, asked), reply, self.limits)
            self._pumps.add(pump)
            ends = asyncio.get_running_loop().call_later(visitor.left(), pump.stop, expired())
            try:
                await pump.run(settled)
            finally:
                ends.cancel()
                self._pumps.discard(pump)
            return
        if endpoint is DESCRIPTION:
            body = encode(description())
        elif endpoint.act:
            body = encode({"schema": SCHEMA, **await self._result(client, asked)})
        else:
            body = await self._read(endpoint.name)
        with taken(self._long, client) if len(body) > self.limits.block else nullcontext():
            settled()
            await reply.whole(200, endpoint.answer.value, body)

    def _stream(self, client: Client, asked: Asked) -> Stream:
        endpoint, limits = asked.endpoint, self.limits
        if endpoint.answer is Answer.BYTES:
            parts = _blocks(self._words(client, asked))
            return Stream(parts, endpoint.answer.value, limits.first_act_line, None)
        if endpoint.act:
            parts, first = _told(self._words(client, asked)), limits.first_act_line
        else:
            lines = self._sources.lines[endpoint.name](asked.arguments)
            parts, first = _encoded(lines), limits.first_line
        return Stream(parts, endpoint.answer.value, first, lambda error: encode(error.to_plain()))

    async def _words(self, client: Client, asked: Asked) -> AsyncGenerator[Word, None]:
        try:
            async with asyncio.timeout(self.limits.turn):
                await self._turns.take(client)
        except TimeoutError:
            message = "too much else is being done on this host; try again later"
            raise RefusedError(Fault.CROWDED, message, {"Retry-After": "10"}) from None
        try:
            async with aclosing(self._root.act(client.name, asked)) as words:
                async for word in words:
                    yield word
        finally:
            self._turns.give_back(client)

    async def _result(self, client: Client, asked: Asked) -> Mapping[str, object]:
        found: Mapping[str, object] = {}
        async with aclosing(self._words(client, asked)) as words:
            async for word in words:
                if isinstance(word, Result):
                    found = word.values
        return found

    async def _read(self, name: str) -> bytes:
        source = self._sources.whole[name]
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self.limits.whole):
            found = await loop.run_in_executor(self._threads, source)
        if isinstance(found, str):
            # Metrics: the agents', and our own.
            return join((found, render_metrics(self.samples()).decode())).encode()
        return encode(found)

    def samples(self) -> list[Sample]:
        """This server in numbers."""
        prefix = "bedplate_api"
        return [
            *(
                Sample(
                    f"{prefix}_requests", "Requests since the start.", count, {"code": str(code)}
                )
                for code, count in sorted(self.codes.items())
            ),
            Sample(f"{prefix}_connections", "Connections of clients.", self.connections.total),
            Sample(f"{prefix}_streams", "Streams that are open.", self.streams.total),
        ]


async def _encoded(
    lines: AsyncIterator[Mapping[str, object]],
) -> AsyncGenerator[bytes, None]:
    try:
        async for each in lines:
            yield encode(each)
    finally:
        if (close := getattr(lines, "aclose", None)) is not None:
            await close()


async def _told(words: AsyncGenerator[Word, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(words):
        async for word in words:
            match word:
                case Progress(values):
                    yield encode({"progress": values})
                case Result(values):
                    yield encode({"result": values})
                case Data():
                    continue


async def _blocks(words: AsyncGenerator[Word, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(words):
        async for word in words:
            if isinstance(word, Data):
                yield word.block
