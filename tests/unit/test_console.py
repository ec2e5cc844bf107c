from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from updater import console, metrics, state, status
from updater.config import Config, Strategy
from updater.console import Facts
from updater.host import Paths, Running
from updater.state import State
from updater.status import Health, HealthReport, Progress, View
from updater.strict import FormatError
from updater.version import Version

AT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
RUNNING = Running("bedplate", Version((1,)), "ab" * 32, AT, "machine", "boot")
CONFIG = Config("https://updates.example.org", "stable", Strategy.OFF, None, 300, 60, 0, None, None)
STAGING = state.start_staging(
    state.checked(state.reject(State(), Version((3,)), "it hung", AT), AT, "no answer in time"),
    Version((2,)),
    "cd" * 32,
    AT,
)
VIEW = View(
    RUNNING,
    "a",
    CONFIG,
    STAGING,
    HealthReport(Health.GOOD),
    "version 2 is the newest within reach",
    Progress("fetch", 50 * 1024 * 1024, 200 * 1024 * 1024, 3 * 1024 * 1024),
)
FACTS = Facts(
    "Bedplate 1", "1", "rack-7", ("192.0.2.7", "2001:db8::7"), status.build(VIEW), VIEW.health
)
PAGE = """\
Bedplate 1 - this host has no login

  version    1 (slot a)
  host       rack-7
  addresses  192.0.2.7, 2001:db8::7
  health     good
  update     version 2 staging
             [#####               ]  25 %  fetch: 50.0 MiB of 200.0 MiB, 3.0 M
             iB received
  rejected   3: it hung
  last error no answer in time

"""


def test_the_page() -> None:
    assert console.render(FACTS) == PAGE


def test_the_page_before_the_updater_has_spoken() -> None:
    page = console.render(
        replace(FACTS, status=None, addresses=(), health=HealthReport(Health.STARTING))
    )
    assert "the updater has not reported yet" in page
    assert "addresses  none" in page


def test_the_page_on_trial_and_at_rest() -> None:
    trial = replace(status.build(VIEW), state="trial", tries=2, progress=None)
    assert "version 1 is on trial (boot 2)" in console.render(replace(FACTS, status=trial))
    rest = replace(trial, state="idle", pending=None)
    assert "version 2 is the newest" in console.render(replace(FACTS, status=rest))


def test_words_of_others_do_not_steer_the_terminal() -> None:
    bad = replace(status.build(VIEW), last_error="\x1b[2J\rall is well\x07")
    page = console.render(replace(FACTS, status=bad))
    assert not set(page) & {"\x1b", "\r", "\x07"}


def test_addresses() -> None:
    trie = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
        |-- 192.0.2.0
           /24 link UNICAST
           |-- 192.0.2.7
              /32 host LOCAL
Local:
        |-- 127.0.0.1
           /32 host LOCAL
           |-- 192.0.2.7
              /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
"""
    assert console.parse_fib_trie(trie) == ["192.0.2.7"]
    six = (
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "20010db8000000000000000000000007 02 40 00 80     eth0\n"
        "fe800000000000000000000000000007 02 40 20 80     eth0\n"
    )
    assert console.parse_if_inet6(six) == ["2001:db8::7"]


def test_terminals() -> None:
    assert console.terminals("tty0 ttyS0\n") == [Path("/dev/tty1"), Path("/dev/ttyS0")]
    assert console.is_screen(Path("/dev/tty1"))
    assert not console.is_screen(Path("/dev/ttyS0"))
    assert not console.is_screen(Path("/dev/hvc0"))


def test_a_screen_is_redrawn_and_a_line_gets_what_is_new(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    screen, line = tmp_path / "tty1", tmp_path / "ttyS0"
    for terminal in (screen, line):
        terminal.write_bytes(b"")
    status.publish(VIEW, paths.status, paths.metrics, paths.notable)

    def drawn(terminal: Path) -> str:
        text = terminal.read_bytes().decode()
        terminal.write_bytes(b"")
        return text

    argv = [str(screen), str(line), str(tmp_path / "none")]
    assert console.main(argv, paths) == 0
    assert drawn(screen).startswith("\x1b[H\x1b[2JBedplate - this host")
    assert "\r\n" in drawn(line)
    assert console.main(argv, paths) == 0
    assert drawn(screen).startswith("\x1b[H")
    assert drawn(line) == console.progress_line(VIEW.progress or Progress("", 0, 0, 0)) + "\r\n"
    still = replace(VIEW, progress=None)
    status.publish(still, paths.status, paths.metrics, paths.notable)
    console.main(argv, paths)
    assert drawn(line) == ""


# --- Status and metrics ---------------------------------------------------------------------------


def test_a_status_reads_back() -> None:
    made = status.build(VIEW)
    assert status.parse(status.render(made)) == made
    bare = status.build(View(RUNNING, "unknown", None, State(), HealthReport(Health.FAILED, "x")))
    assert status.parse(status.render(bare)) == bare
    with pytest.raises(FormatError, match="schema"):
        status.parse(status.render(made).replace(b'"schema": 1', b'"schema": 2'))


def test_the_console_is_woken_for_what_is_notable(tmp_path: Path) -> None:
    paths = Paths(tmp_path)

    def woken(view: View) -> bool:
        paths.notable.unlink(missing_ok=True)
        status.publish(view, paths.status, paths.metrics, paths.notable)
        return paths.notable.exists()

    starting = replace(VIEW, health=HealthReport(Health.STARTING), progress=None)
    assert not woken(starting)
    assert woken(VIEW)
    assert not woken(VIEW)
    assert VIEW.progress is not None
    assert not woken(replace(VIEW, progress=replace(VIEW.progress, done=VIEW.progress.done + 1)))
    assert woken(replace(VIEW, progress=replace(VIEW.progress, done=150 * 1024 * 1024)))
    assert woken(replace(VIEW, health=HealthReport(Health.FAILED, "x")))


def test_metrics() -> None:
    text = metrics.render_metrics(status.samples(VIEW)).decode()
    assert 'bedplate_info{version="1",slot="a"} 1\n' in text
    assert 'bedplate_update_phase{phase="staging"} 1\n' in text
    assert 'bedplate_update_phase{phase="idle"} 0\n' in text
    assert text.count("# TYPE bedplate_update_phase gauge\n") == 1
    assert "bedplate_update_fetched_bytes 3145728\n" in text
    assert "bedplate_update_last_check_timestamp_seconds 1795309323\n" in text
    odd = metrics.Sample("x", "y", 0.5, {"a": 'b"\\\n'})
    assert metrics.render_metrics([odd]).decode().endswith('x{a="b\\"\\\\\\n"} 0.5\n')


def test_health_is_left_for_others(tmp_path: Path) -> None:
    path = tmp_path / "run/health.json"
    assert status.read_health(path).health is Health.STARTING
    status.write_health(path, HealthReport(Health.FAILED, "x.service"))
    assert status.read_health(path) == HealthReport(Health.FAILED, "x.service")
    path.write_bytes(b"torn")
    assert status.read_health(path).health is Health.STARTING
