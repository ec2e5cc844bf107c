"""What the definition lays over Debian's tree: files, folders of files, units, os-release."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path


def want_units(tree: Path, wanted: Mapping[str, Sequence[str]]) -> None:
    """Make each target pull in exactly the named units; what Debian's packages enabled goes.

    Args:
        wanted: a target -> its units (systemd.unit(5), Wants= by a .wants/ folder).
    """
    home = tree / "usr/lib/systemd/system"
    for folder in (*home.glob("*.wants"), *home.glob("*.requires")):
        shutil.rmtree(folder)
    for target, units in wanted.items():
        _link_units(home / f"{target}.wants", units)


def require_units(tree: Path, target: str, units: Sequence[str]) -> None:
    """Make a target fail unless all these units are up; it waits for them, as targets do.

    Source: systemd.unit(5), `.requires/`; systemd.target(5), "Default Dependencies".
    """
    _link_units(tree / f"usr/lib/systemd/system/{target}.requires", units)


def _link_units(folder: Path, units: Sequence[str]) -> None:
    folder.mkdir()
    for unit in units:
        (folder / unit).symlink_to(f"../{unit}")


def write_os_release(tree: Path, *, name: str, version: str, suite: str, epoch: int) -> None:
    """Name the image to systemd-boot, to the updater and to people (os-release(5))."""
    fields = {
        "NAME": "Bedplate",
        "PRETTY_NAME": f"Bedplate {version}",
        "ID": "bedplate",
        "VERSION_ID": version,
        "IMAGE_ID": name,
        "IMAGE_VERSION": version,
        "SYSEXT_LEVEL": suite,
        "DEFAULT_HOSTNAME": name,
        "BEDPLATE_BUILT": str(epoch),
    }
    text = "".join(f'{key}="{value}"\n' for key, value in fields.items())
    (tree / "usr/lib/os-release").write_text(text)
    link = tree / "etc/os-release"
    link.unlink(missing_ok=True)
    link.symlink_to("../usr/lib/os-release")


def mask_units(tree: Path, units: Sequence[str]) -> None:
    """Make units impossible to start (systemctl(1), mask)."""
    home = tree / "usr/lib/systemd/system"
    for unit in units:
        (home / unit).unlink(missing_ok=True)
        (home / unit).symlink_to("/dev/null")
