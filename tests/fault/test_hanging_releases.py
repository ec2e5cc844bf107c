"""Releases that hang: one whose boot never ends, one whose kernel only the watchdog can end."""

from pathlib import Path

import pytest
from badreleases import rolls_back
from faultserver import FaultServer
from site_of_tests import Guest, Site


@pytest.mark.parametrize("definition", ["hang", "stuck"])
def test_a_release_that_hangs_takes_itself_back(
    guest: Guest, site: Site, server: FaultServer, tmp_path: Path, definition: str
) -> None:
    guest.back_to("ready")
    bad = site.release("3", f"tests/vm/images/{definition}.yaml")
    server.set_folder(site.repository(tmp_path / "repository", bad))
    rolls_back(guest, "3")
