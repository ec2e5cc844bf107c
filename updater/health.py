"""The health check that gates `boot-complete.target`: are the units up that must be?

units: [bedplate-updated.service]   # must be active
timeout: 180                        # seconds that they may take to come up
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from updater import programs
from updater.errors import BedplateError, InputError
from updater.status import Health, HealthReport

_TIME_OUT = 180
_PAUSE = 1.0
_MAXIMUM_LENGTH = 64 * 1024


class UnhealthyError(BedplateError):
    """What must work does not."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What must work, and how many seconds it may take."""

    units: tuple[str, ...]
    time_out: int = _TIME_OUT


def load(path: Path) -> Checks:
    """Read the image's list of checks.

    Raises:
        InputError: it is missing or wrong; a host without checks would call everything good.
    """
    try:
        with path.open("rb") as stream:
            document = yaml.safe_load(stream.read(_MAXIMUM_LENGTH))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not set(document) <= {"units", "timeout"}:
        raise InputError(f"{path}: expected the keys units and timeout")
    units, time_out = document.get("units"), document.get("timeout", _TIME_OUT)
    if (
        not isinstance(units, list)
        or not units
        or not all(isinstance(unit, str) and "." in unit for unit in units)
    ):
        raise InputError(f"{path}: units: expected a list of units such as example.service")
    if type(time_out) is not int or not 1 <= time_out <= 3600:
        raise InputError(f"{path}: timeout: expected seconds from 1 to 3600, got {time_out!r}")
    return Checks(tuple(units), time_out)


def judge(states: Mapping[str, str]) -> HealthReport:
    """One look: good if all are active, failed if one has failed, else still starting. Pure."""
    failed = sorted(unit for unit, state in states.items() if state == "failed")
    if failed:
        return HealthReport(Health.FAILED, f"failed: {', '.join(failed)}")
    waiting = sorted(f"{unit} is {state}" for unit, state in states.items() if state != "active")
    if waiting:
        return HealthReport(Health.STARTING, ", ".join(waiting))
    return HealthReport(Health.GOOD)


def check(
    checks: Checks,
    look: Callable[[Sequence[str]], Mapping[str, str]] = programs.unit_states,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> HealthReport:
    """Look until it is clear, for at most the checks' time.

    Raises:
        ProgramError: the service manager cannot be asked.
    """
    ends = clock() + checks.time_out
    while True:
        report = judge(look(checks.units))
        if report.health is not Health.STARTING:
            return report
        if clock() >= ends:
            return HealthReport(
                Health.FAILED, f"not up within {checks.time_out} s: {report.detail}"
            )
        pause(_PAUSE)
