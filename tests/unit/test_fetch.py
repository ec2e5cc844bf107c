import hashlib
import io
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from metadata_servers import Answer, Request
from metadata_servers import Server as MetadataServer
from storage_server import Asked, Behaviour, FakeClock, Server, good
from updater.fetch import Fetcher, FetchError, Limits, TokenBucket, public

DATA = random.Random(1).randbytes(300_000)  # noqa: S311 - test data
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Limits(connect_seconds=5, gap_seconds=5, retries=3)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({"file": DATA}) as running:
        yield running


def fetcher(limits: Limits = QUICK, clock: FakeClock | None = None) -> Fetcher:
    return Fetcher(limits, clock=clock or FakeClock())


def whole(server: Server, limits: Limits = QUICK) -> bytes:
    return fetcher(limits).get(server.url + "file", len(DATA), SHA256)


def test_a_file_is_fetched_and_counted(server: Server) -> None:
    fetch = fetcher()
    assert fetch.get(server.url + "file", len(DATA), SHA256) == DATA
    assert fetch.received == len(DATA)
    assert server.headers[0]["Accept-Encoding"] == "identity"


def test_just_the_range_is_asked_for(server: Server) -> None:
    fetch = fetcher()
    assert b"".join(fetch.stream(server.url + "file", 1000, 2001)) == DATA[1000:2001]
    assert server.asked == [("file", 1000, 2001)]
    assert fetch.received == 1001
    assert list(fetch.stream(server.url + "file", 5, 5)) == []


def test_connections_are_kept(server: Server) -> None:
    fetch = fetcher()
    ports = set()

    def note(asked: Asked) -> None:
        ports.add(asked.handler.client_address[1])
        good(asked)

    server.usual = note
    for start in range(0, 5000, 1000):
        assert b"".join(fetch.stream(server.url + "file", start, start + 1000))
    assert len(ports) == 1


def cut_after(count: int) -> Behaviour:
    def behave(asked: Asked) -> None:
        part = asked.data[asked.start : asked.end]
        asked.head(206, Content_Length=len(part), Content_Range=asked.range_header())
        asked.body(part[:count])
        asked.hang_up()

    return behave


def without_length(asked: Asked) -> None:
    asked.head(206, Content_Range=asked.range_header())
    asked.body(asked.data[asked.start : asked.end])
    asked.hang_up()


def length_too_long(asked: Asked) -> None:
    part = asked.data[asked.start : asked.end]
    asked.head(206, Content_Length=len(part) + 99, Content_Range=asked.range_header())
    asked.body(part)
    asked.hang_up()


def length_too_short(asked: Asked) -> None:
    part = asked.data[asked.start : asked.end]
    asked.head(206, Content_Length=len(part) // 2, Content_Range=asked.range_header())
    asked.body(part)
    asked.hang_up()


def length_is_rubbish(asked: Asked) -> None:
    asked.head(206, Content_Length="many", Content_Range=asked.range_header())
    asked.body(asked.data[asked.start : asked.end])
    asked.hang_up()


def longer_body(asked: Asked) -> None:
    asked.head(206, Content_Range=asked.range_header())
    asked.body(asked.data[asked.start : asked.end] + b"and more" * 1000)
    asked.hang_up()


def chunked(asked: Asked) -> None:
    asked.head(206, Transfer_Encoding="chunked", Content_Range=asked.range_header())
    part = asked.data[asked.start : asked.end]
    for at in range(0, len(part), 50_000):
        piece = part[at : at + 50_000]
        asked.body(b"%x\r\n%s\r\n" % (len(piece), piece))
    asked.body(b"0\r\n\r\n")


def broken_chunks(asked: Asked) -> None:
    asked.head(206, Transfer_Encoding="chunked", Content_Range=asked.range_header())
    asked.body(b"5\r\n" + asked.data[asked.start : asked.start + 5] + b"\r\nxyz\r\n")
    asked.hang_up()


def whole_file(asked: Asked) -> None:
    asked.head(200, Content_Length=len(asked.data))
    asked.body(asked.data)


def half_the_range(asked: Asked) -> None:
    asked.end = (asked.start + asked.end + 1) // 2
    good(asked)


def shifted(by: int) -> Behaviour:
    def behave(asked: Asked) -> None:
        part = asked.data[asked.start : asked.end]
        asked.head(206, Content_Length=len(part), Content_Range=asked.range_header(by))
        asked.body(part)

    return behave


def other_bounds(start: int, end: int) -> Behaviour:
    """A server that gives, and says it gives, another range than asked for."""

    def behave(asked: Asked) -> None:
        asked.start = max(0, asked.start + start)
        asked.end += end
        asked.data += b"x" * 10
        good(asked)

    return behave


def no_range_header(asked: Asked) -> None:
    part = asked.data[asked.start : asked.end]
    asked.head(206, Content_Length=len(part))
    asked.body(part)


def fails(status: int) -> Behaviour:
    def behave(asked: Asked) -> None:
        asked.head(status, Content_Length=0)

    return behave


def rubbish(asked: Asked) -> None:
    asked.body(b"\0\1\2 what?\r\n\r\n")
    asked.hang_up()


def garbled(asked: Asked) -> None:
    part = asked.data[asked.start : asked.end]
    asked.head(206, Content_Length=len(part), Content_Range=asked.range_header())
    asked.body(part[:-1] + bytes([part[-1] ^ 1]))


def hangs_up(asked: Asked) -> None:
    asked.hang_up()


PASSING: list[Behaviour] = [
    cut_after(0),
    cut_after(1),
    cut_after(70_000),
    without_length,
    length_too_long,
    length_too_short,
    length_is_rubbish,
    longer_body,
    chunked,
    broken_chunks,
    whole_file,
    half_the_range,
    shifted(-1),
    shifted(1),
    other_bounds(1, 0),
    other_bounds(-1, 0),
    other_bounds(0, 1),
    no_range_header,
    fails(500),
    fails(503),
    fails(429),
    rubbish,
    garbled,
    hangs_up,
]


@pytest.mark.parametrize("behaviour", PASSING)
@pytest.mark.parametrize("times", [1, 2])
def test_a_server_that_misbehaves_for_a_while_is_survived(
    server: Server, behaviour: Behaviour, times: int
) -> None:
    if behaviour is garbled:
        times = 1
    server.script = [behaviour] * times
    assert whole(server) == DATA


@pytest.mark.parametrize(
    "behaviour", [b for b in PASSING if b != garbled], ids=lambda b: b.__qualname__
)
def test_ranges_are_right_behind_a_server_that_misbehaves(
    server: Server, behaviour: Behaviour
) -> None:
    server.script = [behaviour]
    assert (
        b"".join(fetcher().stream(server.url + "file", 100_000, 250_000)) == (DATA[100_000:250_000])
    )


def test_a_broken_answer_is_taken_up_where_it_stopped(server: Server) -> None:
    server.script = [cut_after(70_000), cut_after(30_000)]
    assert whole(server) == DATA
    assert [start for _, start, _ in server.asked] == [0, 70_000, 100_000]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (cut_after(1), "broke off"),
        (cut_after(0), "broke off"),
        (shifted(1), "asked for bytes 0-299999, got 'bytes 1-300000"),
        (shifted(-1), "got 'bytes -1-"),
        (other_bounds(1, 0), "got 'bytes 1-299999/"),
        (other_bounds(0, 1), "got 'bytes 0-300000/"),
        (no_range_header, "got ''"),
        (fails(503), "HTTP status 503"),
        (rubbish, "BadStatusLine"),
        (hangs_up, ""),
    ],
)
def test_a_server_that_never_behaves_is_given_up(
    server: Server, behaviour: Behaviour, reason: str
) -> None:
    server.usual = behaviour
    clock = FakeClock()
    with pytest.raises(FetchError) as caught:
        fetcher(clock=clock).get(server.url + "file", len(DATA), SHA256)
    message = str(caught.value)
    assert message.startswith(server.url + "file: ")
    assert reason in message
    assert message.endswith("gave up after 4 attempts")
    assert clock.slept == [1, 2, 4]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 204, 304, 300])
def test_a_refusal_is_final(server: Server, status: int) -> None:
    server.usual = fails(status)
    with pytest.raises(FetchError, match=f"HTTP status {status}") as caught:
        whole(server)
    assert caught.value.status == status
    assert len(server.asked) == 1


def test_other_bytes_than_signed_are_refused_after_two_tries(server: Server) -> None:
    with pytest.raises(FetchError, match=r"not the bytes that were signed.*" + SHA256):
        fetcher().get(server.url + "file", len(DATA) - 1, SHA256)
    assert len(server.asked) == 2


def test_a_shorter_file_than_signed_is_refused(server: Server) -> None:
    with pytest.raises(FetchError, match="gave up after 4 attempts"):
        fetcher().get(server.url + "file", len(DATA) + 1, SHA256)


def test_an_answer_in_another_encoding_is_refused(server: Server) -> None:
    def packed(asked: Asked) -> None:
        asked.head(206, Content_Encoding="gzip", Content_Length=0)

    server.usual = packed
    with pytest.raises(FetchError, match="Content-Encoding 'gzip'"):
        whole(server)


def test_a_server_without_ranges_is_noticed(server: Server) -> None:
    server.usual = whole_file
    fetch = fetcher()
    assert b"".join(fetch.stream(server.url + "file", 0, 9)) == DATA[:9]
    assert fetch.ranged
    assert b"".join(fetch.stream(server.url + "file", 9, 20)) == DATA[9:20]
    assert not fetch.ranged
    assert fetch.received <= 9 + 20


def test_an_endless_answer_is_left_at_the_signed_length(server: Server) -> None:
    def endless(asked: Asked) -> None:
        asked.head(200)
        asked.body(asked.data)
        with suppress(OSError):
            while True:
                asked.body(b"more" * 1000)

    server.usual = endless
    fetch = fetcher()
    assert fetch.get(server.url + "file", len(DATA), SHA256) == DATA
    assert fetch.received == len(DATA)
    with pytest.raises(FetchError, match="longer than the 1000 bytes allowed"):
        fetch.small(server.url + "file", 1000)
    assert fetch.received == len(DATA) + 1001


# --- redirects


def to(location: str) -> Behaviour:
    def behave(asked: Asked) -> None:
        asked.head(302, Location=location, Content_Length=0)

    return behave


@pytest.mark.parametrize("location", ["file", "/other/file", "/a/../file?query"])
def test_redirects_are_followed(server: Server, location: str) -> None:
    server.files["file?query"] = DATA
    server.script = [to(location)] * 3
    assert whole(server) == DATA


def test_a_redirect_that_never_ends_is_not_read(server: Server) -> None:
    def endless(asked: Asked) -> None:
        asked.head(302, Location="file")
        with suppress(OSError):
            while True:
                asked.body(b"more" * 1000)

    server.script = [endless]
    assert whole(server) == DATA


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file", "more than 5 redirects"),
        ("ftp://127.0.0.1/file", "neither http nor https"),
        ("file:///etc/passwd", "neither http nor https"),
        ("http://[bad/", "no valid"),
        ("http://%zz:99999999/", "no valid"),
    ],
)
def test_bad_redirects_are_refused(server: Server, location: str, reason: str) -> None:
    server.usual = to(location)
    with pytest.raises(FetchError, match=reason):
        whole(server)


def test_a_redirect_from_https_to_http_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = fetcher()
    plain = Fetcher._request

    def without_tls(self: Fetcher, url: str, headers: dict[str, str], method: str) -> object:
        return plain(self, url.replace("https:", "http:"), headers, method)

    monkeypatch.setattr(Fetcher, "_request", without_tls)
    server.usual = to(server.url + "elsewhere")
    with pytest.raises(FetchError, match="from https to http"):
        fetch.get(server.url.replace("http:", "https:") + "file", 1, SHA256)
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://x/", "nothing", ""])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(FetchError, match="neither http nor https"):
        fetcher().get(url, 1, SHA256)


# --- time


def test_a_trickle_is_given_up(server: Server) -> None:
    def trickle(asked: Asked) -> None:
        part = asked.data[asked.start : asked.end]
        asked.head(206, Content_Length=len(part), Content_Range=asked.range_header())
        with suppress(OSError):
            for byte in part[:100]:
                asked.body(bytes([byte]))
                asked.handler.wfile.flush()
        asked.hang_up()

    server.usual = trickle
    # Each read takes 6 seconds by this clock, and brings few bytes.
    with pytest.raises(FetchError, match=r"slower than 1024 bytes/s: .* gave up after 4 attempts"):
        fetcher(clock=FakeClock(tick=6)).get(server.url + "file", len(DATA), SHA256)


def test_the_total_deadline_ends_everything(server: Server) -> None:
    clock = FakeClock()
    fetch = fetcher(Limits(total_seconds=50), clock)
    pieces = fetch.stream(server.url + "file", 0, len(DATA))
    assert next(pieces)
    clock.time += 51
    with pytest.raises(FetchError, match="not done within 50 s, the total deadline"):
        next(pieces)


def test_no_retry_outlives_the_total_deadline(server: Server) -> None:
    server.usual = fails(500)
    clock = FakeClock(tick=0.001)
    limits = Limits(total_seconds=100, retries=1000, backoff_limit_seconds=60)
    with pytest.raises(FetchError, match="total deadline"):
        fetcher(limits, clock).get(server.url + "file", len(DATA), SHA256)
    assert clock.time < 101
    assert clock.slept[:7] == [1, 2, 4, 8, 16, 32, pytest.approx(37, abs=1)]


def test_a_silent_server_is_given_up(server: Server) -> None:
    silence = threading.Event()

    def silent(asked: Asked) -> None:
        part = asked.data[asked.start : asked.end]
        asked.head(206, Content_Length=len(part), Content_Range=asked.range_header())
        asked.body(part[:10])
        silence.wait(30)

    server.usual = silent
    try:
        with pytest.raises(FetchError, match="no answer in time; gave up after 2 attempts"):
            whole(server, limits=Limits(gap_seconds=0.5, retries=1))
    finally:
        silence.set()


def test_headers_that_trickle_for_ever_are_given_up(server: Server) -> None:
    stop = threading.Event()

    def endless_headers(asked: Asked) -> None:
        with suppress(OSError):
            asked.body(b"HTTP/1.1 206 Partial Content\r\nX-Much: ")
            while not stop.wait(0.01):
                asked.body(b"x")
        asked.hang_up()

    server.usual = endless_headers
    try:
        with pytest.raises(FetchError, match="gave up after 2 attempts"):
            whole(server, limits=Limits(gap_seconds=0.3, retries=1))
    finally:
        stop.set()


def test_a_server_that_is_down_is_waited_for() -> None:
    server = Server({"file": DATA})
    server.start()
    server.stop()
    clock = FakeClock(on_sleep=server.start)
    try:
        assert fetcher(clock=clock).get(server.url + "file", len(DATA), SHA256) == DATA
    finally:
        server.stop()
    assert clock.slept == [1]


def test_a_server_that_is_never_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
        with pytest.raises(FetchError) as caught:
            fetcher().get(url, 1, SHA256)
    assert str(caught.value) == f"{url}: Connection refused; gave up after 4 attempts"


def test_progress_forgives_earlier_failures(server: Server) -> None:
    big = DATA * 10
    server.files["file"] = big
    server.usual = cut_after(280_000)
    clock = FakeClock()
    assert b"".join(fetcher(clock=clock).stream(server.url + "file", 0, len(big))) == big
    assert set(clock.slept) == {1}


# --- bandwidth and the rest


def test_the_bandwidth_limit_holds(server: Server) -> None:
    clock = FakeClock()
    fetch = fetcher(Limits(bandwidth=50_000), clock)
    assert fetch.get(server.url + "file", len(DATA), SHA256) == DATA
    # One second's worth is free at the start.
    assert clock.time == pytest.approx(len(DATA) / 50_000 - 1)


def test_a_bucket_fills_while_nobody_takes() -> None:
    clock = FakeClock()
    bucket = TokenBucket(100, clock)
    bucket.take(100)
    assert clock.time == 0
    bucket.take(50)
    assert clock.time == 0.5
    clock.time += 1000
    bucket.take(100)
    assert clock.time == 1000.5
    bucket.take(1)
    assert clock.time == 1000.51


def test_a_proxy_is_used(server: Server) -> None:
    fetch = Fetcher(QUICK, proxies={"http": server.url}, clock=FakeClock())
    assert fetch.get("http://nowhere.invalid/file", len(DATA), SHA256) == DATA
    assert server.headers[0]["Host"] == "nowhere.invalid"


def test_the_environment_is_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    monkeypatch.setenv("no_proxy", "")
    assert whole(server) == DATA


def test_a_download_starts_where_the_file_is(server: Server, tmp_path: Path) -> None:
    server.script = [garbled]
    with (tmp_path / "out").open("w+b") as sink:
        sink.write(b"before")
        fetcher().download(server.url + "file", len(DATA), SHA256, sink)
    assert (tmp_path / "out").read_bytes() == b"before" + DATA


def test_a_full_disk_is_no_server_error(server: Server) -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(28, f"No space left on device for {type(data)}")

    with pytest.raises(OSError, match="No space left"):
        fetcher().download(server.url + "file", len(DATA), SHA256, Full())


def test_small_files_are_bounded_and_retried(server: Server) -> None:
    server.script = [fails(500), hangs_up]
    assert fetcher().small(server.url + "file", len(DATA)) == DATA
    with pytest.raises(FetchError, match="HTTP status 404") as caught:
        fetcher().small(server.url + "other", 10)
    assert caught.value.status == 404


def test_a_small_file_cut_short_is_asked_for_again(server: Server) -> None:
    def short(asked: Asked) -> None:
        asked.head(200, Content_Length=len(asked.data))
        asked.body(asked.data[:10])
        asked.hang_up()

    server.script = [short]
    assert fetcher().small(server.url + "file", len(DATA)) == DATA


def test_small_files_may_need_headers_and_another_method() -> None:
    def tell(request: Request) -> Answer:
        said = f"{request.method} {request.headers.get('x-mine')}"
        return Answer(said.encode(), headers={"Flavor": "sweet"})

    with MetadataServer(tell) as server:
        url = server.url + "/file"
        headers = {"X-Mine": "x"}
        answer = fetcher().small(url, 9, headers=headers, answers_with={"flavor": "sweet"})
        assert answer == b"GET x"
        assert server.asked[0].headers["accept-encoding"] == "identity"
        assert fetcher().small(url, 9, method="PUT") == b"PUT None"
        with pytest.raises(FetchError, match="the answer's Flavor is 'sweet', expected 'sour'"):
            fetcher().small(url, 9, answers_with={"Flavor": "sour"})


def test_headers_of_ones_own_go_to_one_server(server: Server) -> None:
    fetch = fetcher()
    url = server.url + "file"
    away = Answer(b"", 307, {"Location": url})
    with MetadataServer(lambda _: away) as first:
        for kwargs in ({"headers": {"X-Mine": "x"}}, {"method": "PUT"}):
            with pytest.raises(FetchError, match="redirected to another server"):
                fetch.small(first.url, len(DATA), **kwargs)
        assert not server.asked
        assert fetch.small(first.url, len(DATA)) == DATA
    server.script = [to("file")]
    assert fetch.small(url, len(DATA), headers={"X-Mine": "x"}) == DATA


def test_a_small_file_without_a_length_may_be_a_part(server: Server) -> None:
    def without_length(asked: Asked) -> None:
        asked.head(200)
        asked.body(asked.data[:10])
        asked.hang_up()

    def in_chunks(asked: Asked) -> None:
        asked.head(200, Transfer_Encoding="chunked")
        asked.body(b"4\r\nbody\r\n0\r\n\r\n")

    server.script = [without_length]
    assert fetcher().small(server.url + "file", len(DATA)) == DATA
    server.script = [in_chunks]
    assert fetcher().small(server.url + "file", 4) == b"body"
    server.usual = without_length
    with pytest.raises(FetchError, match="does not say how long it is; gave up after 4 attempts"):
        fetcher().small(server.url + "file", len(DATA))


def test_headers_that_are_given_up_are_no_answer(server: Server) -> None:
    stop = threading.Event()

    def unfinished(asked: Asked) -> None:
        asked.body(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
        stop.wait(30)
        asked.hang_up()

    server.usual = unfinished
    try:
        with pytest.raises(FetchError, match="no answer in time; gave up after 2 attempts"):
            fetcher(Limits(gap_seconds=0.2, retries=1)).small(server.url + "file", 10)
    finally:
        stop.set()


def test_secrets_of_a_url_are_not_shown(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    secret = server.url.replace("//", "//me:pw@") + "file?token=pw"

    def garbage(asked: Asked) -> None:
        asked.body(b"\xff\xfe\r\n\r\n")
        asked.hang_up()

    for behaviour in (fails(500), hangs_up, garbage):
        server.usual = behaviour
        with pytest.raises(FetchError) as caught:
            fetcher().small(secret, 10)
        assert str(caught.value).startswith(f"{server.url}file?...: ")
        assert "pw" not in str(caught.value) + caplog.text
    assert public("https://a/b#c") == "https://a/b#c"
    assert public("http://[") == "http://["
