"""The units that merge extensions: one policy in all of them, and a word for who is refused."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "images/base/root/usr/lib"
UNITS = FOLDER / "systemd/system"
MERGING = sorted(
    path
    for path in UNITS.rglob("*")
    if path.is_file() and "systemd-sysext refresh" in path.read_text()
)
POLICY = "--image-policy=root=signed+absent:usr=signed+absent:=ignore"


def test_these_merge() -> None:
    found = {str(path.relative_to(UNITS)) for path in MERGING}
    assert found == {
        "bedplate-extensions.service",
        "bedplate-extensions-merge.service",
        "systemd-sysext.service.d/10-bedplate.conf",
    }


@pytest.mark.parametrize("unit", MERGING, ids=lambda path: path.name)
def test_only_what_is_signed_is_merged(unit: Path) -> None:
    lines = re.findall(r"^Exec\w+=(.*systemd-sysext refresh.*)$", unit.read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        assert line == f"/usr/bin/systemd-sysext refresh {POLICY}"


@pytest.mark.parametrize("unit", MERGING, ids=lambda path: path.name)
def test_who_is_refused_is_told(unit: Path) -> None:
    assert re.search(r"start (--no-block )?bedplate-extensions-told.service", unit.read_text())
    assert (
        "bedplate-config extensions --tell"
        in (UNITS / "bedplate-extensions-told.service").read_text()
    )


def test_what_the_api_adds_is_gone_with_the_boot() -> None:
    text = (FOLDER / "tmpfiles.d/bedplate-extensions.conf").read_text()
    # tmpfiles.d(5): emptied when systemd-tmpfiles-setup.service runs, and only then.
    assert "D! /var/lib/bedplate/extensions 0700" in text
    assert "d  /etc/extensions              0755" in text
