"""The lab's tests of WireGuard, in namespaces of a Bedplate host: its kernel has it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.run import Sandbox
from builder.vm.config import Disk
from site_of_tests import CACHE, GIB, PROJECT, Guest, Site, guest_of, tools
from tests.lab import OPTIONS, environment, lab_tree

pytestmark = pytest.mark.thorough

_LAB = "/run/lab"
# What the lab's own command line does for a machine that has bubblewrap.
_INSIDE = """\
import os, sys
os.unshare(os.CLONE_NEWNET | os.CLONE_NEWNS)
os.chroot("{lab}")
os.chdir("/srv")
os.execve("/usr/bin/python3", ["python3", "-m", "pytest", *sys.argv[1:]], {environment})
"""


def _image(folder: Path, image: Path) -> Path:
    """The files of a folder as a disk."""
    sandbox = Sandbox(tools(), writable=(image.parent,), readable=(folder,))
    sandbox.run(["mkfs.erofs", "--quiet", "--all-root", str(image), str(folder)])
    return image


def _project(folder: Path) -> Path:
    """What of the project the lab's tests use."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("cloud-config", "updater", "tests/net"):
        shutil.copytree(PROJECT / name, folder / name, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def lab(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A host with the lab, mounted where the tests can be run in it."""
    folder = tmp_path_factory.mktemp("wireguard")
    disks = tuple(
        Disk(_image(source, folder / f"{name}.img"), read_only=True)
        for name, source in (
            ("lab", lab_tree(CACHE, on_line=print)),
            ("project", _project(folder / "project")),
        )
    )
    image = site.release("1") / "bedplate_1.qcow2"
    with guest_of(site, folder / "guest", image=image, disks=disks, memory=2 * GIB) as guest:
        host = guest.reach()
        host.check_output(f"mkdir {_LAB}")
        host.check_output(f"mount -o ro /dev/disk/by-id/virtio-disk2 {_LAB}")
        host.check_output(f"mount -o ro /dev/disk/by-id/virtio-disk3 {_LAB}/srv")
        for name in ("root", "run", "tmp", "var"):
            host.check_output(f"mount -t tmpfs tmpfs {_LAB}/{name}")
        for name in ("dev", "proc", "sys"):
            host.check_output(f"mount --rbind /{name} {_LAB}/{name}")
        host.check_output(f"mkdir {_LAB}/var/tmp")  # noqa: S108 - in the lab
        yield guest


def test_wireguard(lab: Guest) -> None:
    arguments = " ".join((*OPTIONS, "-m", "wireguard", "-q", "tests/net"))
    inside = _INSIDE.format(lab=_LAB, environment=json.dumps(environment(Path("/srv"))))
    result = lab.host.run(f"python3 -IS -c '{inside}' {arguments}")
    assert result.rc == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
    assert "skipped" not in result.stdout
