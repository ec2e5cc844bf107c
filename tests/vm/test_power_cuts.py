"""The power goes at random moments, twice in each part of an update; tests/fault does it more."""

from pathlib import Path

import cuts
import pytest
from faultserver import FaultServer
from site_of_tests import Guest, Site


@pytest.mark.parametrize("life", [1, 2])
def test_a_cut_while_staging_and_one_in_the_first_boot(
    guest: Guest, site: Site, server: FaultServer, tmp_path: Path, life: int
) -> None:
    """One host, cut twice: it resumes what it had staged, and then its first boot is cut."""
    del life
    cuts.prepare(guest, site, server, tmp_path)
    cuts.apply(guest)
    first = cuts.cut_during_staging(guest)
    assert cuts.comes_back(guest, first) == "1"
    cuts.apply(guest)
    second = cuts.cut_during_first_boot(guest)
    cuts.finishes(guest, cuts.comes_back(guest, second))


@pytest.mark.parametrize("life", [1, 2])
def test_a_cut_while_committing(
    guest: Guest, site: Site, server: FaultServer, tmp_path: Path, life: int
) -> None:
    del life
    cuts.prepare(guest, site, server, tmp_path)
    cuts.apply(guest)
    when = cuts.cut_during_commit(guest)
    cuts.finishes(guest, cuts.comes_back(guest, when))
