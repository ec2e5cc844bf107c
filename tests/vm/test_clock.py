"""Hosts that boot with a clock decades off.

Their firmware keeps two digits of the year, so these are the first and the last that it knows.
What 1970 and 2100 do to a host that runs is in test_refusals.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from builder.vm.config import FIRMWARE_YEARS
from faultserver import FaultServer
from site_of_tests import Guest, Site, guest_of
from test_refusals import refused, seen

pytestmark = pytest.mark.thorough

# Nobody else shall set the clock.
_DOCUMENT = "#cloud-config\nntp: {enabled: false}\n"


@contextmanager
def _good_in(year: int, site: Site, server: FaultServer, folder: Path) -> Iterator[Guest]:
    """A host of release 1 whose hardware clock showed the second of January; 2 is offered."""
    server.set_folder(site.repository(folder / "repository", site.release("2")))
    with guest_of(
        site,
        folder / "host",
        image=site.release("1") / "bedplate_1.qcow2",
        server=server.url_for_guest(),
        document=_DOCUMENT,
        clock=datetime(year, 1, 2, tzinfo=UTC),
    ) as guest:
        guest.wait_until_good("1")
        assert guest.host.check_output("cat /sys/class/rtc/rtc0/date").startswith(f"{year}-01-0")
        yield guest


def test_a_boot_in_the_past_is_good_and_finds_its_update(
    site: Site, server: FaultServer, tmp_path: Path
) -> None:
    with _good_in(FIRMWARE_YEARS.start, site, server, tmp_path) as guest:
        assert seen(guest)


def test_a_boot_in_the_far_future_is_good_and_updates_once_the_clock_is_right(
    site: Site, server: FaultServer, tmp_path: Path
) -> None:
    year = FIRMWARE_YEARS.stop - 1
    with _good_in(year, site, server, tmp_path) as guest:
        assert guest.host.check_output("date -u +%Y") == str(year)
        assert "expired" in refused(guest)
        assert guest.status()["health"] == "good"
        guest.host.check_output(f"date -s @{datetime.now(UTC).timestamp():.0f}")
        assert seen(guest)
