"""One host's life: what is refused, 1 -> 2, a release that takes itself back."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from badreleases import rolls_back
from faultserver import FaultServer, Garble, Rule, Truncate
from site_of_tests import PROJECT, Guest, Site

from builder.trust.publish import Signing
from builder.trust.repository import Repository


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
    guest.back_to_ready()
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


def test_a_new_release_is_seen(guest: Guest, offer: Path) -> None:
    del offer
    answer = json.loads(guest.host.check_output("bedplate-update check --json"))
    assert "2" in json.dumps(answer)


def test_rolled_back_metadata_is_refused(
    guest: Guest, site: Site, offer: Path, server: FaultServer
) -> None:
    """After a look at the newer metadata, an older state of the same repository is an attack."""
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


def test_1_to_2_and_an_unchanged_block_is_not_downloaded(
    guest: Guest, site: Site, offer: Path, server: FaultServer
) -> None:
    del offer
    server.forget()
    guest.host.check_output("bedplate-update apply --no-reboot")
    wire = (site.release("2") / "root.wire").stat().st_size
    sent = server.bytes_sent(r"root\.wire")
    assert sent < wire / 10, f"{sent} of {wire} bytes were downloaded"
    figures = PROJECT / "build/vm-figures.json"
    if figures.is_file():
        kept = json.loads(figures.read_text()) | {"stage_bytes": server.bytes_sent()}
        figures.write_text(json.dumps(kept))
    guest.reboot()
    host = guest.wait_until_good("2")
    assert 'IMAGE_VERSION="2"' in host.file("/usr/lib/os-release").content_string
    assert guest.status()["slot"] == "b"


def test_a_release_that_panics_takes_itself_back(guest: Guest, site: Site, offer: Path) -> None:
    rolls_back(guest, site, offer, "3", "panic")
