"""Releases that hang before health, or that are not healthy: each takes itself back."""

from pathlib import Path

import pytest
from badreleases import rolls_back
from faultserver import FaultServer
from site_of_tests import Guest, Site


@pytest.mark.parametrize("definition", ["hang", "unhealthy", "panic"])
def test_a_bad_release_takes_itself_back(
    guest: Guest, site: Site, server: FaultServer, tmp_path: Path, definition: str
) -> None:
    guest.back_to_ready()
    offer = site.repository(tmp_path / "repository", site.release("2"))
    server.set_folder(offer)
    guest.host.check_output("bedplate-update apply --no-reboot")
    guest.reboot()
    guest.wait_until_good("2")
    rolls_back(guest, site, offer, "3", definition)
