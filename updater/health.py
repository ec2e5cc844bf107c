"""Whether this boot is good, by the service manager's word.

What must work is in the image as requirements of `boot-complete.target` (systemd.special(7)), put
there by the builder from the definition's `health.units`. There is nothing to check here that
systemd does not know; this module asks and puts the answer in a person's words.
"""

from collections.abc import Mapping

from updater import programs
from updater.status import Health, HealthReport

TARGET = "boot-complete.target"


def judge(target: Mapping[str, str], units: Mapping[str, str]) -> HealthReport:
    """Good once the target is reached, starting as long as it may be, else failed. Pure.

    Args:
        target: the target's ActiveState, and its Job if there is one.
        units: the ActiveState of each unit that it requires.
    """
    if target.get("ActiveState") == "active":
        return HealthReport(Health.GOOD)
    missing = sorted(unit for unit, state in units.items() if state != "active")
    detail = ", ".join(f"{unit} is {units[unit]}" for unit in missing)
    if target.get("Job"):
        return HealthReport(Health.STARTING, detail)
    return HealthReport(Health.FAILED, detail or f"{TARGET} is not asked for")


def look() -> HealthReport:
    """Ask once.

    Raises:
        ProgramError: the service manager cannot be asked.
    """
    target = programs.show_unit(TARGET, ("ActiveState", "Job", "Requires"))
    units = {
        unit: programs.show_unit(unit, ("ActiveState",)).get("ActiveState", "unknown")
        for unit in target.get("Requires", "").split()
        if target.get("ActiveState") != "active"
    }
    return judge(target, units)
