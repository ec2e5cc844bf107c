"""The power goes at random moments of updates: two cuts of each kind in one host's life."""

from pathlib import Path

import cuts
from faultserver import FaultServer
from site_of_tests import Guest, Site


def test_the_power_goes_six_times(
    guest: Guest, site: Site, server: FaultServer, tmp_path: Path
) -> None:
    """While staging, while committing, in the first boot: each time the host goes on by itself."""
    cuts.prepare(guest, site, server, tmp_path)
    version = "1"
    for kind in ("staging", "staging", "commit", "commit", "first boot", "first boot"):
        if version == "2":
            # That cut came after the rename that is the update; the next one needs another update.
            guest.wait_until_good("2")
            guest.back_to("ready")
        cuts.apply(guest)
        when = cuts.KINDS[kind](guest)
        version = cuts.comes_back(guest, when)
        assert version == "1" or kind != "staging", f"cut {when}"
    cuts.finishes(guest, version)
