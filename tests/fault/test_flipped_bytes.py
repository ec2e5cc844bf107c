"""Bytes that are not what they were: in the slot to come, and in the running root."""

from pathlib import Path

import pytest
from faultserver import FaultServer
from site_of_tests import Guest, Site


@pytest.fixture(scope="module")
def offer(
    site: Site, server: FaultServer, guest: Guest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The repository that the host sees; the host runs release 2 of it."""
    guest.back_to_ready()
    folder = site.repository(tmp_path_factory.mktemp("offer") / "repository", site.release("2"))
    server.set_rules()
    server.set_folder(folder)
    guest.host.check_output("bedplate-update apply --no-reboot")
    guest.reboot()
    guest.wait_until_good("2")
    return folder


def test_a_flipped_byte_in_the_other_slot_is_mended(guest: Guest, site: Site, offer: Path) -> None:
    """2 -> 3 into a slot with random blocks: the tree tells, and the slot is made to match."""
    guest.host.check_output("dd if=/dev/urandom of=/dev/vda2 bs=4096 seek=100 count=50 conv=fsync")
    site.offer(offer, site.release("3"))
    guest.host.check_output("bedplate-update apply --no-reboot")
    guest.reboot()
    guest.wait_until_good("3")


def test_history_tells_of_every_release(guest: Guest) -> None:
    history = guest.host.check_output("bedplate-update history --json")
    for version in ("2", "3"):
        assert f'"{version}"' in history


def test_a_flipped_byte_in_the_running_root_is_caught(guest: Guest) -> None:
    """The last test of this host: verity refuses the block."""
    host = guest.host
    device = "/dev/vda2" if guest.status()["slot"] == "a" else "/dev/vda4"
    host.check_output(f"dd if=/dev/urandom of={device} bs=4096 seek=20000 count=1 conv=fsync")
    host.check_output("echo 3 > /proc/sys/vm/drop_caches")
    assert host.run("dd if=/dev/mapper/root of=/dev/null bs=4096 skip=20000 count=1").rc != 0
    assert "corrupted" in host.check_output("dmesg | tail -n 40")
