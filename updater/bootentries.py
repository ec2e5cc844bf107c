"""Boot entries by their file names, with boot counting (systemd-boot(7), "Boot Counting"). Pure.

`bedplate_2.efi` is good, `bedplate_2+3.efi` has three tries left, `bedplate_2+1-2.efi` has one
left and two done, `bedplate_2+0-3.efi` is bad: the boot loader sorts it last.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from updater.version import Version, VersionError

TRIES = 3
_NAME = re.compile(
    r"bedplate_(?P<version>[0-9]+(?:\.[0-9]+)*)(?:\+(?P<left>[0-9]{1,9})(?:-(?P<done>[0-9]{1,9}))?)?\.efi",
    re.ASCII,
)
_LEFTOVER = re.compile(r"\.?bedplate_.*\.part", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One of our boot entries; `left` is None when it is not counted any more: it is good."""

    version: Version
    left: int | None = None
    done: int = 0

    @property
    def good(self) -> bool:
        """Whether it was marked good."""
        return self.left is None

    @property
    def bad(self) -> bool:
        """Whether no try is left."""
        return self.left == 0

    @property
    def name(self) -> str:
        """The file name, as systemd-boot writes it."""
        return f"bedplate_{self.version}{self._counter()}.efi"

    def _counter(self) -> str:
        if self.left is None:
            return ""
        return f"+{self.left}-{self.done}" if self.done else f"+{self.left}"


@dataclass(frozen=True, slots=True)
class Found:
    """An entry beside the exact name under which it was found."""

    name: str
    entry: Entry


def fresh(version: Version) -> Entry:
    """The entry of a version that has yet to prove itself."""
    return Entry(version, TRIES)


def blessed(entry: Entry) -> Entry:
    """The same entry, marked good."""
    return replace(entry, left=None, done=0)


def condemned(entry: Entry) -> Entry:
    """The same entry with no try left, so that the boot loader prefers any other."""
    return replace(entry, left=0, done=max(entry.done, TRIES))


def parse(name: str) -> Entry | None:
    """Read a file name; None when it is not one of our entries."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        version = Version.parse(match["version"])
    except VersionError:
        return None
    left = match["left"]
    return Entry(version, None if left is None else int(left), int(match["done"] or 0))


def ours(names: Iterable[str]) -> tuple[Found, ...]:
    """Our entries among the names of a folder, by name."""
    return tuple(Found(name, entry) for name in sorted(names) if (entry := parse(name)) is not None)


def of_version(names: Iterable[str], version: Version) -> tuple[Found, ...]:
    """The entries of one version; more than one only after a torn rename."""
    return tuple(found for found in ours(names) if found.entry.version == version)


def to_remove(names: Iterable[str], running: Version) -> tuple[str, ...]:
    """What makes way for a new entry: other versions' entries, and half-written files of ours.

    The running version's entries and everything that is not ours stay.
    """
    known = tuple(names)
    others = (found.name for found in ours(known) if found.entry.version != running)
    return (*others, *leftovers(known))


def leftovers(names: Iterable[str]) -> tuple[str, ...]:
    """Half-written files of ours, under names that no boot loader lists."""
    return tuple(sorted(name for name in names if _LEFTOVER.fullmatch(name)))


def temporary_name(entry: Entry) -> str:
    """Where an entry is written before it is renamed; boot loaders list only `*.efi`."""
    return f"{entry.name.removesuffix('.efi')}.part"
