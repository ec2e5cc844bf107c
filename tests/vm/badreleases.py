"""What a bad release must do: spend its tries, give the host back, and never come again."""

import json
from collections.abc import Mapping
from typing import Any

from builder.vm.wait import wait_until
from site_of_tests import UPDATE_SECONDS, Guest


def rolls_back(guest: Guest, version: str) -> None:
    """Update a good host to the bad release on offer; be back by itself, with it rejected."""
    good = str(guest.status()["version"])
    guest.host.check_output("bedplate-update apply --no-reboot")
    guest.reboot()

    def rejected() -> bool | None:
        """The good release is back and says why; while the bad one tries, nobody answers long."""
        guest.reach(UPDATE_SECONDS)
        text = guest.ask("cat /run/bedplate/status.json")
        return True if text and version in _rejected(json.loads(text)) else None

    wait_until(rejected, 2 * UPDATE_SECONDS, "the bad release to be rejected")
    guest.wait_until_good(good)
    assert version in _rejected(guest.status())
    assert guest.host.run("bedplate-update apply --no-reboot").rc == 0
    assert guest.status()["state"] != "staged", "a rejected release was staged again"


def _rejected(status: Mapping[str, Any]) -> list[str]:
    return [each["version"] for each in status["rejected"]]
