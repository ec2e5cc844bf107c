"""A host and its lock, over updates, cuts and rollbacks, with etcd in memory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agent_kit import CONFIG, TWO, Machine, machine, quick_path, release_of, to
from etcd_model import EtcdModel
from hostkit.etcd import Access, Limits, Unavailable
from rebootlock import cli
from rebootlock import host as lock_host
from rebootlock.host import GIVING_UNIT, WAITING_UNIT, Host, bounded
from rebootlock.manager import Manager
from rebootlock.places import Places
from rebootlock.semaphore import Holder
from rebootlock.settings import Settings
from rebootlock.telling import Telling
from storage_samples import Release
from storage_server import Server
from test_updater_daemon import Scripted, daemon_of
from updater import boot, programs, state, status
from updater.config import Strategy
from updater.errors import BedplateError
from updater.state import Phase
from updater.store import locked
from updater.version import Version

__all__ = ["machine", "quick_path"]
ME = "0123456789abcdef0123456789abcdef"
OTHER = Holder("f" * 32, 1_700_000_000, "web-2")
LOCKING = replace(CONFIG, strategy=Strategy.ETCD_LOCK)


@dataclass
class Etcd(EtcdModel):
    """Etcd's client, which may find nobody."""

    away: bool = False

    def close(self) -> None:
        pass

    def transact(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - as it is there
        if self.away:
            raise Unavailable("etcd: http://a: refused", applied=True)
        return super().transact(*given, **named)


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> Etcd:
    made = Etcd()

    def client(_access: Access, *, limits: Limits) -> Etcd:
        del limits
        return made

    monkeypatch.setattr(lock_host, "Client", client)
    return made


@dataclass
class Site:
    """A host whose strategy is the lock, a server with release 2, and etcd."""

    machine: Machine
    server: Server
    two: Release
    etcd: Etcd

    @property
    def places(self) -> Places:
        return Places(self.machine.folder)

    @property
    def host(self) -> Host:
        return Host(self.places, Telling(self.places, waits=True))

    @property
    def lock(self) -> Manager:
        return Manager(self.etcd, "")

    @property
    def note(self) -> str:
        path = self.machine.paths.lock_note
        return path.read_text() if path.exists() else ""

    def run(self, *argv: str) -> int:
        return cli.main(["--root", str(self.machine.folder), *argv])

    def stage(self) -> None:
        """A release is staged, and the daemon asks for the lock."""
        assert daemon_of(self.machine, self.server.url, LOCKING, to(self.two)).take() == 300
        assert self.machine.context().store.load().phase is Phase.STAGED

    def boot(self) -> Version:
        version = self.machine.boot()
        self.machine.start()
        return version


@pytest.fixture
def site(
    machine: Machine, etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    monkeypatch.setattr("rebootlock.cli.signal.signal", lambda _number, _handler: None)
    two = release_of(tmp_path / "two", "2", [1, 2, 30, 4])
    machine.knows(two)
    with Server(dict(two.files)) as server:
        found = Site(machine, server, two, etcd)
        places = found.places
        places.settings.parent.mkdir(parents=True, exist_ok=True)
        places.settings.write_text('{"etcd_endpoints": "http://a"}')
        places.free.parent.mkdir(parents=True)
        places.free.touch()
        machine.paths.configured.write_text(
            '{"server": "http://a", "channel": "stable", "strategy": "etcd-lock"}'
        )
        yield found


def test_an_update_with_the_lock(site: Site) -> None:
    site.stage()
    assert (site.machine.started, site.machine.reboots) == ([WAITING_UNIT], 0)
    assert site.run("reboot") == 0
    assert (site.machine.reboots, site.machine.drains) == (1, 1)
    (holder,) = site.lock.look().holders
    assert (holder.id, holder.version) == (ME, "2")
    assert not site.places.free.exists()

    assert site.boot() == TWO
    host = site.host
    assert host.is_on_trial()
    boot.mark_good(site.machine.context())
    assert site.run("release") == 0
    assert site.lock.look().holders == ()
    assert site.places.free.exists()
    assert site.note == ""
    assert "bedplate_reboot_lock_held 0" in site.places.metrics.read_text()
    # Once is enough.
    site.etcd.away = True
    assert site.run("release") == 0


def test_a_host_that_came_back_on_its_old_release_gives_it_back(site: Site) -> None:
    site.stage()
    site.run("reboot")
    for _ in range(3):
        assert site.boot() == TWO
        assert site.host.is_on_trial()
    assert site.boot() != TWO
    assert site.run("release") == 0
    assert site.lock.look().holders == ()


def test_a_cut_between_the_lock_and_the_reboot(site: Site) -> None:
    site.stage()
    held, _ = site.host.take()
    assert held
    assert not site.places.free.exists(), "the next boot asks whether it is held"
    assert site.run("reboot") == 0
    assert site.machine.reboots == 1


def test_the_folder_knows_before_etcd_does(site: Site) -> None:
    site.stage()
    site.etcd.away = True
    with pytest.raises(Unavailable):
        site.host.take()
    assert not site.places.free.exists()


def test_who_waits_says_for_whom(site: Site) -> None:
    site.stage()
    site.lock.take(OTHER)
    host = site.host
    held, standing = host.take()
    assert (held, standing.holders) == (False, (OTHER,))
    host.tell("waiting for the reboot lock: web-2", held=False)
    assert site.note == "waiting for the reboot lock: web-2"
    assert "bedplate_reboot_lock_waiting 1" in site.places.metrics.read_text()
    published = status.parse(site.machine.paths.status.read_bytes())
    assert published.decision == "waiting for the reboot lock: web-2"
    # Whoever writes the status next says so too, as long as that is the strategy.
    context = replace(site.machine.context(), config=LOCKING)
    view = context.view(context.store.load(), "a", "version 2 is the newest within reach")
    assert view.decision == "waiting for the reboot lock: web-2"
    view = replace(context, config=CONFIG).view(context.store.load(), "a", "else")
    assert view.decision == "else"
    view = context.view(state.State(), "a", "else")
    assert view.decision == "else"
    host.tell("", held=False)
    assert site.note == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"strategy": "off"}', "the strategy is off"),
        ('{"strategy": "reboot"}', "the strategy is reboot"),
        ('{"strategy": "sometimes"}', "strategy: expected one of"),
    ],
)
def test_another_strategy_ends_the_wait(site: Site, settings: str, message: str) -> None:
    site.stage()
    host = site.host
    assert host.hindrance() == ""
    site.machine.paths.override.write_text(settings)
    assert message in host.hindrance()
    site.machine.started.clear()
    host.take()
    host.tell("waiting for the reboot lock", held=False)
    assert site.run("reboot") == 0
    assert site.machine.reboots == 0
    assert site.machine.started == [GIVING_UNIT], "what is held is given back"
    assert site.note == ""


def test_a_window_that_closes_ends_the_wait(site: Site) -> None:
    site.stage()
    host = site.host
    now = site.machine.context().now()
    configured = json.loads(site.machine.paths.configured.read_text())
    for hours, expected in ((0, ""), (2, "the window is closed")):
        start = f"{(now.hour + hours) % 24:02}:00"
        window = {"start": start, "length": "1h"}
        site.machine.paths.configured.write_text(json.dumps(configured | {"window": window}))
        assert host.hindrance() == expected


def test_a_newer_release_may_be_staged_meanwhile(site: Site) -> None:
    site.stage()
    host = site.host
    with (
        locked(site.machine.paths.update_lock, wait=False),
        pytest.raises(BedplateError, match="at work"),
    ):
        host.reboot()
    site.machine.context().store.update(
        lambda known: state.withdrawn(known, "", site.machine.context().now())
    )
    assert host.reboot() == "no release is staged"
    assert site.machine.reboots == 0


def test_the_daemon_stages_nothing_while_the_pods_leave(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = daemon_of(site.machine, site.server.url, LOCKING, to(site.two))
    monkeypatch.setattr(programs, "is_rebooting", lambda: True)
    assert made.take() == 600
    assert isinstance(made._agent, Scripted)
    assert len(made._agent.outcomes) == 1, "it did not even look"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"ActiveState": "inactive"}, False),
        ({"ActiveState": "inactive", "Job": "17"}, True),
        ({"ActiveState": "activating"}, True),
    ],
)
def test_a_reboot_under_way_is_seen(
    found: dict[str, str], *, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "show_unit", lambda _unit, _properties: found)
    assert programs.is_rebooting() == expected


# --- In a hurry -----------------------------------------------------------------------------------


def test_a_wipe_gives_it_back_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    site.stage()
    site.run("reboot")
    site.boot()
    assert site.host.is_on_trial()
    monkeypatch.setattr(programs, "run", ran.append)
    assert site.run("release", "--now", "--deadline", "5") == 0
    assert ran == [("systemctl", "stop", WAITING_UNIT)], "nobody takes it again"
    assert site.lock.look().holders == ()


def test_a_wipe_without_etcd_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_argv: object) -> None:
        raise programs.ProgramError("no systemctl here")

    times = iter([0.0, *[10.0] * 9])
    monkeypatch.setattr(programs, "run", fail)
    monkeypatch.setattr(cli, "boottime", lambda: next(times))
    site.places.free.unlink()
    site.etcd.away = True
    assert site.run("release", "--now", "--deadline", "5") == 1
    assert f"`bedplate fleet lock release {ME}` does so" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["settings", "nothing"])
def test_who_holds_none_asks_nobody(site: Site, missing: str) -> None:
    if missing == "settings":
        site.places.settings.unlink()
        site.places.free.unlink()
    site.etcd.away = True
    assert site.run("release", "--now") == 0
    assert site.run("release") == 0


def test_the_time_of_a_hurry_is_shared_by_the_endpoints() -> None:
    found = bounded(Settings(Access(("http://a", "http://b"))), 20.0)
    assert (found.connect_seconds, found.call_seconds) == (5.0, 5.0)
    assert bounded(Settings(Access(("http://a",))), -1.0).call_seconds == 1.0


# --- For people -----------------------------------------------------------------------------------


def test_the_status(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.run("status") == 0
    assert capsys.readouterr().out == "group    (none)\nholders  0 of at most 1\n"
    site.lock.take(OTHER)
    assert site.run("status") == 0
    assert f"web-2 since 2023-11-14T22:13:20Z ({OTHER.id})" in capsys.readouterr().out
    assert site.run("status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["holders"][0]["hostname"] == "web-2"
    assert (found["schema"], found["max"], found["available"]) == (1, 1, 0)


def test_wrong_settings_are_told(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.places.settings.write_text('{"etcd_endpoints": "a"}')
    assert site.run("status") == 2
    assert "etcd_endpoints: expected http:// or https:// URLs" in capsys.readouterr().err


def test_a_full_run_keeps_nobody_from_giving_it_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: object, held: bool) -> None:
        del held
        raise OSError(28, "No space left on device", "/run/bedplate/notes/lock")

    site.places.free.unlink()
    monkeypatch.setattr(Telling, "_write", full)
    site.lock.take(Holder(ME, 1))
    assert site.run("release") == 0
    assert site.lock.look().holders == ()


def test_a_signal_ends_it_as_if_it_were_done() -> None:
    with pytest.raises(SystemExit) as caught:
        cli._end(15, None)
    assert caught.value.code == 0
