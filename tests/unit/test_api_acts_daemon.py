"""Root's side of the API: the line that it takes, the lines that it gives."""

import json
import logging
import socket
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostapi.acts import daemon
from hostapi.acts.daemon import Line, error_of, find, parse, serve
from hostapi.acts.types import Act, Request, Tell
from hostapi.contract import ENDPOINTS, MAXIMUM_BODY
from updater.errors import BedplateError, InputError
from updater.store import BusyError

STAGE: dict[str, object] = {"act": "stage", "who": "alice", "arguments": {}, "document": None}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def line(request: object) -> bytes:
    return json.dumps(request).encode() + b"\n"


def answers(theirs: socket.socket) -> list[Mapping[str, object]]:
    theirs.settimeout(10)
    data = b""
    while block := theirs.recv(65536):
        data += block
    return [json.loads(each) for each in data.splitlines()]


def ask(
    ends: tuple[socket.socket, socket.socket], request: bytes, act: Act
) -> tuple[int, list[Mapping[str, object]]]:
    ours, theirs = ends

    def send() -> None:
        theirs.sendall(request)
        theirs.shutdown(socket.SHUT_WR)

    sending = threading.Thread(target=send)
    sending.start()
    code = serve(Line(ours), lambda _name: act)
    sending.join()
    ours.close()
    return code, answers(theirs)


def test_an_act_from_end_to_end(
    ends: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    def act(request: Request, tell: Tell) -> Mapping[str, object]:
        tell.progress({"text": "half"})
        tell.data(b"\x00\xff")
        return {"done": f"for {request.who}"}

    caplog.set_level(logging.INFO)
    code, lines = ask(ends, line(STAGE), act)
    assert code == 0
    assert lines == [
        {"progress": {"text": "half"}},
        {"data": b64encode(b"\x00\xff").decode()},
        {"result": {"schema": 1, "done": "for alice"}},
    ]
    assert b64decode(str(lines[1]["data"])) == b"\x00\xff"
    assert caplog.messages == ["stage: asked for by alice", "stage: done for alice"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("wrong"), "invalid", "wrong"),
        (BusyError("another"), "busy", "another"),
        (FileNotFoundError(2, "No such file", "/x"), "missing", "/x: No such file"),
        (BedplateError("no"), "failed", "no"),
        (OSError(28, "No space", "/x"), "failed", "/x: No space"),
        (ValueError("secret"), "failed", "a fault of ours; this host's journal has it"),
        (RecursionError(), "failed", "a fault of ours; this host's journal has it"),
    ],
)
def test_errors(
    ends: tuple[socket.socket, socket.socket], error: Exception, code: str, message: str
) -> None:
    def act(_request: Request, _tell: Tell) -> Mapping[str, object]:
        raise error

    assert ask(ends, line(STAGE), act) == (
        1,
        [{"error": {"code": code, "message": message}}],
    )


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (b"", "without a line's end"),
        (b"{}", "without a line's end"),
        (b"{}\n{}\n", "expected one line"),
        (b"\xff\n", "no valid JSON"),
        (b"[]\n", "expected an object"),
        (line({**STAGE, "act": "logs"}), "is no act"),
        (line({**STAGE, "act": "shell"}), "is no act"),
        (line({**STAGE, "act": 7}), "the name of an act"),
        (line({**STAGE, "who": "a\nb"}), "printable"),
        (line({**STAGE, "who": ""}), "printable"),
        (line({**STAGE, "more": 1}), "unknown key"),
        (line({**STAGE, "arguments": []}), "arguments: expected an object"),
        (line({**STAGE, "arguments": {"argv": "sh"}}), "unknown; known are none"),
        (line({**STAGE, "document": "x"}), "document: expected null"),
        (line({**STAGE, "document": 5}), "document: expected null"),
        (line({**STAGE, "act": "config-plan"}), "document: expected a text"),
        (
            line({**STAGE, "act": "config-plan", "document": "x" * (MAXIMUM_BODY + 1)}),
            "more than the",
        ),
        (line({**STAGE, "act": "wipe"}), "hostname: missing"),
        (line({**STAGE, "act": "crash", "arguments": {"name": "../x"}}), "name: expected"),
        (line({**STAGE, "act": "override", "arguments": {"strategy": "now"}}), "strategy"),
    ],
)
def test_what_the_contract_does_not_have_is_refused(
    ends: tuple[socket.socket, socket.socket], request_: bytes, message: str
) -> None:
    def act(_request: Request, _tell: Tell) -> Mapping[str, object]:
        raise AssertionError("it was done")

    code, (told,) = ask(ends, request_, act)
    error = told["error"]
    assert isinstance(error, dict)
    assert (code, error["code"]) == (1, "invalid")
    assert message in error["message"]


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(line))
def test_garbage_is_invalid_and_nothing_else(data: bytes) -> None:
    with pytest.raises(InputError):
        parse(data)


@given(
    act=st.sampled_from([each.name for each in ENDPOINTS]) | st.text(max_size=8),
    arguments=st.dictionaries(
        st.sampled_from(["name", "hostname", "url", "sha256", "channel", "x"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("stable"),
        max_size=3,
    ),
    document=st.none() | st.text(max_size=8),
)
def test_whatever_is_asked_is_understood_or_invalid(
    act: str, arguments: dict[str, object], document: str | None
) -> None:
    request = {"act": act, "who": "alice", "arguments": arguments, "document": document}
    try:
        endpoint, found = parse(json.dumps(request).encode())
    except InputError:
        return
    assert endpoint.act
    assert set(found.arguments) == set(arguments)


def test_a_line_that_is_too_long_is_not_read_to_its_end(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "_LONGEST_REQUEST", 100)
    ours, theirs = ends
    theirs.sendall(b"x" * 101)
    with pytest.raises(InputError, match="one line of at most 100 bytes"):
        Line(ours).read()


def test_who_says_nothing_is_not_waited_for(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "_READ_SECONDS", 0.01)
    with pytest.raises(InputError, match="no request within"):
        Line(ends[0]).read()


def test_an_act_goes_on_when_its_client_has_gone(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    theirs.sendall(line(STAGE))
    done: list[int] = []

    def act(_request: Request, tell: Tell) -> Mapping[str, object]:
        theirs.close()
        for number in range(5):
            tell.progress({"number": number})
            done.append(number)
        return {}

    assert serve(Line(ours), lambda _name: act) == 0
    assert done == [0, 1, 2, 3, 4]


def test_who_does_not_read_is_not_waited_for_and_gets_no_half_a_line_with_more(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "_WRITE_SECONDS", 0.01)
    ours, theirs = ends
    sender = Line(ours)
    for _ in range(3):
        sender.data(bytes(1 << 20))
    theirs.setblocking(False)  # noqa: FBT003 - as the library has it
    heard = b""
    with suppress(BlockingIOError):
        while block := theirs.recv(1 << 20):
            heard += block
    assert b"\n" not in heard
    sender.send({"result": {}})
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_a_password_in_an_address_is_not_in_the_journal(
    ends: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    arguments = {"name": "etcd", "url": "https://me:secret@h/x.raw", "sha256": "0" * 64}
    request = {**STAGE, "act": "extension-add", "arguments": arguments}
    ask(ends, line(request), lambda _request, _tell: {})
    assert "url='https://...@h/x.raw'" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("password", ["a@secret", "a/secret", "a@b/@secret"])
def test_no_part_of_a_password_is_shown(password: str) -> None:
    shown = daemon._shown({"name": "etcd", "url": f"https://me:{password}@h/x.raw"})
    assert shown == " name='etcd' url='https://...@h/x.raw'"


@pytest.mark.parametrize("sign", ["\0", "\x1b", "\x7f", "\x85", "\xa0", "\u2028", " ", "?", "#"])
def test_an_address_forges_no_line(sign: str) -> None:
    url = f"http://h/x{sign}reboot:{sign}asked{sign}for"
    arguments = {"name": "etcd", "url": url, "sha256": "0" * 64}
    with pytest.raises(InputError, match="url: expected"):
        parse(json.dumps({**STAGE, "act": "extension-add", "arguments": arguments}).encode())
    assert daemon._shown({"url": url}).isprintable()
    assert daemon._shown({"url": url}).isascii()


def test_a_document_is_not_in_the_journal(
    ends: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    request = {**STAGE, "act": "config-plan", "document": "secret"}
    code, _ = ask(ends, line(request), lambda _request, _tell: {})
    assert code == 0
    assert "secret" not in caplog.text


def test_a_fault_is_in_the_journal_whole(
    ends: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    def act(_request: Request, _tell: Tell) -> Mapping[str, object]:
        raise KeyError("why")

    ask(ends, line(STAGE), act)
    assert "KeyError: 'why'" in caplog.text


@pytest.mark.parametrize("name", [each.name for each in ENDPOINTS if each.act])
def test_every_act_of_the_contract_is_there(name: str) -> None:
    assert callable(find(name))


def test_an_error_has_no_more_than_a_code_and_a_message() -> None:
    assert error_of(BusyError("x")) == {"error": {"code": "busy", "message": "x"}}
