"""The power goes at random moments of an update: two cuts of each kind, in two hosts' lives."""

from pathlib import Path

import pytest

import cuts
from faultserver import FaultServer
from site_of_tests import Guest, Site


@pytest.mark.parametrize("_life", ["first", "second"])
def test_three_cuts_in_one_update(
    guest: Guest, site: Site, server: FaultServer, tmp_path: Path, _life: str
) -> None:
    """While staging, while committing, in the first boot: each time the host goes on by itself."""
    cuts.prepare(guest, site, server, tmp_path)
    cuts.apply(guest)
    staging = cuts.cut_during_staging(guest)
    assert cuts.comes_back(guest, staging) == "1"
    cuts.apply(guest)
    commit = cuts.cut_during_commit(guest)
    if cuts.comes_back(guest, commit) == "2":
        # The cut came after the rename that is the update; the third one needs another update.
        guest.wait_until_good("2")
        guest.back_to("ready")
    cuts.apply(guest)
    first_boot = cuts.cut_during_first_boot(guest)
    cuts.finishes(guest, cuts.comes_back(guest, first_boot))
