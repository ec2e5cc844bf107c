"""What the VM tests share: keys, a repository, built releases, and one machine to try them in."""

import hashlib
import json
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import testinfra  # type: ignore[import-untyped] # it ships no types; Host says what is used

from builder.build_cli import read_trust
from builder.definition.load import load
from builder.extension import Signer, build_extension, make_extension_disk
from builder.extension_cli import read_signer
from builder.pipeline import Options, build
from builder.report import Reporter
from builder.run import CommandError
from builder.steps.toolbox import tool_tree, toolbox
from builder.trust import certificates, keys
from builder.trust.publish import Signing
from builder.trust.repository import Repository
from builder.trust.roles import DEFAULT_KEY_NAMES
from builder.vm.accelerator import accelerator
from builder.vm.config import (
    DEFAULT_UUID,
    Disk,
    MachineConfig,
    Network,
    SharedLink,
    UserNetwork,
)
from builder.vm.machine import Machine
from builder.vm.ssh import SshAccess, create_key
from builder.vm.uki import kernel_of
from builder.vm.wait import wait_until
from updater.store import locked
from updater.version import Version

PROJECT = Path(__file__).parents[2]
CACHE = PROJECT / ".cache"
PASSPHRASE = "only for tests"  # noqa: S105 - these keys sign nothing but what tests build
GIB = 1 << 30
# Under TCG, on a machine whose cores others use too: generous, as they only bound a failure.
BOOT_SECONDS = 1200
UPDATE_SECONDS = 1500


def source_digest() -> str:
    """What the built releases depend on: as long as it stays, they are used again."""
    digest = hashlib.sha256()
    for top in ("builder", "cloud-config", "images", "updater", "tests/vm/images"):
        for path in sorted((PROJECT / top).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path.relative_to(PROJECT)).encode() + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


class Result(Protocol):
    """What a command in the guest gave."""

    rc: int
    stdout: str
    stderr: str


class File(Protocol):
    """A file in the guest."""

    content_string: str


class Host(Protocol):
    """The part of testinfra's host that the tests use."""

    def run(self, command: str) -> Result:
        """Run a command line."""

    def check_output(self, command: str) -> str:
        """Run a command line that must succeed; its stdout, stripped."""

    def file(self, path: str) -> File:
        """Look at a file."""


@dataclass(frozen=True, slots=True)
class Site:
    """One publisher: its keys, its repository, its releases."""

    folder: Path
    reporter: Reporter

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def blank(self) -> Path:
        """A repository without releases; images trust its root."""
        return self.folder / "repository"

    def signing(self, now: datetime | None = None) -> Signing:
        store = keys.KeyStore(self.keys, lambda _opens: PASSPHRASE)
        return Signing(keys.KeyRing([store]), now or datetime.now(UTC))

    def only_me(self) -> AbstractContextManager[None]:
        """Two processes run the tests; what they share is made by one of them."""
        return locked(self.folder.with_suffix(".lock"), wait=True)

    def prepare(self) -> None:
        """Keys and a blank repository, made once."""
        with self.only_me():
            self._prepare()

    def _prepare(self) -> None:
        if (self.blank / "metadata/timestamp.json").is_file():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        keys.generate(self.keys, [*DEFAULT_KEY_NAMES, "spare-1"], PASSPHRASE)
        for kind in certificates.KINDS:
            certificates.generate_pair(self.keys, kind, PASSPHRASE)
        Repository(self.blank).init(self.signing())

    def release(self, version: str, definition: str = "images/base.yaml") -> Path:
        """The folder of a built release."""
        folder = self.folder / Path(definition).stem / f"bedplate_{version}"
        with self.only_me():
            if not (folder / "manifest.json").is_file():
                build(
                    load(PROJECT / definition, overrides={"version": version}),
                    Options(folder.parent, CACHE, trust=read_trust(self.blank, self.keys)),
                    self.reporter,
                )
        return folder

    def repository(self, folder: Path, *offered: Path) -> Path:
        """A repository in `folder` whose stable channel offers these builds to everybody."""
        shutil.copytree(self.blank, folder)
        repository = Repository(folder)
        repository.refresh(["timestamp", "snapshot"], self.signing())
        for build_folder in offered:
            self.offer(folder, build_folder)
        return folder

    def offer(self, folder: Path, build_folder: Path) -> None:
        """Add a build to the repository in `folder`, and promote it."""
        version = Version.parse(build_folder.name.rpartition("_")[2])
        repository = Repository(folder)
        repository.add(build_folder, self.signing())
        repository.promote(version, "stable", [], self.signing())

    def extension_disk(self, name: str, signer: Signer | None, *more: str) -> Path:
        """A disk with the developer extension and those of `more` definitions, signed or not."""
        disk = self.folder / f"{name}.disk"
        definitions = ("images/developer.yaml", *more)
        made = [self.extension(name, definition, signer) for definition in definitions]
        with self.only_me():
            if not disk.is_file():
                make_extension_disk(made, disk, toolbox(tools(), self.folder))
        return disk

    def extension(
        self,
        name: str,
        definition: str,
        signer: Signer | None,
        *,
        release: str = "1",
        overrides: Mapping[str, str] | None = None,
    ) -> Path:
        """An extension's image for a release, signed or not; `overrides` are the definition's."""
        base, loaded = self.release(release), load(PROJECT / definition, overrides=overrides)
        made = self.folder / name / f"{loaded.name}.raw"
        with self.only_me():
            if not made.is_file():
                build_extension(
                    loaded,
                    base,
                    self.folder / name,
                    CACHE,
                    signer=signer,
                    reporter=self.reporter,
                )
        return made

    def signer(self) -> Signer:
        return _signer(self.keys)


def stranger(folder: Path) -> Signer:
    """A signer whose certificate no image of ours holds."""
    certificates.generate_pair(folder, certificates.EXTENSIONS, PASSPHRASE)
    return _signer(folder)


def _signer(store: Path) -> Signer:
    passphrase = store.with_name("passphrase")
    passphrase.write_text(PASSPHRASE)
    return read_signer(store, passphrase)


def keep_figures(**figures: float) -> None:
    """Leave figures for the bench."""
    path = PROJECT / "build/vm-figures.json"
    path.parent.mkdir(exist_ok=True)
    with locked(path.with_suffix(".lock"), wait=True):
        kept = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(kept | figures))


def tools() -> Path:
    """The tool tree."""
    return tool_tree(CACHE, "trixie", None, on_line=lambda _line: None)


class Guest:
    """A machine with the developer extension, and what is known of the host in it."""

    def __init__(self, machine: Machine, access: SshAccess) -> None:
        self.machine = machine
        self.access = access

    def reach(self, seconds: float = BOOT_SECONDS) -> Host:
        """Wait until the host answers, as it is after its latest boot."""
        self.access.connect(self.machine.wait_for_ssh(seconds))
        host: Host = testinfra.get_host(self.access.url)
        return host

    @property
    def host(self) -> Host:
        host: Host = testinfra.get_host(self.access.url)
        return host

    def back_to(self, name: str) -> Host:
        """As it was when it was saved under `name`, whatever has happened since.

        "ready" is release 1 when it had just become good, "two" is release 2 likewise.
        """
        if self.machine.running:
            self.machine.load(name)
        else:
            self.machine.start(name)
        host = self.reach()
        # Its clock has jumped, and what was connected in that moment may time out at once.
        wait_until(lambda: self.ask("echo up") or None, BOOT_SECONDS, "an answer after the load")
        return host

    def reboot(self) -> None:
        """Boot what is staged; the host is to be reached anew afterwards."""
        self.machine.monitor.forget_events()
        self.ask("systemctl reboot --no-block")
        self.machine.wait_for_reboot(BOOT_SECONDS)

    def ask(self, command: str) -> str:
        """What a command prints; nothing if it fails, or if the host goes away meanwhile."""
        try:
            return self.access.run(command)
        except CommandError:
            return ""

    def journal(self) -> str:
        """The journal of this boot and those before, if the host can still be asked."""
        if not self.machine.running:
            return ""
        return self.ask("journalctl --no-pager --no-hostname -o short-monotonic -n 2000")

    def published_status(self) -> Mapping[str, Any] | None:
        """What the updater wrote last, None before it has; cheap enough to ask while it works."""
        text = self.ask("cat /run/bedplate/status.json")
        if not text:
            return None
        document: Mapping[str, Any] = json.loads(text)
        return document

    def status(self) -> Mapping[str, Any]:
        """What the updater says of itself."""
        text = self.host.check_output("bedplate-update status --json")
        document: Mapping[str, Any] = json.loads(text)
        return document

    def wait_until_good(self, version: str, seconds: float = BOOT_SECONDS) -> Host:
        """Wait until this version runs, is called good, and its boot has come to its end.

        What is saved before that end is loaded with its time-outs long over.
        """
        host = self.reach(seconds)

        def good() -> bool | None:
            status = self.published_status()
            if status is None:
                return None
            assert status["version"] == version, f"expected version {version}: {status}"
            assert status["health"] != "failed", status
            return True if status["health"] == "good" and status["state"] != "trial" else None

        wait_until(good, seconds, f"version {version} to be good")
        jobs = "systemctl list-jobs --no-legend; echo end"
        wait_until(
            lambda: self.ask(jobs).strip() == "end" or None, seconds, "the end of the boot's jobs"
        )
        return host


def shared_link() -> SharedLink:
    """An Ethernet segment that no other test has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return SharedLink(probe.getsockname()[1])


def machine_uuid(number: int) -> UUID:
    """Who a machine is: its machine id and its cards' addresses come from this."""
    return UUID(int=DEFAULT_UUID.int + number)


@contextmanager
def guest_of(
    site: Site,
    folder: Path,
    *,
    image: Path,
    server: str | None = None,
    extension: Path | None = None,
    disks: tuple[Disk, ...] = (),
    networks: tuple[Network, ...] = (UserNetwork(),),
    document: str | None = None,
    firmware: Mapping[str, str] | None = None,
    number: int = 0,
    memory: int = GIB,
    clock: datetime | None = None,
) -> Iterator[Guest]:
    """A machine booted from `image` with an extension, the developer's.

    Without our server its updates are what its cloud-config says. `document` is its cloud-config,
    given as a credential; `firmware` (as in `MachineConfig`) may say where else one is. `number`
    makes it another machine than those of other numbers. `clock` is what its hardware clock shows
    at first, this machine's time when None.
    """
    folder.mkdir(parents=True)
    key = create_key(folder)
    kernel = folder / "vmlinuz"
    kernel.write_bytes(kernel_of(image.parent / "bedplate.efi"))
    credentials = {"ssh.authorized_keys.root": key.public}
    settings = {
        "server": server,
        "channel": "stable",
        "strategy": "off",
        "interval": 86400,
        "jitter": 86400,
    }
    if server:
        credentials["bedplate.update"] = json.dumps(settings)
    if document:
        credentials["bedplate.cloud-config"] = document
    config = MachineConfig(
        folder=folder / "machine",
        accelerator=accelerator(tools(), kernel, CACHE),
        image=image,
        disk_size=6 * GIB,
        # A second emulated processor costs more in waiting for locks than it gives on two cores.
        cpus=1,
        memory=memory,
        uuid=machine_uuid(number),
        credentials=credentials,
        firmware=firmware or {},
        networks=networks,
        clock=clock,
        disks=(
            Disk(extension or site.extension_disk("signed", site.signer()), read_only=True),
            *disks,
        ),
    )
    config.folder.mkdir()
    with Machine(config, tools()) as machine, SshAccess(folder, key) as access:
        yield Guest(machine, access)
