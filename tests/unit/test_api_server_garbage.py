"""Garbage in every field: the right error or a closed connection, and nothing told of ourselves."""

import json
import logging
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_kit import Certificates, Running, get, read_all, until
from hostapi.contract import ENDPOINTS, VERSION
from hostapi.refusal import STATUS
from hostapi.routing import Asked, find, read, with_body
from updater.errors import BedplateError

PATHS = [f"/{VERSION}{each.path}".replace("{name}", "core.1") for each in ENDPOINTS]
NAMES = sorted({each.name for one in ENDPOINTS for each in (*one.parameters, *one.fields)})
METHODS = st.sampled_from(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT"))
_PRINTED = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
_PAIRS = st.lists(st.tuples(st.sampled_from(NAMES) | _PRINTED, _PRINTED), max_size=4)
TARGETS = st.builds(
    lambda path, pairs: path + "".join(f"{'&' if n else '?'}{a}={b}" for n, (a, b) in pairs),
    st.sampled_from(PATHS) | _PRINTED,
    _PAIRS.map(lambda pairs: list(enumerate(pairs))),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=8,
)
BODIES = st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode())
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("Content-Length", "Transfer-Encoding", "Expect", "Connection", "Host"),
                *("Content-Type", "Content-Encoding", "Cookie", "Origin", "Upgrade", "Range"),
            )
        ),
        st.sampled_from(("0", "-1", "9" * 30, "chunked", "gzip", "100-continue", "\xff", "a, b"))
        | _PRINTED,
    ),
    max_size=3,
)
CODES = {200, *STATUS.values()} - {500}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(Certificates(tmp_path_factory.mktemp("certificates"))) as found:
        yield found


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(METHODS, TARGETS, HEADERS, BODIES)
def test_requests_of_garbage(
    running: Running, method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    lines = [f"{method} {target} HTTP/1.1", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    with running.connected("olga") as connection:
        with suppress(OSError):
            connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
            # More than any body says it has: nobody waits for the rest of one.
            connection.sendall(b"x" * 300)
        connection.settimeout(0.2)
        with suppress(TimeoutError):
            found = connection.recv(65536).removeprefix(b"HTTP/1.1 100 (Continue)\r\n\r\n")
            if found:
                assert int(found.split(b" ")[1]) in CODES
                assert b"Traceback" not in found


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_bytes_of_garbage(running: Running, sent: bytes) -> None:
    with running.connected("rita") as connection:
        with suppress(OSError):
            connection.sendall(sent + b"\r\n\r\n")
        found = read_all(connection)
    assert found == b"" or found.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 ", b"HTTP/1.1 404 "))


def test_it_is_well_after_all(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with running.connected("rita") as connection:
        connection.sendall(b"\x00\r\n\r\n")
        assert b"Traceback" not in read_all(connection)
    with running.connected("rita") as connection:
        connection.sendall(get("/status"))
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    # The last ones' clients may have left a moment ago.
    until(lambda: running.api.requests.total == running.api.streams.total == 0)
    assert not [each for each in caplog.records if each.exc_info]


@settings(max_examples=400)
@given(METHODS, TARGETS | st.text(max_size=60), BODIES)
def test_routing_is_total(method: str, target: str, body: bytes) -> None:
    try:
        asked = with_body(read(find(method, target)), body)
    except BedplateError as error:
        assert str(error)  # noqa: PT017 - either is right
        return
    assert isinstance(asked, Asked)
