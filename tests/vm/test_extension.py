"""An extension of another signer, or of none, is refused; the host goes on without it."""

from pathlib import Path

import pytest

from builder.vm.wait import WaitError
from faultserver import FaultServer
from site_of_tests import BOOT_SECONDS, Site, guest_of, stranger


@pytest.mark.parametrize(
    ("signed", "reason"),
    [
        pytest.param(True, "its signer is unknown to this release", id="another key"),
        pytest.param(False, "it is not signed", id="no signature", marks=pytest.mark.thorough),
    ],
)
def test_an_extension_that_is_not_ours_is_refused(
    site: Site, server: FaultServer, tmp_path: Path, *, signed: bool, reason: str
) -> None:
    """The host has seen it and says why it is not merged; nobody answers at its ssh port."""
    signer = stranger(tmp_path / "keys") if signed else None
    disk = site.extension_disk("stranger" if signed else "unsigned", signer)
    image = site.release("1") / "bedplate_1.qcow2"
    with guest_of(
        site, tmp_path / "host", image=image, server=server.url_for_guest(), extension=disk
    ) as guest:
        shown = rf"health +good\s(.*\n)*? +extensions +developer refused: {reason}"
        guest.machine.wait_for_console(shown, BOOT_SECONDS)
        with pytest.raises(WaitError):
            guest.machine.wait_for_ssh(20)
