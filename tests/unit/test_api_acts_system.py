"""The acts of the system, on a host in a folder."""

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent_kit import Machine, machine, quick_path, release_of, to
from hostapi.acts import system
from hostapi.acts.types import Request
from hostapi.contract import Value
from storage_server import Server
from updater import commands, override, programs, wipe
from updater.agent import Agent, Check
from updater.decide import Decision, Verdict
from updater.errors import BedplateError, InputError
from updater.status import Override
from updater.store import BusyError, locked

__all__ = ["machine", "quick_path"]


class Told:
    def __init__(self) -> None:
        self.heard: list[Mapping[str, object]] = []

    def progress(self, found: Mapping[str, object]) -> None:
        self.heard.append(found)

    def data(self, block: bytes) -> None:
        raise AssertionError(block)


@pytest.fixture
def host(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("updater.slots.find_disk", lambda *_args: machine.disk)
    machine.paths.defaults.parent.mkdir(parents=True, exist_ok=True)
    machine.paths.defaults.write_text("server: http://127.0.0.1:1\nchannel: stable\n")
    machine.start()
    return machine


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The signals that the update daemon gets; it runs."""
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(programs, "signal_unit", lambda unit, name: sent.append((unit, name)))
    monkeypatch.setattr(programs, "show_unit", lambda *_: {"ActiveState": "active"})
    return sent


def act(
    host: Machine, name: str, tell: Told | None = None, **arguments: Value
) -> Mapping[str, object]:
    return system.acts(host.paths)[name](Request("alice", arguments), tell or Told())


def test_update(host: Machine) -> None:
    found = act(host, "update")
    assert found["status"]["version"] == "1"  # type: ignore[index]
    assert found["history"] == []
    assert found["override"] is None
    override.begin(host.paths, Override(None, "off"))
    found = act(host, "update")
    assert found["override"] == {"channel": None, "strategy": "off"}
    assert found["status"]["strategy"] == "off"  # type: ignore[index]


def test_check_is_what_the_command_gives(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    current = Check(Decision(Verdict.CURRENT, "nothing newer"))
    monkeypatch.setattr(Agent, "check", lambda _self: current)
    assert act(host, "check") == {
        "verdict": "current",
        "version": None,
        "reason": "nothing newer",
        "staged": False,
    }


def test_stage_tells_of_its_progress_and_does_not_reboot(
    host: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = release_of(tmp_path / "two", "2", [1, 2, 30, 4])
    host.knows(two)
    monkeypatch.setattr(Agent, "check", lambda _self: to(two))
    tell = Told()
    with Server(dict(two.files)) as server:
        host.paths.defaults.write_text(f"server: {server.url}\nchannel: stable\n")
        found = act(host, "stage", tell)
    assert found["staged"] is True
    assert found["version"] == "2"
    steps = [each["step"] for each in tell.heard if "step" in each]
    assert "verify" in steps
    assert tell.heard[-1]["text"].startswith("version 2 is staged")  # type: ignore[attr-defined]
    assert host.reboots == 0


@pytest.mark.parametrize("name", ["check", "stage", "rollback"])
def test_one_at_a_time(host: Machine, name: str) -> None:
    with (
        locked(host.paths.update_lock, wait=False),
        pytest.raises(BusyError, match="another update"),
    ):
        act(host, name)


def test_rollback(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BedplateError, match="nothing to go back to"):
        act(host, "rollback")
    monkeypatch.setattr(commands, "rollback", lambda _context: "rebooting into version 0")
    assert act(host, "rollback") == {"done": "rebooting into version 0"}


def test_reboot_goes_by_the_drain(host: Machine) -> None:
    assert act(host, "reboot") == {"done": "draining the pods, then rebooting"}
    assert (host.reboots, host.drains) == (1, 1)


def test_override_and_its_end(host: Machine, told: list[tuple[str, str]]) -> None:
    done = act(host, "override", strategy="off")["done"]
    assert done == "strategy off until the next boot; then the configuration's hold again"
    assert override.read(host.paths) == Override(None, "off")
    assert told == [("bedplate-updated.service", "SIGHUP")]
    act(host, "override-end")
    assert override.read(host.paths) is None
    assert len(told) == 2
    assert act(host, "override-end")["done"] == "nothing was overridden: the configuration holds"
    assert len(told) == 2


def test_an_override_that_cannot_be_is_not_told(host: Machine, told: list[tuple[str, str]]) -> None:
    with pytest.raises(InputError, match="needs the key window"):
        act(host, "override", strategy="window")
    with pytest.raises(InputError, match="nothing to override"):
        act(host, "override")
    assert told == []


def test_a_daemon_that_starts_is_waited_for_and_one_that_is_down_is_not_told(
    host: Machine, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = ["activating", "activating", "active", "active", "failed", "failed"]
    monkeypatch.setattr(programs, "show_unit", lambda *_: {"ActiveState": states.pop(0)})
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    act(host, "override", channel="beta")
    assert len(told) == 1
    act(host, "override", channel="beta")
    assert len(told) == 1


def test_wipe(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(wipe, "ask", lambda context: asked.append(context.running.boot_id))
    monkeypatch.setattr(socket, "gethostname", lambda: "rack-7")
    for other in ("rack-8", "rack", "RACK-7", "rack-7.example.org"):
        with pytest.raises(InputError, match="this host is rack-7"):
            act(host, "wipe", hostname=other)
    assert asked == []
    assert host.started == []
    act(host, "wipe", hostname="rack-7")
    assert len(asked) == 1
    assert host.started == ["bedplate-leave.service"]


def test_a_wipe_that_cannot_be_does_not_reboot(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "rack-7")
    with pytest.raises(BedplateError, match="no one partition bedplate_var"):
        act(host, "wipe", hostname="rack-7")
    assert host.started == []
