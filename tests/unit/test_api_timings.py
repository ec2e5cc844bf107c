"""Timings of a boot, of what `systemctl show` says."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostapi import timings
from hostapi.timings import to_plain

_MANAGER = """\
FirmwareTimestampMonotonic=3500000
LoaderTimestampMonotonic=1200000
InitRDTimestampMonotonic=900000
UserspaceTimestampMonotonic=2150000
FinishTimestampMonotonic=9150500
"""
_UNITS = """\
Id=var.mount
InactiveExitTimestampMonotonic=3000000
ActiveEnterTimestampMonotonic=3250000
InactiveEnterTimestampMonotonic=0

Id=bedplate-config.service
InactiveExitTimestampMonotonic=3300000
ActiveEnterTimestampMonotonic=4300000
InactiveEnterTimestampMonotonic=0

Id=once.service
InactiveExitTimestampMonotonic=5000000
ActiveEnterTimestampMonotonic=0
InactiveEnterTimestampMonotonic=5400000

Id=starting.service
InactiveExitTimestampMonotonic=6000000
ActiveEnterTimestampMonotonic=0
InactiveEnterTimestampMonotonic=0

Id=-.mount
InactiveExitTimestampMonotonic=0
ActiveEnterTimestampMonotonic=2150000
InactiveEnterTimestampMonotonic=0

Id=never.service
InactiveExitTimestampMonotonic=0
ActiveEnterTimestampMonotonic=0
InactiveEnterTimestampMonotonic=0

Id=basic.target
InactiveExitTimestampMonotonic=4000000
ActiveEnterTimestampMonotonic=4000000
InactiveEnterTimestampMonotonic=0
"""


def _show(argv: Sequence[str]) -> str:
    return _UNITS if "*" in argv else _MANAGER


def test_a_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("updater.programs.run", _show)
    assert timings.timings() == {
        "schema": 1,
        "firmware": 2.3,
        "loader": 1.2,
        "kernel": 0.9,
        "initrd": 1.25,
        "userspace": 7.0,
        "total": 12.65,
        "units": [
            {"unit": "bedplate-config.service", "seconds": 1.0},
            {"unit": "once.service", "seconds": 0.4},
            {"unit": "var.mount", "seconds": 0.25},
        ],
    }


def _manager(**stages: int) -> dict[str, str]:
    return {f"{name}TimestampMonotonic": str(value) for name, value in stages.items()}


def test_a_boot_that_is_under_way() -> None:
    told = to_plain(_manager(InitRD=1, Userspace=2_000_001, Finish=0), [])
    assert told["initrd"] == 2.0
    assert told["userspace"] is None
    assert told["total"] is None


def test_a_machine_without_a_loader_that_says_so() -> None:
    told = to_plain(_manager(Userspace=1_500_000, Finish=4_000_000), [])
    assert told == {
        "schema": 1,
        "firmware": None,
        "loader": None,
        "kernel": 1.5,
        "initrd": None,
        "userspace": 2.5,
        "total": 4.0,
        "units": [],
    }


def _unit(name: str, begun: int, active: int, over: int = 0) -> dict[str, str]:
    return {
        "Id": name,
        "InactiveExitTimestampMonotonic": str(begun),
        "ActiveEnterTimestampMonotonic": str(active),
        "InactiveEnterTimestampMonotonic": str(over),
    }


def test_the_slowest_units() -> None:
    units = [_unit(f"{at:02}.service", 1, 1 + at * 1000) for at in range(60)]
    told = to_plain({}, units)["units"]
    assert isinstance(told, list)
    assert len(told) == 40
    assert told[0] == {"unit": "59.service", "seconds": 0.059}


_WORDS = st.sampled_from(["0", "12", "9" * 30, "", "-3", "infinity", "[not set]", "٣"])


@given(st.dictionaries(st.sampled_from([*timings._STAGES, *timings._CHANGES, "Id"]), _WORDS))
def test_whatever_it_says(properties: dict[str, str]) -> None:
    told = to_plain(properties, [properties])
    assert set(told) == {
        *("schema", "firmware", "loader", "kernel", "initrd", "userspace", "total", "units")
    }
