import math
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent_kit import CONFIG, TWO, Machine, machine, quick_path, release_of, to
from storage_samples import Release
from storage_server import Server
from updater import cli, config, daemon, health, notify, programs, state, status
from updater.agent import Agent, Check
from updater.config import Strategy
from updater.daemon import StoppedError
from updater.decide import Decision, Verdict
from updater.errors import BedplateError, NotYetError
from updater.state import Phase
from updater.status import Health, HealthReport
from updater.store import locked
from updater.turns import Turns

__all__ = ["machine", "quick_path"]


@pytest.fixture
def two(tmp_path: Path, machine: Machine) -> Release:
    made = release_of(tmp_path / "two", "2", [1, 2, 30, 4])
    machine.knows(made)
    return made


@pytest.fixture
def server(two: Release) -> Iterator[Server]:
    with Server(dict(two.files)) as running:
        yield running


class Scripted(Agent):
    """An agent whose checks end as the test says."""

    outcomes: list[Check | Exception]

    def check(self) -> Check:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


CURRENT = Check(Decision(Verdict.CURRENT, "nothing newer"))


def daemon_of(
    machine: Machine, server: str, settings: config.Config, *outcomes: Check | Exception
) -> Turns:
    settings = replace(settings, server=server.rstrip("/"))
    context = replace(machine.context(), config=settings)
    agent = Scripted(context, settings)
    agent.outcomes = list(outcomes)
    machine.start()
    return Turns(context, settings, agent, chance=lambda: 0.5, clock=lambda: 1000.0)


def test_jitter_and_back_off(machine: Machine) -> None:
    settings = replace(CONFIG, jitter=60)
    failure = BedplateError("no answer")
    made = daemon_of(machine, "http://x", settings, failure, failure, failure, CURRENT, failure)
    assert [made.take() for _ in range(5)] == [60, 90, 150, 330, 60]


def test_strategy_reboot(machine: Machine, server: Server, two: Release) -> None:
    made = daemon_of(machine, server.url, CONFIG, to(two))
    assert made.take() == 600
    assert machine.reboots == 1


def test_strategy_off(machine: Machine, server: Server, two: Release) -> None:
    settings = replace(CONFIG, strategy=Strategy.OFF)
    made = daemon_of(machine, server.url, settings, to(two))
    assert made.take() == 300
    assert machine.reboots == 0
    assert machine.context().store.load().phase is Phase.STAGED


def test_strategy_window(machine: Machine, server: Server, two: Release) -> None:
    now = machine.context().now()
    window = config.Window(
        (now + timedelta(minutes=2)).time().replace(microsecond=0), timedelta(minutes=1)
    )
    settings = replace(CONFIG, strategy=Strategy.WINDOW, window=window)
    made = daemon_of(machine, server.url, settings, to(two))
    assert 0 < made.take() <= 120
    assert machine.reboots == 0


def test_the_delay_before_a_reboot(machine: Machine, server: Server, two: Release) -> None:
    settings = replace(CONFIG, reboot_delay=100)
    made = daemon_of(machine, server.url, settings, to(two))
    assert made.take() == 100
    assert machine.reboots == 0


def test_a_staged_release_is_started_without_the_server(
    machine: Machine, server: Server, two: Release
) -> None:
    off = replace(CONFIG, strategy=Strategy.OFF)
    daemon_of(machine, server.url, off, to(two)).take()
    daemon_of(machine, "http://x", CONFIG, BedplateError("no answer")).take()
    assert machine.reboots == 1


def test_on_trial_it_waits(machine: Machine, server: Server, two: Release) -> None:
    daemon_of(machine, server.url, CONFIG, to(two)).take()
    assert machine.boot() == TWO
    made = daemon_of(machine, server.url, CONFIG)
    assert made.take() == 5


def test_one_at_a_time(machine: Machine) -> None:
    made = daemon_of(machine, "http://x", CONFIG)
    with locked(machine.paths.update_lock, wait=False):
        assert made.take() == 30


def test_a_blessing_that_failed_is_repeated(machine: Machine) -> None:
    (machine.entries / "bedplate_1.efi").rename(machine.entries / "bedplate_1+2-1.efi")
    made = daemon_of(machine, "http://x", CONFIG, NotYetError("x"), NotYetError("x"))
    made.take()
    assert machine.names() == ["bedplate_1+2-1.efi"]
    status.write_health(machine.paths.health, HealthReport(Health.GOOD))
    made.take()
    assert machine.names() == ["bedplate_1.efi"]


@pytest.fixture
def blocked() -> Iterator[None]:
    signals = {signal.SIGTERM, signal.SIGUSR1}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    yield
    while signal.sigtimedwait(signals, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("blocked")
def test_signals() -> None:
    ident = threading.get_ident()
    signal.pthread_kill(ident, signal.SIGUSR1)
    daemon.wait(3600)
    daemon.tell("", None)
    signal.pthread_kill(ident, signal.SIGTERM)
    with pytest.raises(StoppedError):
        daemon.tell("", None)
    with pytest.raises(StoppedError):
        daemon.wait(3600)


def test_a_wrong_configuration_is_in_the_status(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "pthread_sigmask", lambda _how, _signals: set())
    monkeypatch.setattr("updater.slots.find_disk", lambda *_args: machine.disk)
    machine.paths.defaults.parent.mkdir(parents=True, exist_ok=True)
    machine.paths.defaults.write_text("server: nowhere\n")
    assert daemon.main([], machine.paths) == 2
    assert "bedplate: " in capsys.readouterr().err
    published = status.parse(machine.paths.status.read_bytes())
    assert "server: expected" in published.last_error


# --- Notification ---------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_notification(tmp_path: Path, *, abstract: bool) -> None:
    name = str(tmp_path / "notify")
    address = "\0" + name if abstract else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        environment = {"NOTIFY_SOCKET": address.replace("\0", "@")}
        assert notify.send("READY=1", "STATUS=up", environment=environment)
        assert receiver.recv(100) == b"READY=1\nSTATUS=up"
        assert notify.status("two\nlines", environment=environment)
        assert receiver.recv(100) == b"STATUS=two lines\nWATCHDOG=1"
    assert not notify.send("READY=1", environment={"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert not notify.send("READY=1", environment={})


# --- Programs -------------------------------------------------------------------------------------


def test_programs() -> None:
    assert programs.run(("echo", "a b")) == "a b\n"
    assert programs.run(("cat",)) == ""
    with pytest.raises(programs.ProgramError, match=r"`ls /does/not/exist` ended with 2: .*such"):
        programs.run(("ls", "/does/not/exist"))
    with pytest.raises(programs.ProgramError, match="cannot run `/does/not/exist`"):
        programs.run(("/does/not/exist",))
    with pytest.raises(programs.ProgramError, match="took longer"):
        programs.run(("sleep", "60"), time_out=0.01)


def test_programs_get_a_small_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    assert "SECRET" not in programs.run(("env",))


# --- Health ---------------------------------------------------------------------------------------


ACTIVE = {"ActiveState": "active", "Requires": "a.service"}
WAITING = {"ActiveState": "inactive", "Job": "12", "Requires": "a.service b.service"}
FAILED = {"ActiveState": "inactive", "Requires": "a.service b.service"}


@pytest.mark.parametrize(
    ("target", "units", "report"),
    [
        (ACTIVE, {}, HealthReport(Health.GOOD)),
        (
            WAITING,
            {"a.service": "activating", "b.service": "active"},
            HealthReport(Health.STARTING, "a.service is activating"),
        ),
        (
            FAILED,
            {"a.service": "active", "b.service": "failed"},
            HealthReport(Health.FAILED, "b.service is failed"),
        ),
        ({}, {}, HealthReport(Health.FAILED, "boot-complete.target is not asked for")),
    ],
)
def test_health_is_what_systemd_says(
    target: dict[str, str], units: dict[str, str], report: HealthReport
) -> None:
    assert health.judge(target, units) == report


def test_health_asks_for_the_units_only_while_it_is_not_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    answers = {"boot-complete.target": WAITING, "a.service": {"ActiveState": "failed"}}

    def show_unit(unit: str, _properties: object) -> dict[str, str]:
        asked.append(unit)
        return answers.get(unit, {"ActiveState": "active"})

    monkeypatch.setattr("updater.programs.show_unit", show_unit)
    assert health.look().detail == "a.service is failed"
    assert asked == ["boot-complete.target", "a.service", "b.service"]
    asked.clear()
    answers["boot-complete.target"] = ACTIVE
    assert health.look().health is Health.GOOD
    assert asked == ["boot-complete.target"]


def test_the_daemon_notes_health_until_it_is_settled(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = machine.context()
    reports: list[HealthReport | Exception] = [
        HealthReport(Health.STARTING, "a.service is activating"),
        programs.ProgramError("no answer"),
        HealthReport(Health.GOOD),
    ]

    def answer() -> HealthReport:
        report = reports.pop(0)
        if isinstance(report, Exception):
            raise report
        return report

    monkeypatch.setattr("updater.health.look", answer)
    assert daemon.look(context) == daemon.look(context) == 2
    assert status.read_health(context.paths.health).detail == "a.service is activating"
    assert daemon.look(context) == math.inf
    assert status.parse(context.paths.status.read_bytes()).health is Health.GOOD


# --- Commands -------------------------------------------------------------------------------------


@pytest.fixture
def host(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("updater.slots.find_disk", lambda *_args: machine.disk)
    machine.paths.defaults.parent.mkdir(parents=True, exist_ok=True)
    machine.paths.defaults.write_text("server: http://127.0.0.1:1\nchannel: stable\n")
    return machine


def test_unit_commands(
    host: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["boot"], host.paths) == 0
    monkeypatch.setattr("updater.health.look", lambda: HealthReport(Health.FAILED, "a"))
    assert cli.main(["health"], host.paths) == 1
    assert status.parse(host.paths.status.read_bytes()).health is Health.FAILED
    monkeypatch.setattr("updater.health.look", lambda: HealthReport(Health.GOOD))
    assert cli.main(["health", "--json"], host.paths) == 0
    assert cli.main(["mark-good"], host.paths) == 0
    assert status.parse(host.paths.status.read_bytes()).health is Health.GOOD
    capsys.readouterr()
    assert cli.main(["status"], host.paths) == 0
    assert "version     1 (slot a)" in capsys.readouterr().out


def test_commands_fail_in_one_line(host: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for argv, code, message in (
        (["check"], 1, "no update can be believed"),
        (["apply"], 1, "no update can be believed"),
        (["rollback"], 1, "nothing to go back to"),
        (["unreject", "2"], 1, "not rejected"),
        (["unreject", "two"], 2, "is no version"),
    ):
        assert cli.main(argv, host.paths) == code
        lines = capsys.readouterr().err.splitlines()
        assert message in lines[-1]
        assert lines[-1].startswith("bedplate: ")
        assert not any("Traceback" in line for line in lines)
    (host.folder / "proc/cmdline").write_text("quiet")
    assert cli.main(["status"], host.paths) == 1
    assert "roothash" in capsys.readouterr().err


def test_unreject(host: Machine) -> None:
    context = host.context()
    context.store.update(lambda known: state.reject(known, TWO, "bad", context.now()))
    (host.entries / "bedplate_2+0-3.efi").write_bytes(b"kernel")
    assert cli.main(["unreject", "2"], host.paths) == 0
    assert not context.store.load().is_rejected(TWO)
    assert host.names() == ["bedplate_1.efi"]


def test_usage() -> None:
    for argv in ([], ["nonsense"], ["status", "--yaml"], ["unreject"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(argv)
        assert caught.value.code == 2
