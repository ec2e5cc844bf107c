"""What a source of a cloud-config is, what it offers, and the machine that it looks at."""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from cloudconfig.sources import mounts
from updater.errors import BedplateError

DOCUMENT_LIMIT = 4 << 20  # bytes, what a document may have; cloudconfig.document says so too
METADATA_LIMIT = 256 << 10  # bytes, of anything else
# A word of the kernel's command line; spaces may stand in double quotes
# (kernel, admin-guide/kernel-parameters).
_ARGUMENT = re.compile(r'(?:[^\s"]|"[^"]*")+')

# Gives a file of a source by its name, at most so many bytes; None if it is not there.
Reader = Callable[[str, int], bytes | None]


class SourceError(BedplateError):
    """A source is there, but cannot be read or gives what cannot be right."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source gives.

    A `document` of None: the source is there and says who the machine is, but has no document.
    `file` names the document in messages. `network` is a network-config in the words of NoCloud,
    version 1 or 2, YAML or JSON. `variables` are those of `$private_ipv4` and its like that the
    source knows. `warnings` say what of it is not used, `reason` why this source was chosen.
    """

    source: str
    file: Path
    document: bytes | None = field(repr=False)
    instance_id: str = ""
    hostname: str = ""
    public_keys: tuple[str, ...] = ()
    network: bytes | None = field(default=None, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as sources see it; tests lay one out in a folder.

    `metadata` is the address that all metadata servers have. `mount` mounts the device of the
    first path at the second, and unmounts it after the block.
    """

    root: Path = Path("/")
    metadata: str = "http://169.254.169.254"
    mount: Callable[[Path, Path], AbstractContextManager[None]] = mounts.read_only

    def read(self, name: str, limit: int = METADATA_LIMIT) -> bytes | None:
        """The file `name` (relative to the root), or None if it is not there.

        Raises:
            SourceError: it cannot be read, or is longer than `limit` bytes.
        """
        try:
            with (self.root / name).open("rb") as stream:
                data = stream.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceError(f"/{name}: {error.strerror}") from error
        if len(data) > limit:
            raise SourceError(f"/{name}: longer than the {limit} bytes that it may have")
        return data

    def dmi(self, name: str) -> str:
        """What the firmware says of itself under /sys/class/dmi/id; "" where it says nothing."""
        try:
            data = self.read(f"sys/class/dmi/id/{name}")
        except SourceError:
            return ""  # serial numbers are root's alone
        return (data or b"").decode("ascii", "replace").strip()

    def argument(self, name: str) -> str:
        """The value that the kernel's command line gives to `name`, the last one, or ""."""
        line = (self.read("proc/cmdline") or b"").decode("ascii", "replace")
        value = ""
        for word in _ARGUMENT.findall(line):
            key, equals, given = word.replace('"', "").partition("=")
            if equals and key == name:
                value = given
        return value

    def asks_for(self, name: str) -> bool:
        """Whether `ds=` on the kernel's command line names this source, as for cloud-init."""
        return self.argument("ds").split(";")[0].lower() == name

    def label(self, *labels: str) -> Path | None:
        """The device whose file system has one of these labels, as udev found it."""
        links = (self.root / "dev/disk/by-label" / label for label in labels)
        return next((link for link in links if link.exists()), None)


@dataclass(frozen=True, slots=True)
class Source:
    """A place that a cloud-config may come from.

    `present` is cheap, reads no network, and gives in a few words what speaks for the source, or
    "". Only then `look` is called; it gives None if there is nothing after all, and raises
    `SourceError` if what is there cannot be used.
    """

    name: str
    present: Callable[[Machine], str]
    look: Callable[[Machine], Offer | None]
    needs_network: bool = False


def document(data: bytes | None) -> bytes | None:
    """User data as a document: blank ones, which clouds give for none, are none."""
    return data if data and data.strip() else None
