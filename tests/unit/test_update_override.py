"""Another channel or strategy until the next boot: the file, the status, and the daemon."""

import json
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_kit import Machine, machine, quick_path
from updater import cli, config, daemon, override, programs, status
from updater.config import ConfigError, Strategy
from updater.daemon import ReloadError
from updater.errors import BedplateError, InputError
from updater.host import Paths
from updater.status import Override

__all__ = ["machine", "quick_path"]

DEFAULTS = "server: http://127.0.0.1:1\nchannel: stable\nstrategy: reboot\n"
WINDOW = "window: {start: '02:00', length: 1h}\n"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(tmp_path)
    found.defaults.parent.mkdir(parents=True)
    found.defaults.write_text(DEFAULTS)
    found.configured.parent.mkdir(parents=True)
    return found


def test_it_wins_over_all_else_key_by_key(paths: Paths) -> None:
    paths.configured.write_text('{"channel": "beta", "strategy": "off"}')
    override.begin(paths, Override("edge", None))
    loaded = config.load(paths.configurations)
    assert (loaded.channel, loaded.strategy) == ("edge", Strategy.OFF)
    override.begin(paths, Override(None, "reboot"))
    loaded = config.load(paths.configurations)
    assert (loaded.channel, loaded.strategy) == ("beta", Strategy.REBOOT)
    assert override.end(paths)
    assert not override.end(paths)
    assert config.load(paths.configurations).strategy is Strategy.OFF


def test_it_is_below_run_alone_and_so_goes_with_the_boot(paths: Paths) -> None:
    before = everything(paths.root)
    override.begin(paths, Override("beta", "off"))
    assert everything(paths.root) - before == {paths.override}
    shutil.rmtree(paths.root / "run")  # a tmpfs, which every boot begins empty
    assert everything(paths.root) == before
    assert override.read(paths) is None
    loaded = config.load(paths.configurations)
    assert (loaded.channel, loaded.strategy) == ("stable", Strategy.REBOOT)


def everything(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


def test_a_strategy_that_needs_a_window_is_refused_without_one(paths: Paths) -> None:
    with pytest.raises(ConfigError, match="strategy: window needs the key window"):
        override.begin(paths, Override(None, "window"))
    assert override.read(paths) is None
    paths.configured.write_text('{"window": {"start": "02:00", "length": "1h"}}')
    override.begin(paths, Override(None, "window"))
    assert override.read(paths) == Override(None, "window")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Override(None, None), "nothing to override"),
        (Override("Not a channel", None), "channel: expected"),
        (Override(None, "never"), "strategy: expected"),
    ],
)
def test_what_cannot_be_is_refused_and_the_one_before_stays(
    paths: Paths, asked: Override, message: str
) -> None:
    override.begin(paths, Override("beta", None))
    with pytest.raises(InputError, match=message):
        override.begin(paths, asked)
    assert override.read(paths) == Override("beta", None)


def test_a_broken_file_overrides_nothing_and_is_told(paths: Paths) -> None:
    paths.override.parent.mkdir(parents=True)
    paths.override.write_text("{")
    assert override.read(paths) is None
    with pytest.raises(ConfigError, match=r"update-override\.json"):
        config.load(paths.configurations)


def test_the_status_tells_of_it(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.paths.defaults.parent.mkdir(parents=True, exist_ok=True)
    machine.paths.defaults.write_text(DEFAULTS)
    (machine.folder / "usr/share/bedplate/root.json").write_text("{}")
    override.begin(machine.paths, Override("beta", "off"))
    made = status.build(machine.context().view(machine.context().store.load(), "a"))
    assert made.override == Override("beta", "off")
    assert status.parse(status.render(made)) == made
    assert cli.main(["status"], machine.paths) == 0
    shown = capsys.readouterr().out
    assert (
        "override    channel beta, strategy off until the next boot; "
        "then the configuration's hold again\n" in shown
    )
    assert "channel     beta" in shown
    assert cli.main(["status", "--json"], machine.paths) == 0
    assert json.loads(capsys.readouterr().out)["override"] == {"channel": "beta", "strategy": "off"}
    override.end(machine.paths)
    cli.main(["status"], machine.paths)
    assert "override" not in capsys.readouterr().out


# --- The daemon -----------------------------------------------------------------------------------


@pytest.fixture
def blocked() -> Iterator[None]:
    signals = {signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    yield
    while signal.sigtimedwait(signals, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("blocked")
def test_a_new_configuration_ends_what_was_begun_by_the_old_one() -> None:
    ident = threading.get_ident()
    signal.pthread_kill(ident, signal.SIGHUP)
    with pytest.raises(ReloadError):
        daemon.tell("version 2: fetch 5 %", None)
    daemon.tell("", None)
    signal.pthread_kill(ident, signal.SIGHUP)
    with pytest.raises(ReloadError):
        daemon.wait(3600)


@pytest.mark.usefixtures("blocked")
def test_the_daemon_takes_it_up_at_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.paths.defaults.parent.mkdir(parents=True, exist_ok=True)
    machine.paths.defaults.write_text(DEFAULTS + "jitter: 0\n")
    monkeypatch.setattr("updater.slots.find_disk", lambda *_args: machine.disk)
    monkeypatch.setattr("updater.health.look", fails)
    used: list[tuple[str, Strategy]] = []

    class Turns:
        def __init__(self, settings: config.Config) -> None:
            self._settings = settings

        def take(self) -> float:
            used.append((self._settings.channel, self._settings.strategy))
            if len(used) == 1:
                override.begin(machine.paths, Override("beta", "off"))
                signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
                daemon.tell("in the midst of staging", None)
                raise AssertionError("it went on by the old configuration")
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            return 3600.0

    monkeypatch.setattr(daemon, "_turns", lambda _context, settings: Turns(settings))
    assert daemon.main([], machine.paths) == 0
    assert used == [("stable", Strategy.REBOOT), ("beta", Strategy.OFF)]
    published = status.parse(machine.paths.status.read_bytes())
    assert (published.channel, published.override) == ("beta", Override("beta", "off"))


def fails() -> None:
    raise BedplateError("not asked here")


def test_a_signal_goes_to_the_main_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    monkeypatch.setattr(programs, "run", ran.append)
    programs.signal_unit("bedplate-updated.service", "SIGHUP")
    assert ran == [
        ("systemctl", "kill", "--kill-whom=main", "--signal=SIGHUP", "bedplate-updated.service")
    ]
