"""What a host of release 1 does not take, and what it takes only at the second go."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from builder.trust.publish import Signing
from builder.trust.repository import KeyChange, Repository
from faultserver import FaultServer, Garble, LieAboutLength, Rule, Trickle, Truncate
from site_of_tests import Guest, Site


@pytest.fixture(autouse=True)
def plain_server(server: FaultServer) -> Iterator[None]:
    """Faults end with the test that asked for them."""
    yield
    server.set_rules()


@pytest.fixture(scope="module")
def offer(
    site: Site, server: FaultServer, guest: Guest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The repository that the host sees; it offers release 2."""
    guest.back_to("ready")
    folder = site.repository(tmp_path_factory.mktemp("offer") / "repository", site.release("2"))
    server.set_folder(folder)
    return folder


def refused(guest: Guest, verb: str = "check") -> str:
    """The reason that the updater gives; the old release still runs, and the status says why."""
    result = guest.host.run(f"bedplate-update {verb} --json")
    assert result.rc == 1, result
    assert "Traceback" not in result.stderr
    status = guest.status()
    assert status["version"] == "1"
    assert status["state"] != "staged"
    assert status["last_error"], status
    return str(status["last_error"])


def seen(guest: Guest) -> bool:
    """Whether the updater finds release 2."""
    answer = json.loads(guest.host.check_output("bedplate-update check --json"))
    return bool(answer["version"] == "2" and answer["verdict"] == "update")


def test_a_wrong_signature_is_refused(
    guest: Guest, offer: Path, server: FaultServer, tmp_path: Path
) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(offer, forged)
    path = forged / "metadata/timestamp.json"
    document = json.loads(path.read_text())
    signature = document["signatures"][0]["sig"]
    document["signatures"][0]["sig"] = ("0" if signature[0] != "0" else "1") + signature[1:]
    path.write_text(json.dumps(document))
    server.set_folder(forged)
    try:
        assert re.search("signature", refused(guest))
    finally:
        server.set_folder(offer)


def test_expired_metadata_is_refused(
    guest: Guest, site: Site, offer: Path, server: FaultServer, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(offer, old)
    signed = datetime.now(UTC) - timedelta(days=3)
    past = Signing(site.signing().ring, signed, days={"timestamp": 1})
    Repository(old).refresh(["timestamp"], past)
    server.set_folder(old)
    try:
        assert "expired" in refused(guest)
    finally:
        server.set_folder(offer)


def test_a_server_that_lies_about_length_is_asked_again(
    guest: Guest, offer: Path, server: FaultServer
) -> None:
    del offer
    server.forget()
    server.set_rules(Rule(r"timestamp\.json", (LieAboutLength(1000),), times=1))
    assert seen(guest)
    assert len(server.requests(r"timestamp\.json")) == 2


def test_a_server_that_trickles_is_asked_again(
    guest: Guest, offer: Path, server: FaultServer
) -> None:
    del offer
    server.forget()
    server.set_rules(Rule(r"timestamp\.json", (Trickle(bytes_per_second=5),), times=1))
    assert seen(guest)
    assert len(server.requests(r"timestamp\.json")) == 2


def test_rolled_back_metadata_is_refused(
    guest: Guest, site: Site, offer: Path, server: FaultServer
) -> None:
    """After a look at the newer metadata, an older state of the same repository is an attack."""
    assert seen(guest)
    server.set_folder(site.blank)
    try:
        assert "rolled" in refused(guest)
    finally:
        server.set_folder(offer)


def test_a_truncated_artefact_is_refused(guest: Guest, offer: Path, server: FaultServer) -> None:
    del offer
    server.set_rules(Rule(r"root\.wire", (Truncate(1000),)))
    assert "root.wire" in refused(guest, "apply --no-reboot")


def test_a_garbled_artefact_is_refused(guest: Guest, offer: Path, server: FaultServer) -> None:
    """Truncation showed which bytes the host needs; one of those is turned over."""
    del offer
    asked = server.requests(r"root\.wire")[-1].range or ""
    first = int(asked.removeprefix("bytes=").partition("-")[0])
    server.set_rules(Rule(r"root\.wire", (Garble(first + 100),)))
    assert "chunk" in refused(guest, "apply --no-reboot")


def test_a_garbled_tree_is_refused(guest: Guest, offer: Path, server: FaultServer) -> None:
    del offer
    server.set_rules(Rule(r"root\.verity", (Garble(9000),)))
    assert "root.verity" in refused(guest, "apply --no-reboot")


def test_a_full_esp_is_found_before_a_byte_is_fetched(
    guest: Guest, offer: Path, server: FaultServer
) -> None:
    del offer
    host = guest.host
    host.check_output("mkdir -p /run/esp && mount /dev/vda1 /run/esp")
    host.run("dd if=/dev/zero of=/run/esp/fill bs=1M conv=fsync")
    host.check_output("umount /run/esp")
    server.forget()
    try:
        assert "does not fit" in refused(guest, "apply --no-reboot")
        assert not server.requests(r"root\.(wire|verity|index)|\.efi")
    finally:
        host.check_output("mount /dev/vda1 /run/esp && rm /run/esp/fill && umount /run/esp")


def test_a_clock_in_1970_is_not_believed(guest: Guest, offer: Path) -> None:
    """What is signed was signed later than that, so the clock must be behind."""
    del offer
    host = guest.host
    host.check_output("systemctl stop systemd-timesyncd")
    host.check_output("date -s 1970-01-02")
    try:
        assert seen(guest)
    finally:
        host.check_output(f"date -s @{datetime.now(UTC).timestamp():.0f}")


def test_a_clock_in_2100_stops_updates_and_nothing_else(guest: Guest, offer: Path) -> None:
    """All metadata has expired by then; once the clock is right again, so is everything."""
    del offer
    host = guest.host
    host.check_output("date -s 2100-01-02")
    try:
        assert "expired" in refused(guest)
        assert guest.status()["health"] == "good"
    finally:
        host.check_output(f"date -s @{datetime.now(UTC).timestamp():.0f}")
    assert seen(guest)


def test_a_host_with_the_first_root_follows_every_rotation(
    guest: Guest, site: Site, offer: Path, server: FaultServer, tmp_path: Path
) -> None:
    """Root, by two of its three keys, then every other role gets a new key in the place of one."""
    rotated = tmp_path / "rotated"
    shutil.copytree(offer, rotated)
    repository = Repository(rotated)
    for role, old in (
        ("root", "root-1"),
        ("targets", "targets-1"),
        ("snapshot", "snapshot"),
        ("timestamp", "timestamp"),
        ("releases", "releases"),
        ("channel-stable", "channel-stable"),
    ):
        repository.rotate(role, KeyChange(add=["spare-1"], remove=[old]), site.signing())
    server.set_folder(rotated)
    try:
        assert seen(guest)
    finally:
        server.set_folder(offer)


def test_a_flipped_byte_in_the_running_root_is_caught(guest: Guest) -> None:
    """The last test of this host, which has lost a block of its root: verity refuses it."""
    host = guest.host
    host.check_output("dd if=/dev/urandom of=/dev/vda2 bs=4096 seek=20000 count=1 conv=fsync")
    host.check_output("echo 3 > /proc/sys/vm/drop_caches")
    assert host.run("dd if=/dev/mapper/root of=/dev/null bs=4096 skip=20000 count=1").rc != 0
    assert "corrupted" in host.check_output("dmesg | tail -n 40")
