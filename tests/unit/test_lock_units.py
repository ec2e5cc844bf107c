"""The lock's units: what holds nothing up, what comes before what; and the updater's part."""

import re
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from rebootlock.host import GIVING_UNIT, WAITING_UNIT
from rebootlock.places import Places
from updater import decide, programs
from updater.config import Fragment, Strategy, Window, merge, validate

DIST = Path(__file__).parents[2] / "cloud-config/dist"
WAITING, GIVING = ((DIST / name).read_text() for name in (WAITING_UNIT, GIVING_UNIT))
both = pytest.mark.parametrize("unit", [WAITING, GIVING], ids=["waiting", "giving"])


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


@both
def test_no_job_waits_for_etcd(unit: str) -> None:
    assert values(unit, "Type") == ["exec"]
    assert values(unit, "StartLimitIntervalSec") == ["0"]
    assert values(unit, "Restart") == ["on-failure"]


@both
def test_what_they_write_is_writable(unit: str) -> None:
    assert values(unit, "ProtectSystem") == ["strict"]
    assert values(unit, "StateDirectory") == ["bedplate bedplate/lock"]
    assert values(unit, "RuntimeDirectory") == ["bedplate"]
    assert values(unit, "RuntimeDirectoryPreserve") == ["yes"]
    assert values(unit, "CapabilityBoundingSet") == [""]


def test_only_our_program_is_started() -> None:
    assert values(WAITING, "ExecStart") == ["/usr/bin/bedplate-lock reboot"]
    assert values(GIVING, "ExecStart") == ["/usr/bin/bedplate-lock release"]


def test_who_takes_it_ends_who_would_give_it_back() -> None:
    assert values(WAITING, "Conflicts") == [GIVING_UNIT]
    assert GIVING_UNIT in " ".join(values(WAITING, "After")).split()


def test_it_is_given_back_by_boots_that_are_good_and_may_hold_it() -> None:
    assert values(GIVING, "Requires") == ["boot-complete.target"]
    assert {"boot-complete.target", "systemd-bless-boot.service"} <= {
        *" ".join(values(GIVING, "After")).split()
    }
    places = Places(Path("/"))
    assert values(GIVING, "ConditionPathExists") == [str(places.settings), f"!{places.free}"]
    assert values(GIVING, "WantedBy") == ["boot-complete.target"]


def test_the_same_settings_of_updates_count_as_for_the_daemon() -> None:
    assert values(WAITING, "ImportCredential") == ["bedplate.update"]


def test_the_updater_starts_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    monkeypatch.setattr(programs, "run", ran.append)
    programs.reboot_by_lock()
    assert ran == [("systemctl", "--no-block", "start", WAITING_UNIT)]


def test_the_updater_knows_nothing_of_etcd() -> None:
    code = (
        "import sys, updater.turns, updater.cli; "
        "print([m for m in ('hostkit', 'rebootlock', 'overlay') if m in sys.modules])"
    )
    assert programs.run((sys.executable, "-c", code)).strip() == "[]"


def test_a_host_that_holds_none_imports_little() -> None:
    code = (
        "import sys, rebootlock.cli; "
        "print([m for m in ('requests', 'yaml', 'cryptography', 'tuf') if m in sys.modules])"
    )
    folder = str(Path(__file__).parents[2] / "cloud-config")
    argv = (sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r}); {code}")
    assert programs.run(argv).strip() == "[]"


def test_the_window_counts_with_the_lock() -> None:
    window = Window(time(3), timedelta(hours=1))
    at = datetime(2026, 11, 23, 2, tzinfo=UTC)
    assert decide.reboot_wait(Strategy.ETCD_LOCK, window, at) == timedelta(hours=1)
    assert decide.reboot_wait(Strategy.ETCD_LOCK, None, at) == timedelta()


def test_the_lock_needs_no_window() -> None:
    values = {"server": "http://a", "channel": "stable", "strategy": "etcd-lock"}
    found = validate(merge(Fragment(Path("a"), values)))
    assert (found.strategy, found.window) == (Strategy.ETCD_LOCK, None)
