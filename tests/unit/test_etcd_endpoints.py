"""The client against endpoints that are down, silent, slow, endless or mad."""

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from etcd_endpoints import chunk, endless, listening, says, writes
from hostkit.etcd import (
    Access,
    Change,
    Client,
    Compacted,
    Compare,
    EtcdError,
    Limits,
    Put,
    Refused,
    Unavailable,
)

LIMITS = Limits(connect_seconds=20, call_seconds=20, watch_gap_seconds=20, answer_bytes=100_000)
# For those that never end by themselves.
HASTY = Limits(connect_seconds=20, call_seconds=1.5, watch_gap_seconds=1.5, answer_bytes=100_000)
GOOD = says(b'{"header":{"revision":"7"},"kvs":[{"key":"YQ==","value":"Yg=="}],"count":"1"}')
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
STREAM = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CREATED = b'{"result":{"header":{"revision":"7"},"created":true}}\n'
EVENT = (
    b'{"result":{"header":{"revision":"9"},"events":[{"kv":{"key":"YQ==","mod_revision":"8"}}]}}\n'
)
REASON = '"cancel_reason":"rpc error: code ='
PROGRESS = b'{"result":{"header":{"revision":"12"}}}\n'
BROKEN = {
    "silent": (endless(b"", b"", pause=5), "no answer in time"),
    "closes": (writes(b""), "Remote end closed connection without response"),
    "garbage": (writes(b"\x00\xff\r\n" * 50), "BadStatusLine"),
    "endless status": (endless(b"HTTP/1.1 200 ", b"x" * 1000), "LineTooLong|got more than"),
    "endless headers": (endless(HEAD, b"a: b\r\n" * 20), "more than 100 headers"),
    "headers that trickle": (endless(HEAD, b"a", pause=0.1), "no answer in time"),
    "body that trickles": (
        endless(HEAD + b"Content-Length: 90000\r\n\r\n", b" ", pause=0.1),
        "no answer in time",
    ),
    "chunk that trickles": (endless(STREAM, b"0", pause=0.1), "no answer in time"),
    "endless body": (endless(HEAD + b"\r\n", b" " * 9999), "longer than the 100000 bytes"),
    "endless chunks": (endless(STREAM, chunk(b" " * 9999)), "longer than the 100000 bytes"),
    "breaks off": (writes(HEAD + b"Content-Length: 99\r\n\r\n{"), "its answer broke off"),
    "no JSON": (says(b"<html>\n\xff"), r"HTTP status 200, and not etcd's JSON .*: <html>\\n\\xff"),
    "deep JSON": (says(b"[" * 90_000), "not etcd's JSON"),
    "a list": (says(b"[]"), "not etcd's JSON"),
    "an error page": (says(b"nginx", "502 Bad Gateway"), "HTTP status 502, and not etcd's JSON"),
    "redirects": (writes(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9\r\n"
                         b"Content-Length: 0\r\n\r\n"), "HTTP status 302, and not etcd's JSON"),
    "busy": (says(b'{"code":14,"message":"etcdserver: leader changed"}', "503 No"),
             "leader changed"),
}  # fmt: skip


def client(*urls: str) -> Client:
    return Client(Access(urls), limits=LIMITS)


def hasty(*urls: str) -> Client:
    return Client(Access(urls), limits=HASTY)


def client_for(reason: str | None) -> Callable[..., Client]:
    """Hasty where waiting is what the test is about: elsewhere, a slow machine is no fault."""
    return hasty if reason in {None, "no answer in time"} else client


def down() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(("answer", "reason"), BROKEN.values(), ids=BROKEN)
def test_the_next_endpoint_serves_what_a_broken_one_does_not(
    answer: Callable[..., None], reason: str
) -> None:
    with listening(answer) as broken, listening(GOOD) as good:
        asking = client_for(reason)
        with pytest.raises(Unavailable, match=reason) as caught:
            asking(broken.url).get("a")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
        assert broken.url in str(caught.value)
        both = asking(broken.url, good.url)
        assert both.get("a") is not None
        asked = len(broken.requests)
        assert both.get("a") is not None
        assert len(broken.requests) == asked
        assert len(good.requests) == 2


@pytest.mark.parametrize(("answer", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_write_that_may_be_done_is_not_repeated(answer: Callable[..., None], reason: str) -> None:
    with listening(answer) as broken, listening(GOOD) as good:
        asked = client_for(reason)(broken.url, good.url)
        with pytest.raises(Unavailable) as caught:
            asked.put("a", b"b")
        assert caught.value.applied
        assert not good.requests
        # The caller's next attempt goes elsewhere.
        asked.put("a", b"b")
        assert len(broken.requests) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda asked: asked.delete("a"),
        lambda asked: asked.transact([Compare.absent("a")], [Put("a", b"")]),
    ],
)
def test_nor_are_the_other_writes(call: Callable[[Client], object]) -> None:
    with listening(writes(b"")) as broken, listening(GOOD) as good:
        with pytest.raises(Unavailable):
            call(client(broken.url, good.url))
        assert (len(broken.requests), len(good.requests)) == (1, 0)


def test_a_write_goes_on_where_it_was_surely_not_done() -> None:
    refusing = says(b'{"code":14,"message":"etcdserver: no leader"}', "503 Service Unavailable")
    with listening(refusing) as lonely, listening(GOOD) as good:
        assert client(down(), "http://none.invalid:1", lonely.url, good.url).put("a", b"") == 7
        with pytest.raises(Unavailable, match=r"Connection refused; .*no leader") as caught:
            client(down(), lonely.url).put("a", b"")
        assert not caught.value.applied


def test_certificates_do_not_matter_where_there_is_no_tls() -> None:
    access = Access((down(),), ca=Path("/none"))
    with pytest.raises(Unavailable, match="Connection refused"):
        Client(access, limits=LIMITS).get("a")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"header":{"revision":"x"}}',
        b'{"header":{"revision":true}}',
        b'{"header":[]}',
        b'{"header":{"revision":"7"},"kvs":{}}',
        b'{"header":{"revision":"7"},"kvs":[{"key":"%%%"}]}',
        b'{"header":{"revision":"7"},"kvs":[{"key":7}]}',
        b'{"header":{"revision":"99999999999999999999"}}',
        b'{"header":{"revision":"7"},"kvs":[{"key":"YQ=="}],"more":true}',
    ],
)
def test_what_etcd_would_never_say_is_no_answer(body: bytes) -> None:
    with listening(says(body)) as mad, listening(GOOD) as good:
        with pytest.raises(Unavailable, match="not etcd's"):
            client(mad.url).list("a")
        both = client(mad.url, good.url)
        assert [len(both.list("a").items) for _ in range(2)] == [1, 1]
        assert len(mad.requests) == 2


def test_no_grant_without_a_lease() -> None:
    for body in (b'{"ID":"0","TTL":"5"}', b'{"ID":"5"}', b'{"ID":"5","TTL":"-1"}'):
        with listening(says(body)) as mad, pytest.raises(Unavailable):
            client(mad.url).grant(5)


def test_a_connection_is_kept() -> None:
    ports = set()

    def note(connection: socket.socket, request: bytes) -> None:
        ports.add(connection.getpeername())
        GOOD(connection, request)

    with listening(note) as good:
        asked = client(good.url)
        for _ in range(5):
            asked.get("a")
        assert len(ports) == 1
        request = good.requests[0]
    assert request.startswith(b"POST /v3/kv/range HTTP/1.1\r\n")
    assert b"\r\nGrpc-Metadata-hasleader: true\r\n" in request
    assert b"Authorization" not in request


# --- Users ----------------------------------------------------------------------------------------

STALE = b'{"code":16,"message":"etcdserver: invalid auth token"}'


def test_a_new_token_that_is_invalid_at_once_is_no_loop() -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        fresh = request.startswith(b"POST /v3/auth/authenticate")
        (says(b'{"token":"abc.1"}') if fresh else says(STALE, "401 No"))(connection, request)

    with listening(answer) as mad, pytest.raises(Unavailable, match="with a new one"):
        Client(Access((mad.url,), username="u", password="p"), limits=LIMITS).put("a", b"")  # noqa: S106
    assert len(mad.requests) == 2


@pytest.mark.parametrize("body", [b"{}", b'{"token":"a\\r\\nb"}', b'{"token":7}', STALE, b"x"])
def test_a_token_that_is_none_is_not_used(body: bytes) -> None:
    with listening(says(body)) as mad, pytest.raises(Unavailable):
        Client(Access((mad.url,), username="u", password="p"), limits=LIMITS).put("a", b"")  # noqa: S106
    assert len(mad.requests) == 1


# --- Watches --------------------------------------------------------------------------------------


def test_a_watch_takes_messages_in_any_pieces() -> None:
    body = chunk(CREATED) + chunk(EVENT[:30]) + chunk(EVENT[30:] + EVENT[:5]) + chunk(EVENT[5:])
    pieces = (STREAM + body)[:-1]
    answer = writes(*(bytes([each]) for each in pieces), end=False)
    with listening(answer) as endpoint, client(endpoint.url).watch("a", after=7) as changes:
        assert [next(changes), next(changes)] == [Change("a", b"", 8, 0)] * 2
    sent = endpoint.requests[0].partition(b"\r\n\r\n")[2]
    assert json.loads(sent) == {
        "create_request": {
            "key": "YQ==",
            "range_end": "Yg==",
            "start_revision": "8",
            "progress_notify": True,
        }
    }


@pytest.mark.parametrize(
    ("after_created", "reason"),
    [
        (writes(b"0\r\n\r\n"), "it ended its answer"),
        (writes(b""), "its answer broke off"),
        (writes(chunk(EVENT[:20])), "its answer broke off"),
        (writes(chunk(EVENT[:20]), b"0\r\n\r\n"), "not etcd's JSON"),
        (writes(chunk(b"nonsense\n")), "not etcd's JSON"),
        (writes(chunk(b'{"result":{"events":[{"kv":{}}]}}\n')), "an event without a revision"),
        (writes(chunk(b'{"result":{"events":[{"type":"X"}]}}\n')), "unknown type 'X'"),
        (writes(chunk(b'{"error":{"grpc_code":14,"message":"gone"}}\n')), "gone"),
        (endless(b"", chunk(b" " * 9999)), "longer than the 100000 bytes"),
        (endless(chunk(EVENT[:20]), chunk(b" "), pause=0.1), "no answer in time"),
        (endless(b"", b"0", pause=0.1), None),
        (endless(b"", b"", pause=5), None),
    ],
)
def test_a_watch_that_breaks_says_so(
    after_created: Callable[..., None], reason: str | None
) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(STREAM + chunk(CREATED + EVENT))
        after_created(connection, request)

    asked = client_for(reason)
    with listening(answer) as endpoint, asked(endpoint.url).watch("a", after=7) as changes:
        assert next(changes).revision == 8
        if reason is None:
            # Silence is no fault, and costs nothing but to ask again.
            assert next(changes, None) is None
        else:
            with pytest.raises(Unavailable, match=reason):
                next(changes)
        assert changes.revision == 8


def test_a_message_is_told_before_the_next_one_is_whole() -> None:
    answer = writes(STREAM + chunk(CREATED) + chunk(EVENT + EVENT[:5]), end=False)
    with listening(answer) as endpoint, hasty(endpoint.url).watch("a", after=7) as changes:
        assert next(changes).revision == 8
        with pytest.raises(Unavailable, match="no answer in time"):
            next(changes)


def test_how_long_the_caller_works_is_no_silence() -> None:
    working = threading.Event()
    ready = threading.Event()

    def answer(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(STREAM + chunk(CREATED + EVENT))
        working.wait(20)
        connection.sendall(chunk(EVENT))
        ready.set()

    with listening(answer) as endpoint, hasty(endpoint.url).watch("a", after=7) as changes:
        next(changes)
        time.sleep(HASTY.watch_gap_seconds + 0.5)
        working.set()
        assert ready.wait(20)
        assert next(changes).revision == 8


def test_progress_moves_the_revision() -> None:
    answer = writes(STREAM + chunk(CREATED), chunk(PROGRESS), end=False)
    with listening(answer) as endpoint, hasty(endpoint.url).watch("a", after=7) as changes:
        assert list(changes) == []
        assert changes.revision == 12


@pytest.mark.parametrize(
    ("fields", "error", "reason"),
    [
        ('"compact_revision":"9"', Compacted, "before revision 9 is gone"),
        (
            f'{REASON} PermissionDenied desc = etcdserver: permission denied"',
            Refused,
            "grant the user's role",
        ),
        ('"cancel_reason":"etcdserver: no leader"', Unavailable, "no leader"),
        (
            f'{REASON} Unauthenticated desc = etcdserver: invalid auth token"',
            Unavailable,
            "invalid auth token",
        ),
    ],
)
def test_a_cancelled_watch_says_why(fields: str, error: type[EtcdError], reason: str) -> None:
    message = f'{{"result":{{"canceled":true,{fields}}}}}\n'.encode()
    answer = writes(STREAM + chunk(CREATED), chunk(message), end=False)
    with (
        listening(answer) as endpoint,
        client(endpoint.url).watch("a", after=7) as changes,
        pytest.raises(error, match=reason),
    ):
        next(changes)
