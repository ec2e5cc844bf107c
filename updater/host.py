"""What the agent reads about the host it runs on: which release, from which disk, which machine."""

import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from updater.errors import BedplateError
from updater.version import Version, VersionError

_SMALL_FILE = 64 * 1024


class HostError(BedplateError):
    """The host is not as an image of ours makes it."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are; tests give a folder of their own as `root`."""

    root: Path = Path("/")

    @property
    def state(self) -> Path:
        """What outlives a reboot."""
        return self.root / "var/lib/bedplate"

    @property
    def runtime(self) -> Path:
        """What does not: status, metrics, locks."""
        return self.root / "run/bedplate"

    @property
    def esp(self) -> Path:
        """Where the ESP is mounted while it is written."""
        return self.runtime / "esp"

    @property
    def status(self) -> Path:
        """The status document."""
        return self.runtime / "status.json"

    @property
    def health(self) -> Path:
        """The result of the last health check."""
        return self.runtime / "health.json"

    @property
    def update_lock(self) -> Path:
        """Held by whoever changes a slot or the trusted metadata."""
        return self.runtime / "update.lock"

    @property
    def notable(self) -> Path:
        """Written when the status has changed in a way worth showing."""
        return self.runtime / "status.notable"

    @property
    def notes(self) -> Path:
        """What other agents want to be seen on the console: a file each, named by its subject."""
        return self.runtime / "notes"

    @property
    def lock_note(self) -> Path:
        """What is to be seen of the reboot lock while there is anything to be seen."""
        return self.notes / "lock"

    @property
    def metrics(self) -> Path:
        """The metrics in Prometheus' text format."""
        return self.runtime / "metrics/update.prom"

    @property
    def first_root(self) -> Path:
        """The image's own TUF root, where trust starts."""
        return self.root / "usr/share/bedplate/root.json"

    @property
    def defaults(self) -> Path:
        """The image's own update configuration."""
        return self.root / "usr/lib/bedplate/update.yaml"

    @property
    def credential(self) -> Path:
        """The operator's update configuration, of this unit or else of the system.

        The system's own folder serves commands that run outside the unit (systemd.exec(5),
        "Credentials").
        """
        folder = os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials/@system")
        return self.root / folder.lstrip("/") / "bedplate.update"

    @property
    def configured(self) -> Path:
        """What the host's cloud-config says of updates."""
        return self.root / "etc/bedplate/update.json"

    @property
    def override(self) -> Path:
        """What an operator asked for until the next boot."""
        return self.runtime / "update-override.json"

    @property
    def configured_below(self) -> tuple[Path, ...]:
        """All that says what the updater does at every boot; a later one wins key by key."""
        return self.defaults, self.configured, self.credential

    @property
    def configurations(self) -> tuple[Path, ...]:
        """All that says what the updater does now; a later one wins key by key."""
        return *self.configured_below, self.override


@dataclass(frozen=True, slots=True)
class Running:
    """The release that runs now."""

    image: str
    version: Version
    root_hash: str
    built: datetime
    machine_id: str
    boot_id: str


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_SMALL_FILE).decode("utf-8", errors="replace")
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}") from error


def parse_os_release(text: str) -> dict[str, str]:
    """Read os-release(5): one assignment a line, quotes taken off."""
    assignments = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {
        name.strip(): value.strip().strip("\"'")
        for name, separator, value in assignments
        if separator
    }


def root_hash_of(command_line: str) -> str:
    """The running root hash, from the text of /proc/cmdline; the last one counts.

    Raises:
        HostError: there is none, or it is no SHA-256.
    """
    found = [
        word.partition("=")[2] for word in command_line.split() if word.startswith("roothash=")
    ]
    if not found or not re.fullmatch("[0-9a-f]{64}", found[-1]):
        raise HostError("the kernel command line has no roothash= of 64 hex digits: not a release")
    return found[-1]


def observe(paths: Paths) -> Running:
    """Find out what runs.

    Raises:
        HostError: os-release lacks our fields, or this is no verified boot.
    """
    source = paths.root / "usr/lib/os-release"
    release = parse_os_release(_read(source))
    try:
        version = Version.parse(release["IMAGE_VERSION"])
        built = datetime.fromtimestamp(int(release["BEDPLATE_BUILT"]), UTC)
        image = release["IMAGE_ID"]
    except KeyError as error:
        raise HostError(f"{source} has no {error.args[0]}: this is no Bedplate image") from error
    except (VersionError, ValueError, OverflowError, OSError) as error:
        raise HostError(f"{source}: bad IMAGE_VERSION or BEDPLATE_BUILT: {error}") from error
    return Running(
        image=image,
        version=version,
        root_hash=root_hash_of(_read(paths.root / "proc/cmdline")),
        built=built,
        machine_id=_read(paths.root / "etc/machine-id").strip(),
        boot_id=_read(paths.root / "proc/sys/kernel/random/boot_id").strip(),
    )


def trusted_now(running: Running, last_trusted: datetime | None) -> datetime:
    """Give the time to judge signatures by: a clock that stands before what is known is behind.

    A real-time clock may start in 1970; the image's build and the newest verified signature are
    both certainly past.
    """
    clock = datetime.fromtimestamp(time.time(), UTC)
    return max(clock, running.built, last_trusted or running.built)
