"""Probes against servers of all manners; the exec probe is tried with podman in the lab."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from podagent.probe import Outcome, Target, ask
from podagent.types import Exec, Http, Tcp

_TARGET = Target("127.0.0.1", "f" * 64)
_LONG = 60.0
_WELL = Outcome(well=True)


class Server:
    """Gives every connection to `answer`, with what was asked, until `close`."""

    def __init__(
        self, answer: Callable[[socket.socket, bytes], None], context: ssl.SSLContext | None
    ) -> None:
        self.asked: list[bytes] = []
        self._answer = answer
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        # A thread in accept(2) wakes by shutdown, not by close.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with suppress(OSError), connection:
                stream = (
                    self._context.wrap_socket(connection, server_side=True)
                    if self._context
                    else connection
                )
                with stream:
                    request = stream.recv(65536)
                    self.asked.append(request)
                    self._answer(stream, request)


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(
        answer: bytes | Callable[[socket.socket, bytes], None],
        context: ssl.SSLContext | None = None,
    ) -> Server:
        given = (
            (lambda stream, _request: stream.sendall(answer))
            if isinstance(answer, bytes)
            else answer
        )
        servers.append(Server(given, context))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


def _asked(
    server: Server,
    path: str = "/",
    *,
    scheme: str = "http",
    headers: tuple[tuple[str, str], ...] = (),
    time_out: float = _LONG,
) -> Outcome:
    action = Http(path, server.port, scheme, None, headers)
    return ask(action, _TARGET, time_out=time_out, folder=Path("/nowhere"))


@pytest.mark.parametrize(
    ("head", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", _WELL),
        (b"HTTP/1.0 204\r\nServer: x\r\n\r\n", _WELL),
        (b"HTTP/1.1 399 Odd\r\n\r\n", _WELL),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", _WELL),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", _WELL),
        (b"HTTP/1.1 400 Bad\r\n\r\n", Outcome(well=False, why="HTTP status 400")),
        (b"HTTP/1.1 503 No\r\n\r\n", Outcome(well=False, why="HTTP status 503")),
        (b"HTTP/1.1 999 No\r\n\r\n", Outcome(well=False, why="HTTP status 999")),
        (b"HTTP/1.1 302 F\r\n\r\n", Outcome(well=False, why="HTTP status 302 without a location")),
        (b"SSH-2.0-x\r\n\r\n", Outcome(well=False, why="the answer is not HTTP/1.1")),
        (b"HTTP/1.1 abc\r\n\r\n", Outcome(well=False, why="the answer is not HTTP/1.1")),
        (b"HTTP/1.1\r\n\r\n", Outcome(well=False, why="the answer is not HTTP/1.1")),
        (b"HTTP/2 200\r\n\r\n", Outcome(well=False, why="the answer is not HTTP/1.1")),
        (
            b"HTTP/1.1 200 OK\r\nServer",
            Outcome(well=False, why="the connection was closed before an answer"),
        ),
        (b"x" * 70000, Outcome(well=False, why="the answer's head is longer than 65536 bytes")),
    ],
)
def test_an_answer(serve: Serve, head: bytes, outcome: Outcome) -> None:
    assert _asked(serve(head)) == outcome


def test_what_is_asked(serve: Serve) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\n\r\n")
    assert _asked(server, "/a b?c=d&e", headers=(("host", "web.example"), ("X-Own", "1"))) == _WELL
    first, *lines = server.asked[0].decode().split("\r\n")
    assert first == "GET /a%20b?c=d&e HTTP/1.1"
    assert set(lines) == {
        "host: web.example",
        "X-Own: 1",
        "User-Agent: bedplate-pods",
        "Accept: */*",
        "Connection: close",
        "",
    }
    assert _asked(server) == _WELL
    assert f"Host: 127.0.0.1:{server.port}\r\n" in server.asked[1].decode()


def test_a_redirect_on_the_same_host_is_followed(serve: Serve) -> None:
    def answer(stream: socket.socket, request: bytes) -> None:
        if request.startswith(b"GET /new?x "):
            stream.sendall(b"HTTP/1.1 500 No\r\n\r\n")
        else:
            stream.sendall(b"HTTP/1.1 301 Moved\r\nlocation:  /new?x\r\n\r\n")

    server = serve(answer)
    assert _asked(server) == Outcome(well=False, why="HTTP status 500")
    assert len(server.asked) == 2


def test_a_redirect_to_another_host_is_well_and_not_followed(serve: Serve) -> None:
    server = serve(b"HTTP/1.1 302 Found\r\nLocation: http://other.invalid/\r\n\r\n")
    assert _asked(server) == _WELL
    assert len(server.asked) == 1


def test_redirects_have_an_end(serve: Serve) -> None:
    server = serve(b"HTTP/1.1 307 Again\r\nLocation: /\r\n\r\n")
    assert _asked(server) == Outcome(well=False, why="redirected 10 times")
    assert len(server.asked) == 10


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "http://[/", "http://127.0.0.1:99999/"])
def test_a_redirect_to_nowhere(serve: Serve, location: str) -> None:
    outcome = _asked(serve(f"HTTP/1.1 302 F\r\nLocation: {location}\r\n\r\n".encode()))
    assert not outcome.well
    assert outcome.why


def test_a_server_that_drips_is_left_in_time(serve: Serve) -> None:
    ended = threading.Event()

    def drip(stream: socket.socket, _request: bytes) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\n")
        try:
            while not ended.wait(0.05):
                stream.sendall(b"x")
        except OSError:
            ended.set()

    server = serve(drip)
    try:
        assert _asked(server, time_out=0.5) == Outcome(well=False, why="no answer within 0.5 s")
        assert ended.wait(60)
    finally:
        ended.set()


def test_a_server_that_says_nothing(serve: Serve) -> None:
    ended = threading.Event()
    server = serve(lambda _stream, _request: bool(ended.wait(60)) and None)
    try:
        assert _asked(server, time_out=0.2) == Outcome(well=False, why="no answer within 0.2 s")
    finally:
        ended.set()


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """A server's side with a certificate of nobody, for nobody, that has run out."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    then = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(then)
        .not_valid_after(then + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "pair.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_https_takes_any_certificate(serve: Serve, tls: ssl.SSLContext) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\n\r\n", tls)
    assert _asked(server, scheme="https") == _WELL
    assert not _asked(server, scheme="http").well


def test_https_where_there_is_none(serve: Serve) -> None:
    assert not _asked(serve(b"HTTP/1.1 200 OK\r\n\r\n"), scheme="https").well


def test_tcp(serve: Serve) -> None:
    server = serve(b"")
    assert ask(Tcp(server.port, None), _TARGET, time_out=_LONG, folder=Path("/")) == _WELL
    assert (
        ask(Tcp(server.port, "127.0.0.1"), Target("::1", ""), time_out=_LONG, folder=Path("/"))
        == _WELL
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    refused = Outcome(well=False, why="Connection refused")
    assert ask(Tcp(port, None), _TARGET, time_out=_LONG, folder=Path("/")) == refused


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a\udce4", "x" * 300, "a..b"])
def test_odd_hosts(host: str) -> None:
    outcome = ask(Http("/", 80, "http", host, ()), _TARGET, time_out=_LONG, folder=Path("/"))
    assert not outcome.well
    assert outcome.why


def test_without_a_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("updater.programs._ENVIRONMENT", {"PATH": str(tmp_path)})
    outcome = ask(Exec(("true",)), _TARGET, time_out=_LONG, folder=tmp_path)
    assert outcome == Outcome(well=False, why="No such file or directory")
