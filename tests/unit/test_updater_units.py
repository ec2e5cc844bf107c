"""The units that an image installs: only our programs, nothing that a host does not have."""

import re
import sys
from pathlib import Path

import pytest

from updater import programs

DIST = Path(__file__).parents[2] / "updater/dist"
UNITS = sorted(path for path in DIST.rglob("*") if path.suffix in {".service", ".conf"})
PROGRAMS = {"/usr/bin/bedplate-update", "/usr/bin/bedplate-updated", "/usr/bin/bedplate-console"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_only_our_programs_are_started(unit: Path) -> None:
    started = re.findall(r"^Exec\w+=(\S+)", unit.read_text(), re.MULTILINE)
    assert set(started) <= PROGRAMS


def test_a_reboot_goes_by_the_unit_that_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    monkeypatch.setattr(programs, "run", ran.append)
    programs.reboot()
    programs.reboot_now()
    assert ran == [
        ("systemctl", "--no-block", "start", "bedplate-reboot.service"),
        ("systemctl", "--no-block", "reboot"),
    ]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_run_is_shared_and_outlives_each(unit: Path) -> None:
    text = unit.read_text()
    if "Exec" in text:
        assert "RuntimeDirectory=bedplate\nRuntimeDirectoryPreserve=yes\n" in text


def test_nothing_that_a_boot_waits_for_imports_tuf() -> None:
    code = (
        "import sys, updater.cli, updater.console; "
        "print([m for m in ('tuf', 'requests', 'cryptography') if m in sys.modules])"
    )
    assert programs.run((sys.executable, "-c", code)).strip() == "[]"
