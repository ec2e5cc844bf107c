"""Hosts that boot with a clock decades off.

Their firmware keeps two digits of the year, so these are the first and the last that it knows.
What 1970 and 2100 do to a host that runs is in test_refusals.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from builder.vm.config import FIRMWARE_YEARS
from faultserver import FaultServer
from site_of_tests import Site, guest_of
from test_refusals import seen

pytestmark = pytest.mark.thorough

# Nobody else shall set the clock.
_DOCUMENT = "#cloud-config\nntp: {enabled: false}\n"


@pytest.mark.parametrize("year", [FIRMWARE_YEARS.start, FIRMWARE_YEARS.stop - 1])
def test_a_boot_decades_off_is_good_and_finds_its_update(
    site: Site, server: FaultServer, tmp_path: Path, year: int
) -> None:
    """The service manager believes neither, and begins at the time when it was built."""
    server.set_folder(site.repository(tmp_path / "repository", site.release("2")))
    with guest_of(
        site,
        tmp_path / "host",
        image=site.release("1") / "bedplate_1.qcow2",
        server=server.url_for_guest(),
        document=_DOCUMENT,
        clock=datetime(year, 1, 2, tzinfo=UTC),
    ) as guest:
        guest.wait_until_good("1")
        clock, now = guest.host.check_output("cat /sys/class/rtc/rtc0/date; date -u +%Y").split()
        assert clock.startswith(f"{year}-01-0")
        assert now != str(year)
        assert seen(guest)
