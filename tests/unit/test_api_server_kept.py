"""What is left for operators whatever readers do, and how little of that gets into the log."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import replace

import pytest

from api_kit import SECONDS, Certificates, PlayedRoot, Running, get, read_all, sources, until
from hostapi import telling
from hostapi.access import Client
from hostapi.acting import Result, Word
from hostapi.contract import Role, Value
from hostapi.limits import Limits, Shares
from hostapi.routing import Asked
from hostapi.turns import Turns

LIMITS = replace(Limits(), rate=1e6, burst=1e6, grace=1.0)
_CROWDED = b"HTTP/1.1 503 "


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_the_last_connections_are_operators(certificates: Certificates) -> None:
    limits = replace(LIMITS, connections=4, connections_kept=2, resting=3600.0)
    with Running(certificates, limits=limits) as running, ExitStack() as stack:
        for name in ("rita", "rolf"):
            stack.enter_context(running.connected(name))
        until(lambda: running.api.connections.total == 2)
        with running.connected("rita") as third:
            assert third.recv(100).startswith(_CROWDED)
        assert running.ask("olga", "/status").status_code == 200


def test_the_last_requests_are_operators(certificates: Certificates) -> None:
    free = threading.Event()

    def hangs() -> dict[str, object]:
        free.wait(SECONDS)
        return {}

    limits = replace(LIMITS, requests=3, requests_kept=1)
    with (
        Running(certificates, sources(timings=hangs), limits=limits) as running,
        ExitStack() as stack,
    ):
        for name in ("rita", "rolf"):
            stack.enter_context(running.connected(name)).sendall(get("/timings"))
        until(lambda: running.api.requests.total == 2)
        assert running.ask("rita", "/update").status_code == 503
        assert running.ask("olga", "/reboot", "POST").status_code == 200
        free.set()


def test_the_last_streams_are_operators(certificates: Certificates) -> None:
    async def quiet(_: Mapping[str, Value]) -> AsyncIterator[Mapping[str, object]]:
        yield {"message": "first"}
        await asyncio.sleep(3600)

    limits = replace(LIMITS, streams=3, streams_kept=1)
    with Running(certificates, sources(quiet), limits=limits) as running, ExitStack() as stack:
        for name, code in (("rita", 200), ("rolf", 200), ("rita", 503), ("olga", 200)):
            connection = stack.enter_context(running.connected(name))
            connection.sendall(get("/logs?follow=true"))
            assert connection.recv(100).startswith(b"HTTP/1.1 %d " % code)


def test_the_last_act_is_an_operators(certificates: Certificates) -> None:
    async def slow(_: Asked) -> AsyncIterator[Word]:
        await asyncio.sleep(3600)
        yield Result({})

    limits = replace(LIMITS, acts=2, turn=0.2)
    root = PlayedRoot({"update": slow})
    with Running(certificates, root=root, limits=limits) as running:
        with running.connected("rita") as connection:
            connection.sendall(get("/update"))
            until(lambda: root.asked)
            assert running.ask("rolf", "/trust").status_code == 503
            assert running.ask("olga", "/reboot", "POST").status_code == 200
        until(lambda: running.api.requests.total == 0)
        assert running.ask("rolf", "/trust").status_code == 200


@pytest.mark.parametrize("body", ["Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"])
def test_a_body_that_nobody_takes_holds_no_share(certificates: Certificates, body: str) -> None:
    limits = replace(LIMITS, requests=1, requests_kept=0)
    with Running(certificates, limits=limits) as running, running.connected("rita") as connection:
        connection.sendall(get("/status", body))
        until(lambda: running.api.rates._levels)
        assert running.ask("rolf", "/status").status_code == 200


def test_documents_are_few(certificates: Certificates) -> None:
    limits = replace(LIMITS, documents=3, documents_each=2)
    asked = b"POST /v1/config/plan HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"
    with Running(certificates, limits=limits) as running, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(running.connected("olga")).sendall(asked)
        until(lambda: running.api.documents.total == 2)
        answer = running.ask("olga", "/config/plan", "POST", data=b"a: 1\n")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert running.ask("olga", "/reboot", "POST").status_code == 200
        stack.close()
        until(lambda: running.api.documents.total == 0)
        answer = running.ask("olga", "/config/plan", "POST", data=b"a: 1\n")
        assert answer.status_code == 200


def test_long_answers_are_few(certificates: Certificates) -> None:
    found = sources(pods=lambda: {"schema": 1, "pods": "x" * (4 << 20)})
    limits = replace(LIMITS, long=3, long_each=1, long_kept=1)
    with Running(certificates, found, limits=limits) as running, ExitStack() as stack:
        for name in ("rita", "rolf"):
            connection = stack.enter_context(running.connected(name, receive=4096))
            connection.sendall(get("/pods"))
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            assert running.ask(name, "/pods").status_code == 503
            assert running.ask(name, "/status").status_code == 200
        assert running.ask("olga", "/pods").status_code == 200
        stack.close()
        until(lambda: running.api.requests.total == 0)
        assert running.ask("rita", "/pods").status_code == 200


def test_whose_turn_it_is() -> None:
    async def take() -> list[str]:
        turns, had = Turns(Shares(3, 3, 1)), list[str]()

        async def one(who: Client) -> None:
            await turns.take(who)
            had.append(who.name)

        a, b, c = (Client(name, Role.READER) for name in "abc")
        operator = Client("o", Role.OPERATOR)
        waiting = [asyncio.create_task(one(who)) for who in (a, a, a, a, b, operator, operator)]
        await asyncio.sleep(0)
        assert had == ["a", "a", "o"]
        # Who has gone waits no more, and who went at the very moment gives it back.
        waiting.append(asyncio.create_task(one(c)))
        await asyncio.sleep(0)
        waiting[2].cancel()
        turns.give_back(operator)
        waiting[6].cancel()
        await asyncio.wait(waiting[6:7])
        assert had == ["a", "a", "o"]
        for who in (a, b, c):
            turns.give_back(who)
        await asyncio.wait(waiting)
        return had

    assert asyncio.run(asyncio.wait_for(take(), SECONDS)) == ["a", "a", "o", "b", "c", "a"]


# --- The log --------------------------------------------------------------------------------------


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second line for anybody while a test lasts, after the first twenty."""
    monkeypatch.setattr(telling, "_TOLD", 1e-6)


@pytest.mark.usefixtures("slowly")
def test_who_asks_too_often_is_cut_and_seldom_told(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    limits = replace(LIMITS, rate=0.001, burst=1, idle=2.0 * SECONDS)
    with Running(certificates, limits=limits) as running:
        for _ in range(30):
            with running.connected("rita") as connection:
                connection.sendall(get("/status", "Connection: close\r\n"))
                assert read_all(connection)
        with running.connected("rolf") as connection:
            # The second of them ends the connection.
            connection.sendall(get("/status") * 2)
            assert read_all(connection).count(b"HTTP/1.1 ") == 2
        assert running.api.codes == {200: 2, 429: 30}
    told = [each.message for each in caplog.records if " 429" in each.message]
    assert told == [
        *['"rita" (reader) from 127.0.0.1: -: 429'] * 20,
        '"rolf" (reader) from 127.0.0.1: -: 429 (and 9 more that are not told)',
    ]


@pytest.mark.usefixtures("slowly")
def test_who_comes_too_often_is_seldom_told(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    limits = replace(LIMITS, connections_each=1, resting=3600.0)
    with Running(certificates, limits=limits) as running, running.connected("rita"):
        until(lambda: running.api.connections.total == 1)
        for _ in range(30):
            with running.connected("rita") as connection:
                assert read_all(connection).startswith(_CROWDED)
    told = [each.message for each in caplog.records]
    assert told == ['"rita" (reader) from 127.0.0.1: too many connections'] * 20
