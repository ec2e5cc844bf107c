"""Power cuts at random moments of an update, and what must be true afterwards."""

import random
import time
from collections.abc import Callable
from pathlib import Path

from builder.vm.wait import wait_until
from faultserver import FaultServer
from site_of_tests import BOOT_SECONDS, UPDATE_SECONDS, Guest, Site

_RANDOM = random.SystemRandom()
_LONGEST_COMMIT = 12.0  # seconds
_LONGEST_BOOT = 120.0


def prepare(guest: Guest, site: Site, server: FaultServer, folder: Path) -> None:
    """Release 1, good, and release 2 on offer."""
    server.set_rules()
    server.set_folder(site.repository(folder / "repository", site.release("2")))
    guest.back_to("ready")


def apply(guest: Guest) -> None:
    """Begin to update, without waiting for it."""
    guest.host.check_output("systemd-run --unit=test-apply bedplate-update apply --no-reboot")


def cut_during_staging(guest: Guest) -> str:
    """Cut somewhere between the first and the last byte that is written into the slot."""
    phase = _RANDOM.choice(["scan", "copy", "verify"])
    share = _RANDOM.random()
    _wait_for(guest, lambda step, done: (step == phase and done >= share) or step == "staged")
    guest.machine.kill()
    return f"in {phase} at {share:.0%}"


def cut_during_commit(guest: Guest) -> str:
    """Cut after the read-back, while names and the boot entry are written."""
    _wait_for(guest, lambda step, done: (step == "verify" and done > 0.95) or step == "staged")
    pause = _RANDOM.uniform(0, _LONGEST_COMMIT)
    time.sleep(pause)  # the random moment itself: nothing is waited for
    guest.machine.kill()
    return f"{pause:.2f} s after the read-back"


def cut_during_first_boot(guest: Guest) -> str:
    """Cut in the first boot of the new release, from firmware to after its health check."""
    _wait_for(guest, lambda step, _done: step == "staged")
    guest.reboot()
    pause = _RANDOM.uniform(0, _LONGEST_BOOT)
    time.sleep(pause)  # the random moment itself: nothing is waited for
    guest.machine.kill()
    return f"{pause:.2f} s into the boot"


KINDS: dict[str, Callable[[Guest], str]] = {
    "staging": cut_during_staging,
    "commit": cut_during_commit,
    "first boot": cut_during_first_boot,
}


def comes_back(guest: Guest, when: str) -> str:
    """Switch the power on again: a good release runs by itself; its version."""
    guest.machine.start()
    guest.reach(BOOT_SECONDS)

    def good() -> str | None:
        status = guest.published_status()
        settled = status and status["health"] == "good" and status["state"] != "trial"
        return str(status["version"]) if status and settled else None

    version = wait_until(good, BOOT_SECONDS, f"a good release after a cut {when}")
    assert version in {"1", "2"}, f"cut {when}"
    assert guest.status()["rejected"] == [], f"cut {when}"
    return version


def finishes(guest: Guest, version: str) -> None:
    """The update that was cut ends well after all."""
    if version == "1":
        if guest.status()["state"] != "staged":
            guest.host.check_output("bedplate-update apply --no-reboot")
        guest.reboot()
    guest.wait_until_good("2", UPDATE_SECONDS)
    assert guest.status()["rejected"] == []


def _wait_for(guest: Guest, reached: Callable[[str, float], bool]) -> None:
    """Wait for a moment of the update, told as (step, share done); ("staged", 1) is its end."""

    def look() -> bool | None:
        status = guest.published_status()
        if status is None:
            return None
        progress = status["progress"] or {"step": "", "done": 0, "total": 1}
        step = "staged" if status["state"] == "staged" else progress["step"]
        return True if reached(step, progress["done"] / max(1, progress["total"])) else None

    wait_until(look, UPDATE_SECONDS, "the moment of the cut")
