"""Updates that work, and releases that take themselves back."""

import json
import shutil
from pathlib import Path

import pytest

from badreleases import rolls_back
from faultserver import FaultServer
from site_of_tests import Guest, Site, keep_figures

# Peak memory is of the whole process, as the kernel counted it (getrusage(2), KiB).
_MEASURED_APPLY = """\
python3 -I -c 'import json, resource, subprocess, time
start = time.monotonic()
subprocess.run(["bedplate-update", "apply", "--no-reboot"], check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"seconds": time.monotonic() - start, "peak_bytes": peak}))'
"""


@pytest.fixture(scope="module")
def offer(site: Site, server: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that offers release 2."""
    server.set_rules()
    return site.repository(tmp_path_factory.mktemp("offer") / "repository", site.release("2"))


def test_1_to_2_and_an_unchanged_block_is_not_downloaded(
    guest: Guest, site: Site, offer: Path, server: FaultServer
) -> None:
    guest.back_to("ready")
    server.set_folder(offer)
    server.forget()
    cost = json.loads(guest.host.check_output(_MEASURED_APPLY).splitlines()[-1])
    assert cost["peak_bytes"] < 96 << 20
    wire = (site.release("2") / "root.wire").stat().st_size
    sent = server.bytes_sent(r"root\.wire")
    assert sent < wire / 10, f"{sent} of {wire} bytes were downloaded"
    keep_figures(stage_bytes=server.bytes_sent(), stage_seconds=cost["seconds"])
    guest.reboot()
    host = guest.wait_until_good("2")
    assert 'IMAGE_VERSION="2"' in host.file("/usr/lib/os-release").content_string
    assert guest.status()["slot"] == "b"
    guest.machine.save("two")


@pytest.mark.parametrize(("definition", "tries"), [("panic", 3), ("unhealthy", 1), ("hang", 1)])
def test_a_bad_release_takes_itself_back(  # noqa: PLR0917 - they are all fixtures
    guest: Guest,
    site: Site,
    server: FaultServer,
    offer: Path,
    tmp_path: Path,
    definition: str,
    tries: int,
) -> None:
    """From release 2, which the test above has saved."""
    folder = tmp_path / "repository"
    shutil.copytree(offer, folder)
    site.offer(folder, site.release("3", f"tests/vm/images/{definition}.yaml"))
    guest.back_to("two")
    server.set_folder(folder)
    rolls_back(guest, "3", tries)


def test_across_two_releases_into_a_slot_with_flipped_bytes(
    guest: Guest, site: Site, server: FaultServer, offer: Path, tmp_path: Path
) -> None:
    """1 -> 3 in one step; the other slot holds random blocks, which the tree tells apart."""
    folder = tmp_path / "repository"
    shutil.copytree(offer, folder)
    site.offer(folder, site.release("3"))
    guest.back_to("ready")
    server.set_folder(folder)
    host = guest.host
    host.check_output("dd if=/dev/mapper/root of=/dev/vda4 bs=1M")
    host.check_output("dd if=/dev/urandom of=/dev/vda4 bs=4096 seek=100 count=50 conv=fsync")
    host.check_output("bedplate-update apply --no-reboot")
    guest.reboot()
    guest.wait_until_good("3")
    history = guest.host.check_output("bedplate-update history --json")
    assert '"3"' in history
    assert '"2"' not in history
