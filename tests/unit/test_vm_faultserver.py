import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

# It lies beside the tests of virtual machines, and test folders are no packages.
sys.path.insert(0, str(Path(__file__).parents[1] / "vm"))

from faultserver import (
    Delay,
    Disconnect,
    Fault,
    FaultServer,
    Garble,
    IgnoreRange,
    LieAboutLength,
    LieAboutRange,
    Refuse,
    Rule,
    ShiftRange,
    Status,
    Trickle,
    Truncate,
)

CONTENT = os.urandom(200_000)
SECONDS = 30  # enough for any answer; nothing waits for it to pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    (tmp_path / "a b").mkdir()
    (tmp_path / "root.wire").write_bytes(CONTENT)
    (tmp_path / "a b" / "small").write_bytes(b"0123456789")
    with FaultServer(tmp_path) as running:
        yield running


def get(server: FaultServer, path: str = "root.wire", span: str | None = None) -> requests.Response:
    headers = {} if span is None else {"Range": f"bytes={span}"}
    return requests.get(f"{server.url}/{path}", headers=headers, timeout=SECONDS)


def faulty(server: FaultServer, *faults: Fault) -> None:
    server.set_rules(Rule("wire", faults))


def test_files_come_whole_and_are_counted(server: FaultServer) -> None:
    assert get(server).content == CONTENT
    assert get(server, "a%20b/small").content == b"0123456789"
    assert server.bytes_sent() == len(CONTENT) + 10
    assert server.bytes_sent("small") == 10
    (first, _) = server.requests()
    assert (first.method, first.path, first.range, first.status) == ("GET", "/root.wire", None, 200)
    server.forget()
    assert server.requests() == ()


@pytest.mark.parametrize(
    ("span", "start", "end"),
    [
        ("0-0", 0, 1),
        ("10-19", 10, 20),
        ("199990-", 199_990, 200_000),
        ("-5", 199_995, 200_000),
        ("199999-999999", 199_999, 200_000),
        ("-999999", 0, 200_000),
    ],
)
def test_ranges_are_served(server: FaultServer, span: str, start: int, end: int) -> None:
    response = get(server, span=span)
    assert response.status_code == 206
    assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/200000"
    assert response.content == CONTENT[start:end]
    assert server.bytes_sent() == end - start


@pytest.mark.parametrize("span", ["200000-", "-0", "20-10"])
def test_a_range_outside_is_416(server: FaultServer, span: str) -> None:
    response = get(server, span=span)
    assert (response.status_code, response.headers["Content-Range"]) == (416, "bytes */200000")


@pytest.mark.parametrize("span", ["-", "a-b", "0-1,5-6", ""])
def test_an_unusable_range_is_ignored(server: FaultServer, span: str) -> None:
    assert get(server, span=span).status_code == 200


def test_head_has_the_length_and_no_body(server: FaultServer) -> None:
    response = requests.head(f"{server.url}/root.wire", timeout=SECONDS)
    assert (response.headers["Content-Length"], server.bytes_sent()) == ("200000", 0)


@pytest.mark.parametrize("path", ["none", "a%20b", f"{'%2e%2e/' * 20}etc/passwd", ""])
def test_what_is_not_in_the_folder_is_404(server: FaultServer, path: str) -> None:
    assert get(server, path).status_code == 404


def test_rules_go_by_path_in_order_and_change_at_run_time(server: FaultServer) -> None:
    server.set_rules(Rule("small", (Status(503),)), Rule("", (Status(500),)))
    assert [get(server, "a b/small").status_code, get(server).status_code] == [503, 500]
    server.set_rules()
    assert get(server).status_code == 200


def test_a_rule_can_be_for_some_requests_only(server: FaultServer) -> None:
    server.set_rules(Rule("", (Status(503),), times=2), Rule("", (Status(500),), times=1))
    assert [get(server).status_code for _ in range(4)] == [503, 503, 500, 200]


def test_truncate_shortens_the_file(server: FaultServer) -> None:
    faulty(server, Truncate(1000))
    assert get(server).content == CONTENT[:1000]
    assert get(server, span="990-2000").headers["Content-Range"] == "bytes 990-999/1000"
    assert get(server, span="1000-").status_code == 416


def test_garble_changes_one_byte_wherever_the_range_begins(server: FaultServer) -> None:
    faulty(server, Garble(70_000))
    garbled = bytearray(CONTENT)
    garbled[70_000] ^= 0xFF
    assert get(server).content == bytes(garbled)
    assert get(server, span="70000-70001").content == bytes(garbled[70_000:70_002])
    assert get(server, span="70001-70009").content == CONTENT[70_001:70_010]


def test_a_length_that_promises_too_much(server: FaultServer) -> None:
    faulty(server, LieAboutLength(1))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(server)
    assert server.bytes_sent() == len(CONTENT)


def test_a_length_that_promises_too_little(server: FaultServer) -> None:
    faulty(server, LieAboutLength(-1))
    response = get(server)
    assert (response.headers["Content-Length"], response.content) == ("199999", CONTENT[:-1])


def test_disconnect_ends_in_the_middle(server: FaultServer) -> None:
    faulty(server, Disconnect(after=12_345))
    with requests.get(f"{server.url}/root.wire", stream=True, timeout=SECONDS) as response:
        received: list[bytes] = []
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            received.extend(response.iter_content(1))
    assert b"".join(received) == CONTENT[:12_345]
    assert server.bytes_sent() == 12_345


def test_refuse_gives_no_answer(server: FaultServer) -> None:
    faulty(server, Refuse())
    with pytest.raises(requests.exceptions.ConnectionError):
        get(server)
    assert {one.status for one in server.requests()} == {0}


def test_ranges_can_be_ignored(server: FaultServer) -> None:
    faulty(server, IgnoreRange())
    response = get(server, span="10-19")
    assert (response.status_code, response.content) == (200, CONTENT)


def test_a_range_can_begin_elsewhere_and_say_so(server: FaultServer) -> None:
    faulty(server, ShiftRange(4096))
    response = get(server, span="10-19")
    assert response.headers["Content-Range"] == "bytes 4106-4115/200000"
    assert response.content == CONTENT[4106:4116]


def test_a_range_can_lie_about_where_it_begins(server: FaultServer) -> None:
    faulty(server, LieAboutRange(4096))
    response = get(server, span="10-19")
    assert response.headers["Content-Range"] == "bytes 4106-4115/200000"
    assert response.content == CONTENT[10:20]


def test_faults_work_together(server: FaultServer) -> None:
    faulty(server, Truncate(100), IgnoreRange(), Garble(0))
    response = get(server, span="50-")
    assert (response.status_code, len(response.content)) == (200, 100)
    assert response.content[0] == CONTENT[0] ^ 0xFF


def test_a_trickle_brings_the_right_bytes(server: FaultServer) -> None:
    faulty(server, Trickle(1_000_000))
    assert get(server).content == CONTENT
    (request,) = server.requests()
    assert request.seconds > 0.09  # two pieces, a tenth of a second apart


def test_a_delay_brings_the_right_bytes(server: FaultServer) -> None:
    faulty(server, Delay(0.01))
    assert get(server).content == CONTENT


@pytest.mark.parametrize("fault", [Trickle(1), Delay(3600)])
def test_the_server_stops_in_the_middle_of_any_fault(tmp_path: Path, fault: Fault) -> None:
    (tmp_path / "root.wire").write_bytes(CONTENT)
    with FaultServer(tmp_path, Rule("", (fault,))) as server:
        client = socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)
        client.sendall(b"GET /root.wire HTTP/1.1\r\nHost: x\r\n\r\n")
        while not server.requests():
            pass
    with client:
        while client.recv(65536):  # to the end of the connection, which the server closed
            pass
    assert server.bytes_sent() < len(CONTENT)


def test_the_server_stops_while_a_connection_is_idle(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with requests.Session() as session:
        with FaultServer(tmp_path) as server:
            assert session.get(f"{server.url}/file", timeout=SECONDS).content == b"x"
        with pytest.raises(requests.exceptions.ConnectionError):
            session.get(f"{server.url}/file", timeout=SECONDS)
