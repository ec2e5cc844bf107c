"""A host asks for its certificate: what it believes of the answer, and for how long it waits."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.pki import certificate as certificates
from builder.pki import issuing
from builder.pki.certificate import Kind
from builder.pki.folder import Folder, unencrypted
from hostapi import enrol
from hostapi.enrol import EnrolError, Service
from pki_kit import Clock, new_folder

Answer = Callable[[ssl.SSLSocket], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("pki")
    found = new_folder(path / "pki")
    issuing.issue(found, Kind.HOST, "server", addresses=["127.0.0.1"])
    return found


@contextmanager
def answering(folder: Folder, answer: Answer) -> Iterator[Service]:
    """A server at 127.0.0.1 that says whatever a test wants to a request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = folder.path / "pair.pem"
    key = folder.read_key("server", folder.passphrase)
    pair.write_bytes(unencrypted(key) + folder.certificate_file("server").read_bytes())
    context.load_cert_chain(pair)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection, context.wrap_socket(connection, server_side=True) as stream:
                    asked = b""
                    while piece := stream.recv(65536):
                        asked += piece
                        if asked.endswith(b"}"):
                            answer(stream)
                            break

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        authorities = (folder.path / "ca.pem").read_text()
        yield Service(f"https://127.0.0.1:{port}", authorities, folder.now())
    thread.join(10)


def saying(body: bytes, status: int = 200, length: int | None = None) -> Answer:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n\r\n".encode()
    return lambda stream: stream.sendall(head + body)


def said(certificate: str) -> bytes:
    return json.dumps({"schema": 1, "certificate": certificate}).encode()


def test_an_answer_is_given_as_it_is(folder: Folder) -> None:
    with answering(folder, saying(said("PEM"))) as service:
        assert enrol.enrol(service, "A" * 20, "web", "CSR") == "PEM"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (saying(b"{}"), "key 'certificate' is missing"),
        (saying(b"not JSON"), "no valid JSON"),
        (saying(said("x" * 70000)), "longer than the 65536 bytes"),
        (saying(said("x")[:-3], length=1 << 40), "no valid JSON"),
        (saying(said("x"), status=302), "refused with 302: no reason given"),
        (
            saying(b'{"error":{"message":"no\\u001b[31m"}}', status=403),
            r"refused with 403: no\?\[31m$",
        ),
        (lambda stream: stream.sendall(b"SSH-2.0\r\n"), "BadStatusLine"),
        (lambda _stream: None, "RemoteDisconnected|EOF|closed"),
    ],
)
def test_a_bad_answer_is_told_in_one_line(folder: Folder, answer: Answer, message: str) -> None:
    with answering(folder, answer) as service, pytest.raises(EnrolError, match=message) as caught:
        enrol.enrol(service, "SECRET" * 4, "web", "CSR")
    assert str(caught.value).startswith(service.url)
    assert "SECRET" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_trickle_ends_with_the_time(folder: Folder) -> None:
    def trickle(stream: ssl.SSLSocket) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        stream.recv(1)  # until it has had enough

    started = time.monotonic()
    with (
        answering(folder, trickle) as service,
        pytest.raises(EnrolError, match="no answer in time"),
    ):
        enrol.enrol(replace(service, total_seconds=0.5), "A" * 20, "web", "CSR")
    assert time.monotonic() - started < enrol._GAP_SECONDS


def test_a_handshake_that_never_ends_ends_with_the_time(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        authorities = (folder.path / "ca.pem").read_text()
        service = Service(url, authorities, folder.now(), total_seconds=0.5)
        with pytest.raises(EnrolError, match=url):
            enrol.enrol(service, "A" * 20, "web", "CSR")


def test_nobody_there_is_told(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    service = Service(
        f"https://127.0.0.1:{port}", (folder.path / "ca.pem").read_text(), folder.now()
    )
    with pytest.raises(EnrolError, match="Connection refused"):
        enrol.enrol(service, "A" * 20, "web", "CSR")


def test_a_server_by_another_name_is_not_believed(folder: Folder) -> None:
    with answering(folder, saying(said("PEM"))) as service:
        other = replace(service, url=service.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(EnrolError, match="is not believed: Hostname mismatch"):
            enrol.enrol(other, "A" * 20, "web", "CSR")


def from_the_future(path: Path, **later: float) -> Folder:
    """A folder whose certificates begin after this machine's time, as to a clock that is behind."""
    clock = Clock()
    clock.pass_by(**later)
    folder = new_folder(path / "pki", clock)
    issuing.issue(folder, Kind.HOST, "server", addresses=["127.0.0.1"], days=2)
    return folder


def test_a_clock_that_is_behind_is_no_judge(tmp_path: Path) -> None:
    folder = from_the_future(tmp_path, days=20)
    with (
        answering(folder, saying(said("PEM"))) as service,
        pytest.raises(EnrolError, match="not yet valid"),
    ):
        enrol.enrol(service, "A" * 20, "web", "CSR")
    with answering(folder, saying(said("PEM"))) as service:
        assert enrol.enrol(replace(service, behind=True), "A" * 20, "web", "CSR") == "PEM"


def test_what_certainly_ended_is_not_believed_by_any_clock(tmp_path: Path) -> None:
    folder = from_the_future(tmp_path, days=20)
    clock = Clock()
    clock.pass_by(days=23)
    with (
        answering(folder, saying(said("PEM"))) as service,
        pytest.raises(EnrolError, match="certificate has ended"),
    ):
        enrol.enrol(replace(service, behind=True, now=clock()), "A" * 20, "web", "CSR")


def test_a_request_holds_the_key_and_is_signed() -> None:
    key = certificates.new_key()
    request = enrol.make_request(key).encode()
    assert certificates.read_request(request) == key.public_key()


@given(st.binary(max_size=200))
def test_a_refusal_is_printable_whatever_it_is(data: bytes) -> None:
    assert enrol._refusal(data).isprintable()
