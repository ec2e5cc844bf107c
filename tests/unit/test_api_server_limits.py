"""What a client may take, and that the others do not feel it."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_kit import SECONDS, Certificates, PlayedRoot, Running, get, read_all, sources, ticks, until
from hostapi.access import Client
from hostapi.acting import Result, Word
from hostapi.contract import Role, Value
from hostapi.limits import Buckets, Limits, Shares
from hostapi.routing import Asked

LIMITS = replace(Limits(), rate=1e6, burst=1e6, grace=1.0)
ENDLESS = 10**9
HTTP_OK = b"HTTP/1.1 200 "


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


async def quiet(_: Mapping[str, Value]) -> AsyncIterator[Mapping[str, object]]:
    """A journal in which nothing happens after its first line."""
    yield {"message": "first"}
    await asyncio.sleep(3600)


def follow(_: Mapping[str, Value]) -> AsyncIterator[Mapping[str, object]]:
    return quiet(_)


@pytest.fixture
def quietly(certificates: Certificates) -> Iterator[Running]:
    limits = replace(LIMITS, streams=3, streams_each=2, streams_kept=0)
    with Running(certificates, sources(follow), limits=limits) as found:
        yield found


def opened(stack: ExitStack, running: Running, name: str, path: str = "/logs?follow=true") -> bytes:
    """The status of a stream that stays open as long as `stack`."""
    connection = stack.enter_context(running.connected(name))
    connection.sendall(get(path))
    found = b""
    while b"first" not in found and b"crowded" not in found:
        piece = connection.recv(65536)
        if not piece:
            break
        found += piece
    return found[:12]


def test_streams_of_one_client_and_of_all(quietly: Running) -> None:
    with ExitStack() as stack:
        assert [opened(stack, quietly, "rita") for _ in range(3)] == [
            b"HTTP/1.1 200",
            b"HTTP/1.1 200",
            b"HTTP/1.1 503",
        ]
        assert opened(stack, quietly, "rolf") == b"HTTP/1.1 200"
        assert opened(stack, quietly, "rolf") == b"HTTP/1.1 503"
        assert quietly.ask("rolf", "/status").status_code == 200
        assert "bedplate_api_streams 3\n" in quietly.ask("rolf", "/metrics").text


def test_a_client_that_leaves_gives_its_stream_back(quietly: Running) -> None:
    for _ in range(5):
        with ExitStack() as stack:
            assert opened(stack, quietly, "rita") == b"HTTP/1.1 200"
            assert opened(stack, quietly, "rita") == b"HTTP/1.1 200"
        until(lambda: quietly.api.streams.total == 0)


def test_too_many_requests_of_one_client(certificates: Certificates) -> None:
    limits = replace(LIMITS, rate=0.001, burst=5)
    with Running(certificates, limits=limits) as running:
        answers = [running.ask("rita", "/status") for _ in range(6)]
        assert [each.status_code for each in answers] == [200] * 5 + [429]
        assert int(answers[-1].headers["Retry-After"]) > 900
        assert answers[-1].headers["Connection"] == "close"
        assert answers[-1].json()["error"]["code"] == "rate"
        assert running.ask("rolf", "/status").status_code == 200


def test_a_client_that_never_reads_is_cut(certificates: Certificates) -> None:
    limits = replace(LIMITS, write=0.3)
    ended = threading.Event()

    async def endless(_: Mapping[str, Value]) -> AsyncIterator[Mapping[str, object]]:
        try:
            async for each in ticks(ENDLESS):
                yield each
        finally:
            ended.set()

    with (
        Running(certificates, sources(endless), limits=limits) as running,
        running.connected("rita", receive=4096) as connection,
    ):
        connection.sendall(get("/logs"))
        assert ended.wait(SECONDS)
        assert running.ask("rita", "/status").status_code == 200
        # Little was kept for it: what the kernels of both sides hold.
        assert len(read_all(connection)) < 1 << 20


def test_a_whole_answer_that_nobody_reads_is_cut(certificates: Certificates) -> None:
    limits = replace(LIMITS, write=0.3, requests_each=1)
    found = sources(pods=lambda: {"schema": 1, "pods": "x" * (8 << 20)})
    with (
        Running(certificates, found, limits=limits) as running,
        running.connected("rita", receive=4096) as connection,
    ):
        connection.sendall(get("/pods"))
        until(lambda: running.api.requests.total == 1)
        assert running.ask("rita", "/status").status_code == 503
        until(lambda: running.api.requests.total == 0)
        assert running.ask("rita", "/status").status_code == 200
        assert len(read_all(connection)) < 8 << 20


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /v1/status HTTP/1.1\r\nHo",
        b"POST /v1/config/plan HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"POST /v1/config/plan HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_slow_client_is_dropped(certificates: Certificates, begun: bytes) -> None:
    limits = replace(LIMITS, idle=0.3, body=0.3)
    with Running(certificates, limits=limits) as running, running.connected("olga") as connection:
        connection.sendall(begun)
        assert read_all(connection) == b""
        until(lambda: running.api.connections.total == 0)
        assert running.api.requests.total == 0


@pytest.mark.parametrize(
    "line",
    [
        b"x" * 20000,
        b"GET /v1/status HTTP/1.1\r\nX: " + b"y" * 20000,
        b"GET /v1/status HTTP/1.1\r\n" + b"X: y\r\n" * 4000,
    ],
)
def test_long_headers_are_not_read(certificates: Certificates, line: bytes) -> None:
    with Running(certificates) as running, running.connected("olga") as connection:
        connection.sendall(line + b"\r\n\r\n")
        assert b" 200 " not in read_all(connection)
        assert running.ask("rita", "/status").status_code == 200


def test_who_never_shakes_hands_is_dropped(certificates: Certificates) -> None:
    limits = replace(LIMITS, handshake=0.3)
    with (
        Running(certificates, limits=limits) as running,
        socket.create_connection(("127.0.0.1", running.port), SECONDS) as plain,
    ):
        plain.sendall(b"\x16\x03\x01")
        assert plain.recv(100) == b""


def test_others_get_in_through_a_flood(certificates: Certificates) -> None:
    limits = replace(LIMITS, handshakes=40)
    with Running(certificates, limits=limits) as running, ExitStack() as stack:
        flood = [
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port), SECONDS))
            for _ in range(200)
        ]
        for source in ("127.0.0.1", "127.0.0.2"):
            with running.connected("rita", source) as connection:
                connection.sendall(get("/status"))
                assert connection.recv(100).startswith(HTTP_OK)
        # The oldest went for them.
        assert flood[0].recv(1) == b""


def test_two_hundred_clients_at_once_are_answered(certificates: Certificates) -> None:
    with Running(certificates) as running:
        codes: list[bytes] = []

        def ask() -> None:
            with running.connected("rita") as connection:
                connection.sendall(get("/status"))
                codes.append(connection.recv(100)[:12])

        threads = [threading.Thread(target=ask) for _ in range(200)]
        for each in threads:
            each.start()
        with running.connected("rolf") as connection:
            connection.sendall(get("/status"))
            assert connection.recv(100).startswith(HTTP_OK)
        for each in threads:
            each.join(SECONDS)
        assert set(codes) <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}
        assert codes.count(b"HTTP/1.1 200") >= running.limits.requests_each
        assert running.ask("rita", "/status").status_code == 200


def test_one_client_does_not_have_all_connections(certificates: Certificates) -> None:
    limits = replace(LIMITS, connections=6, connections_each=4, connections_kept=0, resting=3600.0)
    with Running(certificates, limits=limits) as running, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(running.connected("rita"))
        until(lambda: running.api.connections.total == 4)
        with running.connected("rita") as fifth:
            assert fifth.recv(100).startswith(b"HTTP/1.1 503 ")
        assert running.ask("rolf", "/status").status_code == 200


@pytest.mark.parametrize("name", ["rita", "rolf"])
def test_a_connection_that_rests_goes_for_a_new_one(certificates: Certificates, name: str) -> None:
    limits = replace(LIMITS, connections=4, connections_each=4, connections_kept=0, resting=0.0)
    with Running(certificates, limits=limits) as running, ExitStack() as stack:
        resting = [stack.enter_context(running.connected("rita")) for _ in range(4)]
        until(lambda: running.api.connections.total == 4)
        assert running.ask(name, "/status").status_code == 200
        assert resting[0].recv(1) == b""


def test_acts_wait_for_their_turn_and_not_for_ever(certificates: Certificates) -> None:
    async def slow(_: Asked) -> AsyncIterator[Word]:
        await asyncio.sleep(3600)
        yield Result({})

    limits = replace(LIMITS, acts=1, acts_kept=0, turn=0.2)
    root = PlayedRoot({"check": slow})
    with Running(certificates, root=root, limits=limits) as running:
        with running.connected("olga") as connection:
            connection.sendall(b"POST /v1/update/check HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: root.asked)
            answer = running.ask("rita", "/update")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        # It gave up, and so did we.
        until(lambda: running.api.requests.total == 0)
        assert running.ask("rita", "/update").status_code == 200


def test_a_source_that_hangs_is_given_up(certificates: Certificates) -> None:
    free = threading.Event()

    def hangs() -> dict[str, object]:
        free.wait(SECONDS)
        return {}

    found = sources(timings=hangs)
    with Running(certificates, found, limits=replace(LIMITS, whole=0.2)) as running:
        answer = running.ask("rita", "/timings")
        assert answer.status_code == 500
        assert "too long" in answer.json()["error"]["message"]
        free.set()


# --- By themselves --------------------------------------------------------------------------------


_READERS = tuple(Client(name, Role.READER) for name in "abc")
_OPERATOR = Client("o", Role.OPERATOR)


@given(st.lists(st.tuples(st.sampled_from((*_READERS, _OPERATOR)), st.booleans()), max_size=60))
def test_shares_are_never_exceeded(steps: list[tuple[Client, bool]]) -> None:
    shares, taken = Shares(5, 3, 1), dict.fromkeys((*_READERS, _OPERATOR), 0)
    for who, take in steps:
        if take:
            free = sum(taken.values()) < (5 if who is _OPERATOR else 4) and taken[who] < 3
            assert shares.take(who) == free
            taken[who] += free
        elif taken[who]:
            shares.give_back(who)
            taken[who] -= 1
        assert shares.total == sum(taken.values())


@given(st.lists(st.floats(0, 10), max_size=100))
def test_a_bucket_gives_no_more_than_its_rate(pauses: list[float]) -> None:
    buckets, now, given_out = Buckets(2.0, 5.0, 10), 0.0, 0
    for pause in pauses:
        now += pause
        wait = buckets.take("a", now)
        given_out += not wait
        assert given_out <= 5 + 2 * now + 1e-6
        if wait:
            probe = Buckets(2.0, 5.0, 10)
            probe._levels = buckets._levels.copy()
            assert probe.take("a", now + wait) == 0


def test_buckets_are_not_kept_for_everybody() -> None:
    buckets = Buckets(1.0, 1.0, 2)
    assert [buckets.take(who, 0.0) for who in "aabca"] == [0, 1, 0, 0, 0]
