"""The API's server by HTTPS: routes, roles, acts, streams."""

import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from api_kit import Certificates, PlayedRoot, Running, lines_of, sources, ticks
from hostapi.acting import Data, Progress, Result, Word
from hostapi.refusal import STATUS, Fault, RefusedError
from hostapi.routing import Asked
from updater import programs
from updater.errors import BedplateError, InputError


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def running(certificates: Certificates) -> Iterator[Running]:
    with Running(certificates) as found:
        yield found


def test_a_reader_reads(running: Running) -> None:
    answer = running.ask("rita", "/status")
    assert (answer.status_code, answer.json()) == (200, {"schema": 1, "name": "status"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_connection_is_kept(running: Running) -> None:
    with running.certificates.session("rita") as session:
        for _ in range(3):
            answer = session.get(f"{running.url}/pods", timeout=30)
            assert "close" not in answer.headers.get("Connection", "")


@pytest.mark.parametrize(
    ("name", "code"), [("olga", 200), ("rita", 403), ("nobody", 403), ("unnamed", 403)]
)
def test_the_role_is_the_certificates_organisation(running: Running, name: str, code: int) -> None:
    answer = running.ask(name, "/reboot", "POST")
    assert answer.status_code == code
    if code == 403:
        assert answer.json()["error"]["code"] == "forbidden"
    assert running.ask(name, "/status").status_code == (403 if name[0] in "nu" else 200)


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        (("/nothing", "GET", {}), 404, "openapi.json"),
        (("/status/", "GET", {}), 404, ""),
        (("/status", "POST", {}), 405, "GET"),
        (("/status", "TRACE", {}), 405, "GET"),
        (("/update/override", "POST", {}), 405, "DELETE, PUT"),
        (("/status?colour=red", "GET", {}), 400, "colour"),
        (("/logs?unit=a%20b", "GET", {}), 400, "unit"),
        (("/logs?unit=a&unit=b", "GET", {}), 400, "unit"),
        (("/logs?unit", "GET", {}), 400, "query"),
        (("/logs?unit=%ff", "GET", {}), 400, "query"),
        (("/logs?lines=-1", "GET", {}), 400, "lines"),
        (("/crashes/..%2fshadow", "GET", {}), 400, "name"),
        (("/status", "GET", {"data": b"x"}), 400, "body"),
        (("/status", "GET", {"data": iter([b"x"])}), 400, "body"),
        (("/reboot", "POST", {"data": b"x" * 70000}), 400, "body"),
        (("/wipe", "POST", {}), 400, "hostname"),
        (("/wipe", "POST", {"data": b"[1]"}), 400, "object"),
        (("/wipe", "POST", {"data": b'{"hostname":"a","hostname":"b"}'}), 400, "once"),
        (("/wipe", "POST", {"data": b"[" * 16000}), 400, "JSON"),
        (("/wipe", "POST", {"json": {"hostname": 7}}), 400, "hostname"),
        (("/wipe", "POST", {"json": {"hostname": "a", "force": True}}), 400, "force"),
        (("/wipe", "POST", {"data": b"x" * 20000}), 413, "16384"),
        (("/config/plan", "POST", {"data": b"\xff"}), 400, "UTF-8"),
        (("/config/plan", "POST", {"data": b"x" * ((1 << 20) + 1)}), 413, "body"),
        (("/config/plan", "POST", {"data": iter([b"x" * 700_000] * 2)}), 413, "body"),
        (("/status", "GET", {"headers": {"Origin": "https://example.com"}}), 403, "web pages"),
    ],
)
def test_what_is_wrong_is_told(
    running: Running, asked: tuple[str, str, dict[str, object]], code: int, told: str
) -> None:
    path, method, more = asked
    answer = running.ask("olga", path, method, **more)
    error = answer.json()["error"]
    assert answer.status_code == code
    assert STATUS[Fault(error["code"])] == code
    assert told in error["message"]
    if code == 405:
        assert answer.headers["Allow"] == told


def test_more_than_is_worth_dropping_is_refused_at_once(running: Running) -> None:
    with running.connected("olga") as connection:
        connection.sendall(
            b"POST /v1/config/plan HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_who_waits_for_leave_to_send_does_not_get_it(running: Running) -> None:
    with running.connected("rita") as connection:
        connection.sendall(
            b"POST /v1/config/plan HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 403 ")


def test_arguments_reach_the_act(certificates: Certificates) -> None:
    root = PlayedRoot()
    with Running(certificates, root=root) as running:
        values = {"name": "tools", "url": "https://example.com/tools", "sha256": "0" * 64}
        answer = running.ask("olga", "/extensions", "POST", json=values)
        assert answer.json() == {"schema": 1, "done": "extension-add was done."}
        running.ask("olga", "/extensions/tools", "DELETE")
        running.ask("olga", "/config/plan", "POST", data="#cloud-config\n# \u00e9\n".encode())
        running.ask("olga", "/update/override", "PUT")
    assert [(who, each.endpoint.name, each.arguments) for who, each in root.asked] == [
        ("olga", "extension-add", values),
        ("olga", "extension-remove", {"name": "tools"}),
        ("olga", "config-plan", {}),
        ("olga", "override", {}),
    ]
    assert root.asked[2][1].document == "#cloud-config\n# \u00e9\n".encode()


def failing(error: Exception, *before: Word) -> PlayedRoot:
    async def play(_: Asked) -> AsyncIterator[Word]:
        for word in before:
            yield word
        raise error

    return PlayedRoot(dict.fromkeys(("check", "stage", "crash"), play))


@pytest.mark.parametrize("fault", [Fault.INVALID, Fault.BUSY, Fault.MISSING, Fault.FAILED])
@pytest.mark.parametrize("path", ["/update/check", "/update/stage"])
def test_errors_of_acts_have_their_status(
    certificates: Certificates, fault: Fault, path: str
) -> None:
    with Running(certificates, root=failing(RefusedError(fault, "no such luck"))) as running:
        answer = running.ask("olga", path, "POST")
    assert answer.status_code == STATUS[fault]
    error = {"code": fault.value, "message": "no such luck"}
    assert answer.json() == {"schema": 1, "error": error}


def test_a_stream_of_progress_ends_with_the_result(certificates: Certificates) -> None:
    async def stage(_: Asked) -> AsyncIterator[Word]:
        yield Progress({"step": "fetch", "done": 1})
        yield Progress({"step": "fetch", "done": 2})
        yield Result({"version": "2"})

    with Running(certificates, root=PlayedRoot({"stage": stage})) as running:
        answer = running.ask("olga", "/update/stage", "POST")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert lines_of(answer) == [
        {"progress": {"step": "fetch", "done": 1}},
        {"progress": {"step": "fetch", "done": 2}},
        {"result": {"version": "2"}},
    ]


def test_a_stream_that_fails_on_its_way_says_so(certificates: Certificates) -> None:
    root = failing(RefusedError(Fault.FAILED, "the disk is full"), Progress({"done": 1}))
    with Running(certificates, root=root) as running:
        answer = running.ask("olga", "/update/stage", "POST")
    assert answer.status_code == 200
    assert lines_of(answer) == [
        {"progress": {"done": 1}},
        {"error": {"code": "failed", "message": "the disk is full"}},
    ]


def test_a_file_comes_in_blocks(certificates: Certificates) -> None:
    async def crash(asked: Asked) -> AsyncIterator[Word]:
        assert asked.arguments == {"name": "core.1"}
        for _ in range(5):
            yield Data(b"x" * (1 << 20))
        yield Result({})

    with Running(certificates, root=PlayedRoot({"crash": crash})) as running:
        answer = running.ask("olga", "/crashes/core.1")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.content == b"x" * (5 << 20)


def test_a_file_that_breaks_off_is_not_taken_for_whole(certificates: Certificates) -> None:
    root = failing(RefusedError(Fault.FAILED, "gone"), Data(b"x" * 1000))
    with Running(certificates, root=root) as running, running.connected("olga") as connection:
        connection.sendall(b"GET /v1/crashes/core.1 HTTP/1.1\r\nHost: a\r\n\r\n")
        found = b""
        try:
            while piece := connection.recv(65536):
                found += piece
        except OSError:
            pass
    assert b"x" * 1000 in found
    assert not found.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (InputError("since: no time"), 400, "since: no time"),
        (FileNotFoundError("no such boot"), 404, "no such boot"),
        (PermissionError(13, "Permission denied", "/var/log"), 500, "/var/log: Permission"),
        (BedplateError("the service manager is away"), 500, "service manager"),
        (KeyError("secret"), 500, "bedplate-api itself"),
    ],
)
def test_errors_of_sources_are_told(
    certificates: Certificates, error: Exception, code: int, told: str
) -> None:
    def fails() -> dict[str, object]:
        raise error

    async def breaks() -> AsyncIterator[dict[str, object]]:
        raise error
        yield {}

    found = sources(lambda _: breaks(), boots=fails)
    with Running(certificates, found) as running:
        for path in ("/boots", "/logs"):
            answer = running.ask("rita", path)
            assert answer.status_code == code
            assert told in answer.json()["error"]["message"]
            assert "secret" not in answer.text


def test_logs_are_lines(running: Running) -> None:
    answer = running.ask("rita", "/logs?unit=a.service&lines=3")
    assert [each["message"] for each in lines_of(answer)] == ["line 0", "line 1", "line 2"]


def test_logs_get_their_arguments(certificates: Certificates) -> None:
    asked: list[object] = []

    def logs(arguments: object) -> object:
        asked.append(arguments)
        return ticks(0)

    with Running(certificates, sources(logs)) as running:
        answer = running.ask("rita", "/logs?follow=true&boot=-1&unit=a%40b.service&priority=err")
    assert (answer.status_code, answer.text) == (200, "")
    assert asked == [{"follow": True, "boot": -1, "unit": "a@b.service", "priority": "err"}]


def test_many_lines_arrive_whole(certificates: Certificates) -> None:
    with Running(certificates, sources(lambda _: ticks(20_000))) as running:
        answer = running.ask("rita", "/logs")
    found = lines_of(answer)
    assert len(found) == 20_000
    assert found[-1]["message"] == "line 19999"


def test_a_slow_line_is_sent_at_once(certificates: Certificates) -> None:
    with (
        Running(certificates, sources(lambda _: ticks(1000, 0.01))) as running,
        running.certificates.session("rita") as session,
    ):
        answer = session.get(f"{running.url}/logs", stream=True, timeout=30)
        assert json.loads(next(answer.iter_lines()))["message"] == "line 0"


def test_metrics_have_ours(running: Running) -> None:
    running.ask("rita", "/nothing")
    text = running.ask("rita", "/metrics").text
    assert text.startswith("up 1\n")
    assert 'bedplate_api_requests{code="404"} ' in text
    assert "bedplate_api_streams 0\n" in text


def test_every_request_is_in_the_log(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Running(certificates) as running:
        running.ask("rita", "/status")
        running.ask("rita", "/reboot", "POST")
        running.ask("olga", "/config/plan", "POST", data=b"hunter2")
        running.ask("nobody", "/logs?unit=hunter2")
        running.ask("rita", "/hunter2")
    told = [each.message for each in caplog.records if each.name.startswith("hostapi")]
    assert told == [
        '"rita" (reader) from 127.0.0.1: status: 200',
        '"rita" (reader) from 127.0.0.1: reboot: 403',
        '"olga" (operator) from 127.0.0.1 asks for config-plan',
        '"olga" (operator) from 127.0.0.1: config-plan: 200',
        '"nobody" (no role) from 127.0.0.1: -: 403',
        '"rita" (reader) from 127.0.0.1: -: 404',
    ]
    assert "hunter2" not in caplog.text


def test_the_server_imports_little() -> None:
    code = (
        "import sys, hostapi.daemon; "
        "heavy = ('requests', 'cryptography', 'yaml', 'tuf', 'tornado.web', 'systemd'); "
        "print([each for each in heavy if each in sys.modules])"
    )
    assert programs.run((sys.executable, "-c", code)).strip() == "[]"
