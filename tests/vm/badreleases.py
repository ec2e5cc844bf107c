"""What a bad release must do: spend its tries, give the host back, and never come again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from site_of_tests import UPDATE_SECONDS, Guest, Site

from builder.vm.wait import wait_until


def rolls_back(guest: Guest, site: Site, offer: Path, version: str, definition: str) -> None:
    """Update from a good release 2 to a bad one; be on 2 again, by itself, with it rejected."""
    site.offer(offer, site.release(version, f"tests/vm/images/{definition}.yaml"))
    guest.host.check_output("bedplate-update apply --no-reboot")
    guest.reboot()

    def rejected() -> bool | None:
        """Release 2 is back and says why; while the bad one tries, nobody answers for long."""
        guest.reach(UPDATE_SECONDS)
        text = guest.ask("cat /run/bedplate/status.json")
        return True if text and version in _rejected(json.loads(text)) else None

    wait_until(rejected, 2 * UPDATE_SECONDS, "the bad release to be rejected")
    guest.wait_until_good("2")
    assert version in _rejected(guest.status())
    assert guest.host.run("bedplate-update apply --no-reboot").rc == 0
    assert guest.status()["state"] != "staged", "a rejected release was staged again"


def _rejected(status: Mapping[str, Any]) -> list[str]:
    return [each["version"] for each in status["rejected"]]
