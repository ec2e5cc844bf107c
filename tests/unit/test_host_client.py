"""The client of a host's API, against hosts that lie, stall, refuse and break off."""

import asyncio
import io
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from builder.host.asking import ask
from builder.host.client import Limits
from builder.host.errors import DistrustError, HostError, RefusedError, UnreachableError
from host_kit import (
    QUICK,
    STATUS,
    FakeHost,
    Script,
    Seen,
    Site,
    answer,
    authority,
    client,
    lined,
    make_site,
    running,
    sending,
    server_context,
)

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def host(site: Site) -> Iterator[FakeHost]:
    with running(site) as found:
        yield found


def hanging(*pieces: bytes) -> Script:
    """Sends, and then nothing for ever."""

    async def script(_: Seen) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        await asyncio.Event().wait()

    return script


def trickling(start: bytes) -> Script:
    """Sends a byte now and then, without end."""

    async def script(_: Seen) -> AsyncIterator[bytes]:
        yield start
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    return script


def test_an_answer_comes_by_mutual_tls_with_an_encrypted_key(site: Site, host: FakeHost) -> None:
    host.says("status", STATUS)
    with client(site, host) as one:
        assert one.json(ask("status")) == STATUS
        assert one.json(ask("status")) == STATUS
    assert [each.who for each in host.seen] == ["ops", "ops"]
    assert host.seen[0].target == "/v1/status"


def test_fields_go_into_the_body_and_parameters_into_path_and_query(
    site: Site, host: FakeHost
) -> None:
    host.says("override", {"schema": 1, "done": "x"})
    host.says("extension-remove", {"schema": 1, "done": "x"})
    host.streams("logs")
    with client(site, host) as one:
        one.json(ask("override", {"channel": "beta", "strategy": None}))
        one.json(ask("extension-remove", {"name": "dev"}))
        assert not list(one.lines(ask("logs", {"follow": True, "boot": -1, "unit": r"a@b\x2d"})))
    put, removed, logs = host.seen
    assert (put.method, json.loads(put.body)) == ("PUT", {"channel": "beta"})
    assert (removed.method, removed.target) == ("DELETE", "/v1/extensions/dev")
    assert logs.target == "/v1/logs?unit=a%40b%5Cx2d&boot=-1&follow=true"


def test_another_ca_is_not_trusted(site: Site) -> None:
    with running(site, signer=authority("another CA")) as host, client(site, host) as one:
        with pytest.raises(DistrustError, match=r"not trusted: .*--ca-file"):
            one.json(ask("status"))
        assert not host.seen


def test_a_name_that_is_not_in_the_certificate_is_refused_and_one_that_is_may_be_given(
    site: Site,
) -> None:
    with running(site, names=("web-1",)) as host:
        host.says("status", STATUS)
        with (
            client(site, host) as one,
            pytest.raises(DistrustError, match=r"127.0.0.1.*--name"),
        ):
            one.json(ask("status"))
        with client(site, host, name="web-2") as one, pytest.raises(DistrustError, match="web-2"):
            one.json(ask("status"))
        assert not host.seen
        with client(site, host, name="web-1") as one:
            assert one.json(ask("status")) == STATUS


@contextmanager
def refusing(site: Site) -> Iterator[FakeHost]:
    """A host that says by TLS why it does not take a certificate, and is heard to the end.

    asyncio's servers drop the alert.
    """
    context = server_context(site)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_side=True)
            with connection:
                try:
                    while True:
                        with suppress(ssl.SSLWantReadError):
                            tls.do_handshake()
                        connection.sendall(outgoing.read())
                        incoming.write(connection.recv(65536))
                except ssl.SSLError:
                    connection.sendall(outgoing.read())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield FakeHost(port=listening.getsockname()[1])
        thread.join()


@pytest.mark.parametrize(
    ("days", "signer", "what"),
    [(-1, None, "has expired"), (30, "x", "its CA is not in the host's")],
)
def test_a_host_that_refuses_our_certificate_says_why(
    days: int, signer: str | None, what: str, site: Site, tmp_path: Path
) -> None:
    other = replace(site, folder=tmp_path)
    identity = other.issue("late", authority(signer) if signer else None, days)
    with (
        refusing(site) as host,
        client(site, host, identity=identity) as one,
        pytest.raises(DistrustError, match=rf"refuses our certificate: .*{what}"),
    ):
        one.json(ask("status"))


def test_where_a_host_only_closes_the_connection_the_certificate_is_named(
    site: Site, host: FakeHost, tmp_path: Path
) -> None:
    identity = replace(site, folder=tmp_path).issue("other", authority("unknown CA"))
    with (
        client(site, host, identity=identity) as one,
        pytest.raises(UnreachableError, match=r"without an answer; .* refuses our certificate"),
    ):
        one.json(ask("status"))


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (400, "invalid", ""),
        (403, "forbidden", "pki issue operator"),
        (404, "missing", ""),
        (409, "busy", "when that is done"),
        (413, "large", "send less"),
        (429, "rate", "less often"),
        (500, "failed", ""),
        (503, "crowded", ""),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do(
    status: int, code: str, advice: str, site: Site, host: FakeHost
) -> None:
    host.refuses("reboot", status, code, "this\nis \x1b[31mwhy")
    with client(site, host) as one, pytest.raises(RefusedError) as caught:
        one.json(ask("reboot"))
    assert str(caught.value).startswith("127.0.0.1: this; is ?[31mwhy")
    assert advice in str(caught.value)
    assert caught.value.exit_code == (2 if status == 400 else 1)
    assert caught.value.passes == (status in (429, 503))


@pytest.mark.parametrize(
    "sent",
    [
        answer(b"[1]"),
        answer(b"{"),
        answer(b"\xff\xfe"),
        answer(b"[" * 100_000),
        answer(b'{"schema": 2}'),
        answer(b"{}"),
        answer(b'{"schema": 1}', media="text/html"),
        answer(b"<html>", 502, "text/html"),
        answer(b"{}", 302),
        answer(b'{"error": "x"}', 599),
        answer(b'{"error": {"message": ["x"]}}', 418),
    ],
    ids=range(11),
)
def test_what_is_no_answer_is_an_error(sent: bytes, site: Site, host: FakeHost) -> None:
    host.scripts["status"] = sending(sent)
    with client(site, host) as one, pytest.raises(HostError) as caught:
        one.json(ask("status"))
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, UnreachableError)


def test_no_redirect_is_followed(site: Site, host: FakeHost) -> None:
    host.says("pods", STATUS)
    moved = answer(b"{}", 307).replace(b"\r\n", b"\r\nLocation: /v1/pods\r\n", 1)
    host.scripts["status"] = sending(moved)
    with client(site, host) as one, pytest.raises(RefusedError, match="HTTP status 307"):
        one.json(ask("status"))
    assert not host.does("pods")


@pytest.mark.parametrize(
    "script",
    [
        sending(b""),
        sending(b"garbage\r\n\r\n"),
        sending(answer(b'{"schema": 1}')[:-4]),
        sending(answer(b'{"schema": 1}').replace(b"13", b"99")),
        sending(b"HTTP/1.1 200 OK\r\nContent-Type: app"),
        sending(b"HTTP/1.1 200 OK\r\n" + b"X-Y: " + b"z" * 70_000),
    ],
    ids=range(6),
)
def test_half_an_answer_is_none(script: Script, site: Site, host: FakeHost) -> None:
    host.scripts["status"] = script
    with client(site, host) as one, pytest.raises(HostError):
        one.json(ask("status"))


@pytest.mark.parametrize(
    "script",
    [
        hanging(),
        hanging(b"HTTP/1.1 200 OK\r\n"),
        hanging(answer(b'{"schema": 1}')[:-4]),
        trickling(b"HTTP/1.1 200 OK\r\nX: "),
        trickling(answer(b'{"schema": 1}').replace(b"13", b"1000000")),
    ],
    ids=range(5),
)
def test_a_slow_answer_has_an_end(script: Script, site: Site, host: FakeHost) -> None:
    host.scripts["status"] = script
    limits = replace(QUICK, call_seconds=0.3)
    with (
        client(site, host, limits=limits) as one,
        pytest.raises(UnreachableError, match="no answer in time"),
    ):
        one.json(ask("status"))


def test_a_long_answer_has_an_end(site: Site, host: FakeHost) -> None:
    host.says("status", {**STATUS, "more": "x" * 4000})
    host.streams("logs", {"message": "x" * 4000})
    host.says("crash", b"x" * 4000)
    limits = replace(QUICK, answer_bytes=2000, line_bytes=2000, save_bytes=2000)
    with client(site, host, limits=limits) as one:
        with pytest.raises(HostError, match="longer than the 2000 bytes"):
            one.json(ask("status"))
        with pytest.raises(HostError, match="longer than the 2000 bytes"):
            list(one.lines(ask("logs")))
        with pytest.raises(HostError, match="longer than the 2000 bytes"):
            one.save(ask("crash", {"name": "x"}), io.BytesIO())


def test_nobody_there_is_one_line(site: Site, host: FakeHost) -> None:
    with running(site) as other:
        gone = FakeHost(port=other.port)
    with client(site, gone) as one, pytest.raises(UnreachableError, match="Connection refused"):
        one.json(ask("status"))
    assert not host.seen


def test_a_stream_gives_its_lines_and_its_error(site: Site, host: FakeHost) -> None:
    error = {"error": {"code": "busy", "message": "staging already"}}
    host.streams("stage", {"progress": {"done": 1}}, error)
    with client(site, host) as one:
        lines = one.lines(ask("stage"))
        assert next(lines) == {"progress": {"done": 1}}
        with pytest.raises(RefusedError, match="staging already; try again when") as caught:
            next(lines)
    assert caught.value.status == 409


@pytest.mark.parametrize(
    "sent",
    [
        lined({"a": 1}, whole=False),
        lined({"a": 1}, b'{"b": ', whole=True),
        lined({"a": 1})[:-5] + b"zz\r\n",
        STREAM + b'{"a": 1}\n{"b"',
    ],
    ids=range(4),
)
def test_a_stream_that_breaks_off_is_told(sent: bytes, site: Site, host: FakeHost) -> None:
    host.scripts["stage"] = sending(sent)
    with client(site, host) as one:
        lines = one.lines(ask("stage"))
        assert next(lines) == {"a": 1}
        with pytest.raises(UnreachableError, match="broke off"):
            next(lines)


def test_garbage_in_a_stream_is_told(site: Site, host: FakeHost) -> None:
    host.streams("logs", b"no json\n")
    with client(site, host) as one, pytest.raises(HostError, match="no object of JSON"):
        list(one.lines(ask("logs")))


def test_a_stream_that_ends_may_not_pause_for_ever(site: Site, host: FakeHost) -> None:
    host.scripts["stage"] = hanging(lined({"a": 1}, whole=False))
    limits = replace(QUICK, gap_seconds=0.2)
    with client(site, host, limits=limits) as one:
        lines = one.lines(ask("stage"))
        next(lines)
        with pytest.raises(UnreachableError, match="no answer in time"):
            next(lines)
    host.scripts["stage"] = trickling(lined({"a": 1}, whole=False))
    limits = replace(QUICK, stream_seconds=0.3)
    with client(site, host, limits=limits) as one, pytest.raises(UnreachableError):
        list(one.lines(ask("stage")))


def test_a_file_is_saved_whole_or_not(site: Site, host: FakeHost) -> None:
    host.says("crash", b"core" * 100_000)
    sink = io.BytesIO()
    with client(site, host) as one:
        assert one.save(ask("crash", {"name": "core.x"}), sink) == 400_000
        assert sink.getvalue() == b"core" * 100_000
        short = answer(b"core" * 10, media="application/octet-stream")[:-1]
        host.scripts["crash"] = sending(short)
        with pytest.raises(UnreachableError, match="broke off"):
            one.save(ask("crash", {"name": "core.x"}), io.BytesIO())
    assert host.seen[0].target == "/v1/crashes/core.x"


def test_a_closed_client_asks_nothing(site: Site, host: FakeHost) -> None:
    with client(site, host) as one:
        one.close()
        with pytest.raises(HostError, match="interrupted"):
            one.json(ask("status"))
    assert not host.seen


def test_a_host_that_says_nothing_to_tls_holds_up_nobody_for_long(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = FakeHost(port=silent.getsockname()[1])
        with client(site, host, limits=replace(Limits(), connect_seconds=0.5)) as one:
            ended: list[HostError] = []

            def ask_it() -> None:
                with pytest.raises(HostError) as caught:
                    one.json(ask("status"))
                ended.append(caught.value)

            thread = threading.Thread(target=ask_it, daemon=True)
            thread.start()
            connection, _ = silent.accept()
            one.close()
            thread.join(Limits().connect_seconds)
            assert "interrupted" in str(ended[0])
            connection.close()
