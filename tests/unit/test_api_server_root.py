"""Root's side behind its socket: what it says, and what it does not."""

import base64
import json
import os
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_kit import SECONDS, Certificates, Running, lines_of
from hostapi import acting
from hostapi.acting import SocketRoot, read_word, request_line
from hostapi.contract import BY_NAME
from hostapi.limits import Limits
from hostapi.refusal import Fault, RefusedError
from hostapi.routing import Asked

LIMITS = replace(Limits(), rate=1e6, burst=1e6, grace=1.0, act=1.0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def listening(path: Path, answer: Callable[[socket.socket, bytes], None]) -> Iterator[None]:
    """A root's side in a thread."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as stream, suppress(OSError):
                    answer(connection, stream.readline())

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(SECONDS)


@contextmanager
def served(
    certificates: Certificates, tmp_path: Path, answer: Callable[[socket.socket, bytes], None]
) -> Iterator[Running]:
    path = tmp_path / "acts.sock"
    root = SocketRoot(path, LIMITS)
    with listening(path, answer), Running(certificates, root=root, limits=LIMITS) as running:
        yield running


def line(**values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"


def saying(*words: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda connection, _: connection.sendall(b"".join(words))


def test_a_request_is_one_line(certificates: Certificates, tmp_path: Path) -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        connection.sendall(line(result={"changes": [], "faults": []}))

    with served(certificates, tmp_path, answer) as running:
        found = running.ask("olga", "/config/plan", "POST", data=b"a: 1\nb: 2\n")
        assert found.json() == {"schema": 1, "changes": [], "faults": []}
    assert [json.loads(each) for each in asked] == [
        {"act": "config-plan", "who": "olga", "arguments": {}, "document": "a: 1\nb: 2\n"}
    ]


def test_progress_data_and_results(certificates: Certificates, tmp_path: Path) -> None:
    block = os.urandom(1 << 20)
    words = (
        line(progress={"done": 1}),
        line(data=base64.b64encode(block).decode()),
        line(data=base64.b64encode(block).decode()),
        line(result={"done": "all of it."}),
    )
    with served(certificates, tmp_path, saying(*words)) as running:
        assert running.ask("olga", "/crashes/core.1").content == 2 * block
        assert running.ask("olga", "/reboot", "POST").json() == {"schema": 1, "done": "all of it."}
        assert lines_of(running.ask("olga", "/update/stage", "POST")) == [
            {"progress": {"done": 1}},
            {"result": {"done": "all of it."}},
        ]


@pytest.mark.parametrize(
    ("code", "status"),
    [("invalid", 400), ("busy", 409), ("missing", 404), ("failed", 500), ("strange", 500)],
)
def test_errors(certificates: Certificates, tmp_path: Path, code: str, status: int) -> None:
    word = line(error={"code": code, "message": "no such luck"})
    with served(certificates, tmp_path, saying(word)) as running:
        found = running.ask("rita", "/update")
        assert (found.status_code, found.json()["error"]["message"]) == (status, "no such luck")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "ended without an answer"),
        ((line(progress={}),), "ended without an answer"),
        ((b'{"result": {"done"',), "ended without an answer"),
        ((b"nonsense\n",), "answer that is none"),
        ((line(result=[]),), "answer that is none"),
        ((line(result={}, more=1),), "answer that is none"),
        ((line(data="***"),), "answer that is none"),
        ((b"x" * (5 << 20),), "line that is too long"),
    ],
)
def test_a_root_that_dies_or_babbles(
    certificates: Certificates, tmp_path: Path, words: tuple[bytes, ...], told: str
) -> None:
    with served(certificates, tmp_path, saying(*words)) as running:
        found = running.ask("rita", "/update")
        assert found.status_code == 500
        assert told in found.json()["error"]["message"]


def test_a_root_that_dies_in_a_stream(certificates: Certificates, tmp_path: Path) -> None:
    with served(certificates, tmp_path, saying(line(progress={"done": 1}))) as running:
        found = lines_of(running.ask("olga", "/update/stage", "POST"))
    assert found[0] == {"progress": {"done": 1}}
    assert "ended without an answer" in found[1]["error"]["message"]


def test_a_root_that_is_silent(certificates: Certificates, tmp_path: Path) -> None:
    free = threading.Event()

    def silent(_connection: socket.socket, _request: bytes) -> None:
        free.wait(SECONDS)

    with served(certificates, tmp_path, silent) as running:
        found = running.ask("rita", "/update")
        assert found.status_code == 500
        assert "silent for 1 s" in found.json()["error"]["message"]
        free.set()


def test_no_root_at_all(certificates: Certificates, tmp_path: Path) -> None:
    root = SocketRoot(tmp_path / "nothing.sock", LIMITS)
    with Running(certificates, root=root, limits=LIMITS) as running:
        found = running.ask("olga", "/reboot", "POST")
    assert found.status_code == 500
    assert "bedplate-api-act.socket" in found.json()["error"]["message"]


def test_what_is_no_unicode_is_not_passed_on() -> None:
    with pytest.raises(RefusedError) as found:
        request_line("olga", Asked(BY_NAME["extension-add"], {"url": "https://a/\ud800"}))
    assert found.value.fault is Fault.INVALID


def test_a_document_that_grows_past_the_line() -> None:
    with pytest.raises(RefusedError) as found:
        request_line("olga", Asked(BY_NAME["config-plan"], document=b"\x01" * (1 << 20)))
    assert found.value.fault is Fault.LARGE


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 5))
def test_a_document_is_passed_on_as_it_is(text: str, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acting, "_BLOCK", block)
        line = request_line("olga", Asked(BY_NAME["config-plan"], document=text.encode()))
    assert json.loads(line) == {
        "act": "config-plan",
        "who": "olga",
        "arguments": {},
        "document": text,
    }
    assert line.find(b"\n") == len(line) - 1


def test_a_document_takes_little_memory() -> None:
    # As one text each of its characters would have four bytes.
    document = "\U0001f600".encode() + b"a" * (1 << 20)
    tracemalloc.start()
    try:
        request_line("olga", Asked(BY_NAME["config-plan"], document=document))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_root_says_is_read_or_refused(data: bytes) -> None:
    try:
        read_word(data)
    except RefusedError as error:
        fault = error.fault
    else:
        return
    assert fault in {Fault.FAILED, Fault.INVALID, Fault.BUSY, Fault.MISSING}
