"""What a bad release must do: spend its tries, give the host back, and never come again."""

from collections.abc import Mapping
from typing import Any

from builder.vm.wait import wait_until
from site_of_tests import UPDATE_SECONDS, Guest
from updater.bootentries import TRIES, Entry
from updater.version import Version


def rolls_back(guest: Guest, version: str, tries: int = TRIES) -> None:
    """Update a good host to the bad release on offer; be back by itself, with it rejected.

    With fewer `tries` the others count as spent: how they are is one test's matter.
    """
    good = str(guest.status()["version"])
    host = guest.host
    host.check_output("bedplate-update apply --no-reboot")
    if tries < TRIES:
        release = Version.parse(version)
        staged, left = Entry(release, TRIES).name, Entry(release, tries, TRIES - tries).name
        host.check_output("mkdir -p /run/esp && mount /dev/vda1 /run/esp")
        host.check_output(f"cd /run/esp/EFI/Linux && mv {staged} {left}")
        host.check_output("umount /run/esp")
    guest.reboot()

    def rejected() -> bool | None:
        """The good release is back and says why; while the bad one tries, nobody answers long."""
        guest.reach(UPDATE_SECONDS)
        status = guest.published_status()
        return True if status and version in _rejected(status) else None

    wait_until(rejected, 2 * UPDATE_SECONDS, "the bad release to be rejected")
    guest.wait_until_good(good)
    assert version in _rejected(guest.status())
    assert guest.host.run("bedplate-update apply --no-reboot").rc == 0
    assert guest.status()["state"] != "staged", "a rejected release was staged again"


def _rejected(status: Mapping[str, Any]) -> list[str]:
    return [each["version"] for each in status["rejected"]]
