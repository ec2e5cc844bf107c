"""A release that stops answering altogether: only the hardware watchdog can end it."""

from pathlib import Path

from badreleases import rolls_back
from faultserver import FaultServer
from site_of_tests import Guest, Site


def test_a_release_that_is_stuck_takes_itself_back(
    guest: Guest, site: Site, server: FaultServer, tmp_path: Path
) -> None:
    guest.back_to("ready")
    bad = site.release("3", "tests/vm/images/stuck.yaml")
    server.set_folder(site.repository(tmp_path / "repository", bad))
    rolls_back(guest, "3")
