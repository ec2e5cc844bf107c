"""The power goes ten times in each part of an update, at random moments."""

from pathlib import Path

import pytest

import cuts
from faultserver import FaultServer
from site_of_tests import Guest, Site


@pytest.mark.parametrize("kind", [*cuts.KINDS] * 10)
def test_a_host_survives_a_power_cut(
    guest: Guest, site: Site, server: FaultServer, tmp_path: Path, kind: str
) -> None:
    cuts.prepare(guest, site, server, tmp_path)
    cuts.apply(guest)
    when = cuts.KINDS[kind](guest)
    cuts.finishes(guest, cuts.comes_back(guest, when))
