import shlex
from pathlib import Path

import pytest

from build_kit import names, plant
from builder.steps.overlay import mask_units, require_units, want_units, write_os_release

UNITS = "usr/lib/systemd/system"


def test_a_target_wants_what_is_named_and_nothing_else(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            f"{UNITS}/good.service": "",
            f"{UNITS}/multi-user.target.wants/getty.target": "-> ../getty.target",
            f"{UNITS}/sockets.target.wants/old.socket": "-> ../old.socket",
            f"{UNITS}/x.target.requires/old.service": "-> ../old.service",
            f"{UNITS}/x.target.d/50-x.conf": "",
        },
    )
    want_units(tmp_path, {"multi-user.target": ["good.service"], "timers.target": []})
    assert names(tmp_path) == {
        f"{UNITS}/good.service",
        f"{UNITS}/multi-user.target.wants/good.service",
        f"{UNITS}/x.target.d/50-x.conf",
    }
    link = tmp_path / f"{UNITS}/multi-user.target.wants/good.service"
    assert link.resolve() == tmp_path / f"{UNITS}/good.service"


def test_a_required_unit_is_linked_where_systemd_looks(tmp_path: Path) -> None:
    plant(tmp_path, {f"{UNITS}/a.service": ""})
    require_units(tmp_path, "boot-complete.target", ["a.service"])
    link = tmp_path / f"{UNITS}/boot-complete.target.requires/a.service"
    assert link.resolve() == tmp_path / f"{UNITS}/a.service"


def test_a_masked_unit_cannot_start_whether_it_is_there_or_not(tmp_path: Path) -> None:
    plant(tmp_path, {f"{UNITS}/a.service": "[Service]", f"{UNITS}/c.service": "-> a.service"})
    mask_units(tmp_path, ["a.service", "b.service", "c.service"])
    for unit in ("a", "b", "c"):
        assert str((tmp_path / f"{UNITS}/{unit}.service").readlink()) == "/dev/null"


@pytest.mark.parametrize("before", ["-> ../usr/lib/os-release", "ID=debian", None])
def test_os_release_names_the_image(tmp_path: Path, before: str | None) -> None:
    plant(tmp_path, {"usr/lib/os-release": 'ID=debian\nPRETTY_NAME="Debian"\n', "etc/x": ""})
    if before is not None:
        plant(tmp_path, {"etc/os-release": before})
    write_os_release(tmp_path, name="edge", version="2026.11.1", suite="trixie", epoch=1700000000)
    # os-release(5): assignments that a shell can read.
    text = (tmp_path / "etc/os-release").read_text()
    fields = dict(part.split("=", 1) for part in shlex.split(text))
    assert fields["ID"] == "bedplate"
    assert fields["IMAGE_ID"] == "edge"
    assert fields["IMAGE_VERSION"] == fields["VERSION_ID"] == "2026.11.1"
    assert fields["SYSEXT_LEVEL"] == "trixie"
    assert fields["BEDPLATE_BUILT"] == "1700000000"
    assert "Debian" not in text
    assert str((tmp_path / "etc/os-release").readlink()) == "../usr/lib/os-release"
