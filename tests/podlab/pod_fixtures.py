"""What the tests with podman share: a host's settings, images, pods, and an end of all pods."""

import shutil
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from network import run
from podagent.podman import Podman

PROJECT = Path(__file__).parents[2]
BUSYBOX = "localhost/busybox:1"
_CONTAINERS = Path("/etc/containers")
_APPLETS = ("cat", "echo", "httpd", "id", "kill", "ls", "mkdir", "ps", "sh", "sleep", "wget", "yes")
# How the lab is no host: no systemd, no journal, and cgroups that nobody may make.
_LAB = """\
[containers]
cgroups = "disabled"
keyring = false
log_driver = "k8s-file"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'


def _member(
    name: str, kind: bytes, data: bytes = b"", link: str = ""
) -> tuple[tarfile.TarInfo, BytesIO]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size, entry.mode = kind, link, len(data), 0o755
    return entry, BytesIO(data)


def make_image(name: str, folder: Path, *, extra: bytes = b"") -> str:
    """An image of busybox; `extra` makes it another one. Podman's id of it."""
    path = folder / "image.tar"
    with tarfile.open(path, "w") as tar:
        members = [_member(each, tarfile.DIRTYPE) for each in ("bin", "etc", "proc", "tmp", "www")]
        members.append(
            _member("bin/busybox", tarfile.REGTYPE, Path("/usr/bin/busybox").read_bytes())
        )
        members += [_member(f"bin/{each}", tarfile.SYMTYPE, link="busybox") for each in _APPLETS]
        members.append(_member("www/index.html", tarfile.REGTYPE, b"served\n"))
        members.append(_member("etc/extra", tarfile.REGTYPE, extra))
        for entry, data in members:
            tar.addfile(entry, data)
    change = 'CMD ["httpd", "-f", "-h", "/www"]'
    return run(["podman", "import", "--quiet", "--change", change, str(path), name]).strip()


@pytest.fixture(scope="session", autouse=True)
def host(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A host's podman, set up once."""
    run(["ip", "link", "set", "lo", "up"])
    cgroups = Path("/sys/fs/cgroup")
    if not (cgroups / "cgroup.controllers").exists():
        cgroups.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "cgroup2", "cgroup2", str(cgroups)])
        run(["mount", "-o", "remount,bind,ro", str(cgroups)])
    Path("/var/tmp").mkdir(exist_ok=True)  # noqa: S108 - in a namespace of its own
    _CONTAINERS.mkdir(exist_ok=True)
    shutil.copy(PROJECT / "images/base/root/etc/containers/containers.conf", _CONTAINERS)
    (_CONTAINERS / "containers.conf.d").mkdir()
    (_CONTAINERS / "containers.conf.d/90-lab.conf").write_text(_LAB)
    (_CONTAINERS / "policy.json").write_text(_POLICY)
    (_CONTAINERS / "registries.conf").write_text("")
    make_image(BUSYBOX, tmp_path_factory.mktemp("image"))


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    """The agent's podman; whatever a test leaves is gone afterwards."""
    yield Podman(tmp_path / "run")
    run(["podman", "pod", "rm", "--all", "--force", "--time", "0"])
    run(["podman", "rm", "--all", "--force", "--time", "0"])
