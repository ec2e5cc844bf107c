"""A host in a folder: its files, a GPT disk, slots and an ESP; and the boot loader's rules."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from storage_samples import Release, disk_image, image_of, make_release
from updater import boot, bootentries, programs, slots
from updater.agent import Agent, Check
from updater.bootcheck import Boot
from updater.config import Config, Strategy
from updater.context import Context
from updater.decide import Decision, Verdict
from updater.host import Paths, observe
from updater.slots import Layout
from updater.version import Version

SECTOR = 4096
SLOT_BYTES = 16 * SECTOR
ONE, TWO, THREE = (Version.parse(text) for text in ("1", "2", "3"))
CONFIG = Config(
    server="http://127.0.0.1:1",
    channel="stable",
    strategy=Strategy.REBOOT,
    window=None,
    interval=300,
    jitter=0,
    reboot_delay=0,
    proxy=None,
    bandwidth=None,
)


class PowerCutError(BaseException):
    """The power is gone: no clean-up runs on a real host, so none may catch this."""


def release_of(folder: Path, version: str, numbers: list[int]) -> Release:
    """A release whose kernel image says which root it starts."""
    folder.mkdir(parents=True, exist_ok=True)
    made = make_release(folder, image_of(numbers), version=version)
    uki = f"kernel roothash={made.manifest.root.hash}".encode()
    artefact = replace(made.manifest.uki, sha256=hashlib.sha256(uki).hexdigest(), length=len(uki))
    files = {**made.files, "bedplate.efi": uki}
    return replace(made, manifest=replace(made.manifest, uki=artefact), files=files)


def to(release: Release) -> Check:
    version = release.manifest.version
    return Check(Decision(Verdict.UPDATE, f"version {version}", version), release.manifest)


@dataclass(slots=True)
class Machine:
    """Runs release `first` from slot A; `boot` starts what the boot loader would choose."""

    folder: Path
    first: Release
    known: dict[str, Release] = field(default_factory=dict)
    boots: int = 0
    reboots: int = 0
    drains: int = 0  # reboots that let the pods leave before
    started: list[str] = field(default_factory=list)
    on_operation: Callable[[str], None] = lambda _name: None
    esp_broken: bool = False

    @property
    def paths(self) -> Paths:
        return Paths(self.folder)

    @property
    def disk(self) -> Path:
        return self.folder / "dev/vd"

    @property
    def entries(self) -> Path:
        return self.paths.esp / "EFI/Linux"

    def knows(self, release: Release) -> None:
        self.known[release.manifest.root.hash] = release

    def install(self) -> None:
        manifest = self.first.manifest
        for name in ("usr/lib", "usr/share/bedplate", "proc/sys/kernel/random", "etc", "dev"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        self.entries.mkdir(parents=True)
        self.disk.write_bytes(disk_image(manifest.root.hash, sector=SECTOR))
        for number, data in ((2, self.first.image), (3, self.first.tree), (4, b""), (5, b"")):
            slots.partition_path(self.disk, number).write_bytes(data.ljust(SLOT_BYTES, b"\0"))
        self.knows(self.first)
        uki = self.first.files["bedplate.efi"]
        (self.entries / f"bedplate_{manifest.version}.efi").write_bytes(uki)
        self.boot()

    def runs(self, release: Release) -> None:
        manifest = release.manifest
        (self.folder / "usr/lib/os-release").write_text(
            f"ID=bedplate\nIMAGE_ID=bedplate\nIMAGE_VERSION={manifest.version}\n"
            "BEDPLATE_BUILT=1795305600\n"
        )
        (self.folder / "proc/cmdline").write_text(f"quiet roothash={manifest.root.hash}\n")

    def boot(self, *, count: bool = True) -> Version:
        """What systemd-boot does: the highest version with a try left, else any; count the try.

        The root must then verify: anything else is a host that does not come up.
        """
        self.boots += 1
        for path in self.paths.runtime.iterdir():
            if path.is_file():
                path.unlink()
        (self.folder / "proc/sys/kernel/random/boot_id").write_text(f"boot-{self.boots}")
        found = bootentries.ours(os.listdir(self.entries))  # noqa: PTH208 - names
        chosen = max(found, key=lambda each: (not each.entry.bad, each.entry.version))
        path = self.entries / chosen.name
        root_hash = path.read_bytes().decode().partition("roothash=")[2]
        left = chosen.entry.left
        if left and count:
            path.rename(
                self.entries / replace(chosen.entry, left=left - 1, done=chosen.entry.done + 1).name
            )
        release = self.known[root_hash]
        assert release.manifest.version == chosen.entry.version
        self.runs(release)
        self.check_slots(slots.observe(self.disk, root_hash))
        return release.manifest.version

    def check_slots(self, layout: Layout) -> None:
        """What has a name holds what the name says; what has an entry could be started."""
        hashes = set()
        for slot in (layout.active, layout.inactive):
            if slot.version is None:
                continue
            root_hash = slot.root.unique.hex + slot.verity.unique.hex
            release = self.known[root_hash]
            hashes.add(root_hash)
            assert slot.root.path.read_bytes()[: len(release.image)] == release.image
            assert slot.verity.path.read_bytes()[: len(release.tree)] == release.tree
        for found in bootentries.ours(self.names()):
            uki = (self.entries / found.name).read_bytes().decode()
            assert uki.partition("roothash=")[2] in hashes, f"{found.name} starts nothing"

    def context(self) -> Context:
        return Context(self.paths, observe(self.paths), CONFIG, self.disk)

    def start(self) -> Boot:
        return boot.start(self.context())

    def agent(self, server: str) -> Agent:
        config = replace(CONFIG, server=server.rstrip("/"))
        return Agent(replace(self.context(), config=config), config)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.entries))  # noqa: PTH208 - names

    def other_label(self) -> str:
        return self.context().layout().inactive.root.label


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A folder in memory, where there is one: hosts are copied and cut hundreds of times."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(dir=memory if usable else None) as folder:
        yield Path(folder)


@pytest.fixture
def machine(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host that runs release 1, with fakes for mount, reboot and the service manager."""
    made = Machine(quick_path / "host", release_of(quick_path / "one", "1", list(range(1, 9))))

    def mount(_device: Path, _folder: Path) -> None:
        made.on_operation("mount")
        if made.esp_broken:
            raise programs.ProgramError("`mount` ended with 32: bad superblock")

    def unmount(_folder: Path) -> None:
        made.on_operation("unmount")

    def reboot_now() -> None:
        made.on_operation("reboot")
        made.reboots += 1

    def reboot() -> None:
        reboot_now()
        made.drains += 1

    monkeypatch.setattr(programs, "mount_vfat", mount)
    monkeypatch.setattr(programs, "unmount", unmount)
    monkeypatch.setattr(programs, "reboot", reboot)
    monkeypatch.setattr(programs, "reboot_now", reboot_now)
    monkeypatch.setattr(programs, "start_unit", made.started.append)
    # The samples' releases are for this processor, whatever runs the tests.
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    # What they do is the kernel's; here they would only wait for this machine's disk.
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    monkeypatch.setattr("os.sync", lambda: None)
    made.install()
    return made
