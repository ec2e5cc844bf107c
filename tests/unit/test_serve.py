import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from aiohttp import web
from aiohttp.typedefs import Handler

from builder.serve import ServeError, ServeInputError, Server, serving

CONTENT = bytes(range(256)) * 2048  # 512 KiB, more than one piece


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "served"
    (top / "targets/releases/1").mkdir(parents=True)
    (top / "targets/releases/1/root.wire").write_bytes(CONTENT)
    (top / "metadata").mkdir()
    (top / "metadata/timestamp.json").write_bytes(b"{}")
    (top / ".lock").write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"not yours")
    (top / "way-out").symlink_to(tmp_path / "secret")
    return top


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with serving(folder) as running:
        yield running


def get(server: Server, path: str, **headers: str) -> requests.Response:
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(f"{server.url}/{path}", headers=renamed, timeout=30)


def test_a_whole_file_and_its_bytes_are_counted(server: Server) -> None:
    answer = get(server, "targets/releases/1/root.wire")
    assert answer.status_code == 200
    assert answer.content == CONTENT
    assert "Content-Encoding" not in answer.headers
    get(server, "metadata/timestamp.json")
    assert server.bytes_sent("targets/") == len(CONTENT)
    assert server.bytes_sent() == len(CONTENT) + 2


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=100-199", 100, 199), ("bytes=524000-", 524000, 524287), ("bytes=-5", 524283, 524287)],
)
def test_a_range(server: Server, asked: str, first: int, last: int) -> None:
    answer = get(server, "targets/releases/1/root.wire", Range=asked)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert answer.content == CONTENT[first : last + 1]
    assert server.bytes_sent() == last + 1 - first


@pytest.mark.parametrize("asked", ["bytes=524288-", "bytes=9-3", "bytes=a-b", "lines=1-2"])
def test_a_range_that_cannot_be(server: Server, asked: str) -> None:
    answer = get(server, "targets/releases/1/root.wire", Range=asked)
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
    assert server.bytes_sent() == 0


def test_if_range_by_etag(server: Server) -> None:
    path = "targets/releases/1/root.wire"
    etag = get(server, path).headers["ETag"]
    assert get(server, path, Range="bytes=1-2", If_Range=etag).content == CONTENT[1:3]
    other = get(server, path, Range="bytes=1-2", If_Range='"another"')
    assert (other.status_code, other.content) == (200, CONTENT)
    weak = get(server, path, Range="bytes=1-2", If_Range=f"W/{etag}")
    assert weak.status_code == 200


def test_if_range_by_date(server: Server) -> None:
    path = "targets/releases/1/root.wire"
    date = get(server, path).headers["Last-Modified"]
    # A date holds whole seconds, so the file may be up to a second newer than its own date.
    later = "Fri, 01 Jan 2100 00:00:00 GMT"
    assert get(server, path, Range="bytes=1-2", If_Range=later).status_code == 206
    earlier = "Thu, 01 Jan 1970 00:00:00 GMT"
    assert get(server, path, Range="bytes=1-2", If_Range=earlier).status_code == 200
    assert date.endswith("GMT")


def test_head_sends_no_body(server: Server) -> None:
    answer = requests.head(f"{server.url}/targets/releases/1/root.wire", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.content == b""
    assert server.bytes_sent() == 0


def test_not_modified_counts_nothing(server: Server) -> None:
    etag = get(server, "metadata/timestamp.json").headers["ETag"]
    before = server.bytes_sent()
    answer = get(server, "metadata/timestamp.json", If_None_Match=etag)
    assert answer.status_code == 304
    assert server.bytes_sent() == before


@pytest.mark.parametrize(
    "path", ["", "targets", "targets/", ".lock", "way-out", "none", "%2e%2e/secret", "a%00b"]
)
def test_nothing_but_its_files(server: Server, path: str) -> None:
    answer = get(server, path)
    assert answer.status_code in {400, 404}
    assert b"not yours" not in answer.content


def test_dots_on_the_wire_lead_nowhere(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET /../secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b" 404 " in answer.splitlines()[0]


def test_read_only(server: Server, folder: Path) -> None:
    url = f"{server.url}/metadata/timestamp.json"
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        assert requests.request(method, url, data=b"x", timeout=30).status_code == 405
    assert (folder / "metadata/timestamp.json").read_bytes() == b"{}"


def test_a_broken_off_answer_counts_what_left(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(64 << 20))
    with serving(tmp_path) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(16)
    assert 0 < server.bytes_sent() < 64 << 20


def test_a_middleware_can_lie(folder: Path) -> None:
    @web.middleware
    async def lie(request: web.Request, handler: Handler) -> web.StreamResponse:
        del request, handler
        return web.Response(status=503)

    with serving(folder, middlewares=[lie]) as server:
        assert get(server, "metadata/timestamp.json").status_code == 503


def test_it_stops(folder: Path) -> None:
    before = threading.active_count()
    with serving(folder) as server:
        get(server, "metadata/timestamp.json")
    with pytest.raises(requests.ConnectionError):
        get(server, "metadata/timestamp.json")
    assert threading.active_count() == before


def test_a_port_that_is_taken(server: Server, folder: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(ServeError, match=f"port {port}"), serving(folder, port=port):
        pass


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ServeInputError, match="nothing-here"), serving(tmp_path / "nothing-here"):
        pass
