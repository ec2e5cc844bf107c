"""`bedplate host`, down to its exit status, against hosts on this machine."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from builder import cli
from builder.host import waiting
from host_kit import (
    PASSPHRASE,
    STATUS,
    FakeHost,
    Site,
    answer,
    entry,
    in_turn,
    lined,
    make_site,
    running,
    sending,
)
from hostapi.contract import BY_NAME
from updater.errors import run_main

DOCUMENT = "#cloud-config\nhostname: web-1\n"
DONE = {"schema": 1, "done": "draining the pods, then rebooting"}
UPDATE: dict[str, Any] = {
    "schema": 1,
    "status": {
        "version": "7",
        "slot": "a",
        "channel": "stable",
        "server": "https://updates.example.org",
        "strategy": "window",
        "state": "staged",
        "pending": "8",
        "decision": "8 waits for the window",
        "progress": {"step": "fetch", "done": 1024, "total": 2048, "fetched": 1},
        "rejected": [{"version": "6", "reason": "no health", "at": "2026-11-22T00:00:00Z"}],
        "health": "good",
    },
    "history": [{"at": "2026-11-22T00:00:00Z", "kind": "staged", "version": "8", "detail": ""}],
    "override": {"channel": "beta", "strategy": None},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "status": STATUS,
    "boots": {
        "schema": 1,
        "boots": [
            {"index": 0, "boot_id": "b1", "first": "2026-11-23T02:00:00Z", "last": "x"},
            {"index": -1, "boot_id": "b0", "first": "y", "last": "z"},
        ],
    },
    "timings": {
        "schema": 1,
        "firmware": None,
        "kernel": 0.5,
        "total": 9.25,
        "units": [{"unit": "a.service", "seconds": 0.1}, {"unit": "b.service", "seconds": 3}],
    },
    "pods": {
        "schema": 1,
        "pods": [
            {
                "id": "web-0",
                "phase": "Pending",
                "ready": False,
                "restarts": 2,
                "addresses": ["10.5.1.2"],
                "reason": "ErrImagePull",
                "message": "no such image",
            }
        ],
        "refused": {"x.yaml": "no kind"},
    },
    "overlay": {
        "schema": 1,
        "state": "ready",
        "since": "t",
        "fault": "",
        "lease": {"subnets": ["10.5.1.0/24"], "ends": "t2", "stops": "t1"},
        "peers": [{"subnets": ["10.5.2.0/24"], "public": ["192.0.2.8"], "backend": "vxlan"}],
    },
    "update": UPDATE,
    "check": {"schema": 1, "verdict": "wait", "version": "8", "reason": "no wave yet"},
    "trust": {
        "schema": 1,
        "roles": [
            {"role": "root", "version": 2, "expires": "t", "threshold": 1, "keys": ["a" * 64]}
        ],
    },
    "config": {
        "schema": 1,
        "status": {"in_force": "document", "source": "nocloud", "faults": ["a mistake"]},
        "document": DOCUMENT,
    },
    "extensions": {
        "schema": 1,
        "extensions": [
            {"name": "dev", "version": "7", "state": "refused", "reason": "for 6", "source": "api"}
        ],
    },
    "crashes": {
        "schema": 1,
        "crashes": [
            {"name": "core.web", "kind": "core", "at": "t", "bytes": 2048, "program": "/bin/web"}
        ],
    },
    "reboot": DONE,
    "rollback": DONE,
    "override": {"schema": 1, "done": "channel beta until the next boot"},
    "override-end": {"schema": 1, "done": "what the configuration says"},
    "renew": {"schema": 1, "done": "a new certificate"},
    "extension-add": {"schema": 1, "done": "laid over"},
    "extension-remove": {"schema": 1, "done": "taken away"},
    "wipe": {"schema": 1, "done": "wiping"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(autouse=True)
def surroundings(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("BEDPLATE_PASSPHRASE", PASSPHRASE)
    (tmp_path / "host.yaml").write_text(f"identity: {site.identity}\n")
    monkeypatch.setenv("BEDPLATE_HOST_FILE", str(tmp_path / "host.yaml"))
    monkeypatch.chdir(tmp_path)


def answering(host: FakeHost) -> FakeHost:
    for name, document in ANSWERS.items():
        host.says(name, document)
    host.says("metrics", b"# HELP x y\nbedplate_info 1\n")
    host.streams("logs", entry(1, "hello"), entry(2, "there"))
    progress = {"progress": {"step": "fetch", "done": 1, "total": 2, "fetched": 1}}
    host.streams(
        "stage", progress, {"result": {"version": "8", "reason": "8 is newer", "staged": True}}
    )
    host.says("crash", b"core")
    return host


@pytest.fixture
def host(site: Site) -> Iterator[FakeHost]:
    with running(site) as found:
        yield answering(found)


@pytest.fixture
def fleet(site: Site) -> Iterator[list[FakeHost]]:
    """Three hosts, in the file `hosts`."""
    with ExitStack() as stack:
        found = [answering(stack.enter_context(running(site, names=(f"h{n}",)))) for n in (1, 2, 3)]
        lines = [f"127.0.0.1:{each.port} h{n}\n" for n, each in enumerate(found, 1)]
        Path("hosts").write_text("".join(lines))
        yield found


def run(*words: str) -> int:
    args = cli.parser().parse_args(["host", *words])
    return run_main(lambda: int(args.func(args)))


@pytest.fixture
def ask(host: FakeHost) -> Callable[..., int]:
    return lambda *words: run(f"127.0.0.1:{host.port}", *words)


Ask = Callable[..., int]
Output = pytest.CaptureFixture[str]


# --- What is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "shown"),
    [
        ("status", "health        good\nupdate        idle; 7 is the newest"),
        ("status", "overlay       ready: 10.5.1.0/24 (vxlan), 2 peers\npods          1 of 2 pods"),
        ("boots", "index  boot  first entry           last entry\n0      b1"),
        ("timings", "total         9.250s\n\ntime    unit\n3.000s  b.service\n0.100s  a.service"),
        ("timings", "firmware      unknown\n"),
        ("pods", "web-0  Pending  no     2         10.5.1.2   ErrImagePull: no such image"),
        ("pods", "refused       x.yaml: no kind"),
        ("metrics", "bedplate_info 1\n"),
        ("overlay", "lease ends    t2\ntraffic ends  t1\n"),
        ("overlay", "10.5.2.0/24  192.0.2.8  vxlan    -     -"),
        ("update", "update        staged: version 8\ndecision      8 waits for the window"),
        ("update", "progress      fetch: 1.0 KiB of 2.0 KiB"),
        ("update", "override      channel beta: until the next boot, then the cloud-config wins"),
        ("check", "no wave yet\n"),
        ("trust", "root  2        t        1 of 1: aaaaaaaaaaaa\n"),
        ("certificate", "fingerprint   SHA256:AB\nends          2027-01-01T00:00:00Z\n"),
        ("config", "fault         a mistake\n\n#cloud-config\nhostname: web-1\n"),
        ("extension list", "dev   7        refused  api     for 6"),
        ("crash list", "t   core  core.web  2.0 KiB  /bin/web  -"),
        ("logs", "2026-11-23T02:00:01+00:00 127.0.0.1 web[7]: hello\n"),
    ],
)
def test_an_answer_is_a_page_for_people(verb: str, shown: str, ask: Ask, capsys: Output) -> None:
    assert ask(*verb.split()) == 0
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize("verb", sorted(set(ANSWERS) - {"override", "override-end", "wipe"}))
def test_an_answer_is_json_for_programs(verb: str, ask: Ask, capsys: Output) -> None:
    words = {
        "extensions": ["extension", "list"],
        "crashes": ["crash", "list"],
        "renew": ["certificate", "renew"],
        "extension-remove": ["extension", "remove", "dev"],
        "extension-add": [
            *("extension", "add", "dev", "https://x/y", "0" * 64),
        ],
    }
    assert ask(*words.get(verb, [verb]), "--json") == 0
    assert json.loads(capsys.readouterr().out) == ANSWERS[verb]


def test_the_certificate_is_a_part_of_the_status(ask: Ask, capsys: Output) -> None:
    assert ask("certificate", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"schema": 1, "certificate": STATUS["certificate"]}


def test_entries_are_a_line_of_json_each(ask: Ask, host: FakeHost, capsys: Output) -> None:
    host.streams("logs", entry(1, "one\n\x9b2J\u202etwo"))
    assert ask("logs", "--json", "--unit", "web", "--lines", "5") == 0
    out = capsys.readouterr().out
    assert "\x9b" not in out
    assert "\u202e" not in out
    assert json.loads(out) == {**entry(1, "one\n?2J?two"), "host": "127.0.0.1"}
    assert host.seen[0].target == "/v1/logs?unit=web&lines=5"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["logs", "--since", "yesterday"], 2, "expected a text that matches"),
        (["logs", "--boot", "1"], 2, "expected a number from -99 to 0"),
        (["crash", "get", "../x"], 2, "expected a text that matches"),
        (["nonsense"], 2, "invalid choice: 'nonsense'"),
        (["override"], 2, "give --channel, --strategy or both, or --end"),
        (["override", "--end", "--channel", "beta"], 2, "--end takes neither"),
        (["wipe", "web-1"], 2, "loses all that is in its /var"),
        (["wipe", "web-1", "--yes-wipe", "web-2"], 2, "add --yes-wipe web-1"),
        (["config", "plan", "missing.yaml"], 1, "missing.yaml: No such file"),
    ],
)
def test_wrong_use_is_told_and_nothing_is_asked(  # noqa: PLR0917
    words: list[str], code: int, told: str, ask: Ask, host: FakeHost, capsys: Output
) -> None:
    try:
        found: int | str | None = ask(*words)
    except SystemExit as error:  # argparse's
        found = error.code
    assert found == code
    assert told in capsys.readouterr().err
    assert not host.seen


def test_an_address_that_is_missing_is_told(capsys: Output) -> None:
    with pytest.raises(SystemExit):
        run("status", "--json")
    assert "of which host? ADDRESS comes before the verb" in capsys.readouterr().err


def test_a_refusal_is_a_line_and_an_exit_status(ask: Ask, host: FakeHost, capsys: Output) -> None:
    host.refuses("pods", 404, "missing", "no pods are declared")
    assert ask("pods") == 1
    assert capsys.readouterr().err == "bedplate: 127.0.0.1: no pods are declared\n"
    host.refuses("extension-remove", 400, "invalid", "dev: built in")
    assert ask("extension", "remove", "dev") == 2


# --- The configuration ----------------------------------------------------------------------------


def test_a_plan_is_shown_and_a_wrong_document_is_2(
    ask: Ask, host: FakeHost, capsys: Output
) -> None:
    Path("web.yaml").write_text(DOCUMENT)
    found = {"schema": 1, "changes": ["write /etc/hostname"], "faults": [], "warnings": ["w"]}
    host.says("config-plan", found)
    assert ask("config", "plan", "web.yaml") == 0
    assert capsys.readouterr().out == "write /etc/hostname\nwarning: w\n"
    assert host.seen[0].body.decode() == DOCUMENT
    host.says("config-plan", {"schema": 1, "changes": [], "faults": ["2:1: unknown key"]})
    assert ask("config", "plan", "web.yaml") == 2
    assert capsys.readouterr().out == "fault: 2:1: unknown key\n"


def test_the_difference_of_two_shows_no_secret(ask: Ask, capsys: Output) -> None:
    password = "$6$rounds=4096$saltsalt$" + "x" * 86
    Path("same.yaml").write_text(DOCUMENT)
    assert ask("config", "diff", "same.yaml") == 0
    assert capsys.readouterr().out == "the same, but for secrets\n"
    Path("new.yaml").write_text(
        f"#cloud-config\nhostname: web-2\nusers:\n- name: core\n  passwd: {password}\n"
    )
    assert ask("config", "diff", "new.yaml") == 1
    out = capsys.readouterr().out
    assert "-hostname: web-1\n+hostname: web-2\n" in out
    assert password not in out
    assert "<cut out:" in out


# --- What is done ---------------------------------------------------------------------------------


def test_staging_is_followed_to_its_result(ask: Ask, host: FakeHost, capsys: Output) -> None:
    assert ask("stage") == 0
    told = capsys.readouterr()
    assert told.out == "version 8 is staged; 8 is newer\n"
    assert "127.0.0.1: stage: done, version 8 is staged" in told.err
    host.streams("stage", {"progress": {"step": "fetch"}})
    assert ask("stage") == 1
    assert "the stream ended before the result" in capsys.readouterr().err


def test_an_override_says_when_it_ends(ask: Ask, host: FakeHost, capsys: Output) -> None:
    assert ask("override", "--channel", "beta", "--strategy", "off") == 0
    out = capsys.readouterr().out
    assert out == (
        "channel beta until the next boot\n"
        "the cloud-config wins again: then, or at once by `override --end`\n"
    )
    assert json.loads(host.seen[0].body) == {"channel": "beta", "strategy": "off"}
    assert ask("override", "--end") == 0
    assert host.seen[1].method == "DELETE"


def test_a_wipe_is_said_twice(ask: Ask, host: FakeHost) -> None:
    assert ask("wipe", "web-1", "--yes-wipe", "web-1") == 0
    assert json.loads(host.seen[0].body) == {"hostname": "web-1"}


def booted(boot: str, state: str = "good", detail: str = "") -> dict[str, Any]:
    host = {**STATUS["host"], "boot_id": boot}
    return {**STATUS, "host": host, "health": {"state": state, "detail": detail}}


def test_who_waits_for_a_reboot_hears_of_another_boot(
    ask: Ask, host: FakeHost, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0)
    steps = [booted("b1"), booted("b1"), None, booted("b2", "starting"), booted("b2")]
    host.scripts["status"] = in_turn(
        *(sending(answer(json.dumps(each).encode()) if each else b"") for each in steps)
    )
    assert ask("reboot", "--wait") == 0
    assert capsys.readouterr().out == "7 (slot a) is up and healthy\n"
    assert len(host.does("status")) == 5


def test_a_host_that_comes_back_ill_or_not_at_all_is_a_failure(
    ask: Ask, host: FakeHost, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0)
    ill = booted("b2", "failed", "web.service")
    host.scripts["status"] = in_turn(
        *(sending(answer(json.dumps(each).encode())) for each in (booted("b1"), ill))
    )
    assert ask("rollback", "--wait") == 1
    assert "back with 7 (slot a), and not healthy: web.service" in capsys.readouterr().err
    host.says("status", booted("b1"))
    assert ask("reboot", "--wait", "--timeout", "1") == 1
    assert "not back and healthy within 1 s: it has not gone down" in capsys.readouterr().err


def test_a_crash_becomes_a_file_or_none(ask: Ask, host: FakeHost, capsys: Output) -> None:
    assert ask("crash", "get", "core.web") == 0
    assert capsys.readouterr().out == "core.web: 4 B\n"
    assert Path("core.web").read_bytes() == b"core"
    assert Path("core.web").stat().st_mode & 0o777 == 0o600
    half = answer(b"half of it", media=BY_NAME["crash"].answer.value)[:-1]
    host.scripts["crash"] = sending(half)
    before = sorted(Path().iterdir())
    assert ask("crash", "get", "core.web") == 1
    assert ask("crash", "get", "core.web", "--output", "new/file") == 1
    assert Path("core.web").read_bytes() == b"core"
    assert sorted(Path().iterdir()) == sorted([*before, Path("new")])
    assert not list(Path("new").iterdir())


# --- Many hosts -----------------------------------------------------------------------------------


def test_many_hosts_are_a_line_each_and_a_sum(fleet: list[FakeHost], capsys: Output) -> None:
    fleet[1].refuses("status", 500, "failed", "no \x1bstatus")
    assert run("--hosts", "hosts", "status") == 1
    *lines, total = capsys.readouterr().out.splitlines()
    assert sorted(lines) == [
        "h1  good, 7 (slot a), update idle, 1 of 2 pods ready",
        "h2  failed: no ?status",
        "h3  good, 7 (slot a), update idle, 1 of 2 pods ready",
    ]
    assert total == "3 hosts: 2 ok, 1 failed"


def test_many_hosts_are_one_object_in_the_order_of_the_file(
    fleet: list[FakeHost], capsys: Output
) -> None:
    fleet[0].refuses("trust", 500, "failed", "no trust")
    assert run("--hosts", "hosts", "trust", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["counts"]) == (1, {"ok": 2, "failed": 1})
    first, second, third = found["hosts"]
    told = {"name": "h1", "address": "127.0.0.1", "verdict": "failed", "error": "h1: no trust"}
    assert first == told
    assert second["answer"] == ANSWERS["trust"]
    assert third["name"] == "h3"


def test_no_more_than_so_many_are_asked_at_once(fleet: list[FakeHost], capsys: Output) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def counting(body: bytes) -> Any:  # noqa: ANN401
        async def script(_: object) -> Any:  # noqa: ANN401
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            yield answer(body)
            with lock:
                now -= 1

        return script

    for each in fleet:
        each.scripts["trust"] = counting(json.dumps(ANSWERS["trust"]).encode())
    assert run("--hosts", "hosts", "--parallel", "1", "trust") == 0
    assert most == 1
    assert capsys.readouterr().out.endswith("3 hosts: 3 ok\n")


def test_reboots_are_one_after_the_other_and_end_with_a_failure(
    fleet: list[FakeHost], capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0)
    good, ill = booted("b2"), booted("b2", "failed", "web.service")
    for each, after in zip(fleet, (good, ill, good), strict=True):
        each.scripts["status"] = in_turn(
            *(sending(answer(json.dumps(one).encode())) for one in (booted("b1"), after))
        )
    assert run("--hosts", "hosts", "reboot") == 1
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "h1  7 (slot a) is up and healthy"
    assert out.endswith("h3  not tried\n3 hosts: 1 ok, 1 failed, 1 not tried\n")
    assert not fleet[2].seen


def test_a_wipe_of_many_is_refused(fleet: list[FakeHost], capsys: Output) -> None:
    assert run("--hosts", "hosts", "wipe", "h1", "--yes-wipe", "h1") == 2
    assert "wipe: one host at a time" in capsys.readouterr().err
    assert not any(each.seen for each in fleet)


@pytest.mark.usefixtures("fleet")
def test_logs_of_many_are_told_apart(capsys: Output) -> None:
    assert run("--hosts", "hosts", "logs") == 0
    told = capsys.readouterr()
    hosts = [line.split()[1] for line in told.out.splitlines()]
    assert sorted(hosts) == ["h1", "h1", "h2", "h2", "h3", "h3"]
    assert told.err.endswith("3 hosts: 3 ok\n")
    assert run("--hosts", "hosts", "--parallel", "2", "logs", "--follow") == 2
    assert "3 hosts need --parallel 3" in capsys.readouterr().err


def test_differences_are_counted_by_themselves(fleet: list[FakeHost], capsys: Output) -> None:
    Path("new.yaml").write_text(DOCUMENT)
    other = {**ANSWERS["config"], "document": "#cloud-config\nhostname: other\n"}
    fleet[2].says("config", other)
    assert run("--hosts", "hosts", "config", "diff", "new.yaml") == 1
    out = capsys.readouterr().out
    assert "h3  2 lines differ\n" in out
    assert out.endswith("3 hosts: 2 ok, 1 different\n")


@pytest.mark.usefixtures("fleet")
def test_files_of_many_go_to_a_folder() -> None:
    assert run("--hosts", "hosts", "crash", "get", "core.web", "-o", "crashes") == 0
    assert sorted(each.name for each in Path("crashes").iterdir()) == [
        *("h1-core.web", "h2-core.web", "h3-core.web")
    ]


def test_an_interruption_ends_all(
    fleet: list[FakeHost], capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hosts follow for ever; who reads the third's line presses Ctrl-C."""
    import asyncio  # noqa: PLC0415

    from builder.host import many  # noqa: PLC0415

    asked = threading.Barrier(3, timeout=10)

    def following(*pieces: bytes) -> Any:  # noqa: ANN401
        async def script(_: object) -> Any:  # noqa: ANN401
            for piece in pieces:
                yield piece
            await asyncio.to_thread(asked.wait)
            await asyncio.Event().wait()

        return script

    def interrupt(*_: object, **__: object) -> None:
        asked.wait()
        raise KeyboardInterrupt

    for each in fleet[:2]:
        each.scripts["logs"] = following(lined(entry(1, "a"), whole=False))
    monkeypatch.setattr(many, "wait", interrupt)
    args = cli.parser().parse_args(["host", "--hosts", "hosts", "logs"])
    assert run_main(lambda: int(args.func(args))) == 130
    assert not [each for each in threading.enumerate() if each.name.startswith("host_")]
    assert "Traceback" not in capsys.readouterr().err
