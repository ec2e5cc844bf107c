# ruff: noqa: D102, RUF009 (methods of Kind are documented there; `key` declares a field)
"""`swap`, `disk_setup`, `fs_setup`: disks other than the one that the host is on."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from cloudconfig.kinds import BOOLEAN, own_at
from cloudconfig.unitnames import device_node
from hostkit.document.kinds import Choice, Parsed, Text
from hostkit.document.schema import Fault, Kind, ListOf, MapOf, Reading, Section, key
from hostkit.document.source import Node, Scalar, Sequence, shown

# Parts of a path hold no `..`: a device is named by where it is.
_DEVICE = r"/dev/([A-Za-z0-9_:\-][A-Za-z0-9._:\-]*/){0,3}[A-Za-z0-9_:\-][A-Za-z0-9._:\-]*"
DEVICE = Text("a device such as /dev/vdb or /dev/disk/by-id/...", _DEVICE, limit=255)
_SIZE = re.compile(r"([0-9]{1,12}) ?(|B|[KMGT](i?B)?)")
_UNITS = {"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SMALLEST_SWAP = 1 << 20
# MBR's and sgdisk's numbers, as cloud-init takes them.
_LINUX = frozenset(("83", "8300", "linux", "linux-generic"))
_SWAP = frozenset(("82", "8200", "swap"))


def size(text: str) -> int:
    """Bytes: 2G, 512 MiB, or a plain number; K, M, G and T count by 1024.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text)
    if not match or int(match[1]) << _UNITS[match[2][:1]] > 1 << 60:
        raise ValueError(text)
    return int(match[1]) << _UNITS[match[2][:1]]


def swap_size(text: str) -> int | None:
    """Bytes, from 1 MiB; None for `auto`.

    Raises:
        ValueError: it is neither.
    """
    if text == "auto":
        return None
    if size(text) < _SMALLEST_SWAP:
        raise ValueError(text)
    return size(text)


def swap_path(text: str) -> PurePosixPath:
    """An absolute path below /var that hides nothing of the host's own.

    Raises:
        ValueError: it is none.
    """
    path = PurePosixPath(text)
    if not re.fullmatch(r"/var(/[A-Za-z0-9_\-][A-Za-z0-9._\-]*){1,8}", text):
        raise ValueError(text)
    if own_at(path):
        raise ValueError(text)
    return path


def _at_least(text: str) -> int:
    found = swap_size(text)
    if found is None:
        raise ValueError(text)
    return found


@dataclass(frozen=True, slots=True)
class Swap:
    """A swap file below `/var`."""

    filename: PurePosixPath = key(
        Parsed("an absolute path below /var such as /var/swapfile", swap_path),
        "The file.",
        default=PurePosixPath("/var/swapfile"),
    )
    size: int | None = key(
        Parsed("a size such as 2G, from 1M, or auto", swap_size),
        "How large it is; `auto` is as much as there is memory, and 8 GiB at most.",
        default=None,
    )
    maxsize: int | None = key(
        Parsed("a size such as 2G, from 1M", _at_least),
        "The most that auto may take.",
        default=None,
    )


def _swap_problem(swap: Swap) -> str | None:
    if swap.size is not None and swap.maxsize is not None:
        return "maxsize beside a size; it limits `size: auto` alone"
    return None


@dataclass(frozen=True, slots=True)
class Share:
    """One partition: percents of the disk, and whether it becomes swap."""

    percent: int
    swap: bool = False


class Layout(Kind):
    """How a disk is divided: `true` is one partition, `false` leaves it as it is."""

    @property
    def label(self) -> str:
        return "true, or a list of percentages such as [30, 70] or [[30, 82], 70]"

    def json_schema(self) -> dict[str, object]:
        share = {"type": ["integer", "array"]}
        return {"anyOf": [{"type": ["boolean", "string"]}, {"type": "array", "items": share}]}

    def write(self, value: tuple[Share, ...]) -> object:
        return [[share.percent, 82] if share.swap else share.percent for share in value]

    def read(self, node: Node, reading: Reading) -> tuple[Share, ...]:
        if isinstance(node, Sequence):
            return self._shares(node, reading)
        text = self.text(node, reading).lower()
        if text == "remove":
            message = "remove would only destroy; overwrite: true beside a layout replaces a table"
            raise reading.fail(node.place, message)
        if text not in ("true", "yes", "false", "no"):
            raise reading.fail(node.place, f"{shown(text)} is no layout; expected {self.label}")
        return (Share(100),) if text in ("true", "yes") else ()

    def _shares(self, node: Sequence, reading: Reading) -> tuple[Share, ...]:
        shares = tuple(self._share(item, reading) for item in node.items)
        if not 1 <= len(shares) <= 64:
            raise reading.fail(node.place, f"{len(shares)} partitions; expected 1 to 64")
        if (total := sum(share.percent for share in shares)) > 100:
            raise reading.fail(node.place, f"the partitions are {total} percent of the disk")
        return shares

    def _share(self, node: Node, reading: Reading) -> Share:
        parts = node.items if isinstance(node, Sequence) else (node,)
        texts = [item.text for item in parts if isinstance(item, Scalar)]
        number = texts[0] if texts else ""
        kind = texts[1] if len(texts) > 1 else "83"
        if len(texts) != len(parts) or len(texts) > 2 or not re.fullmatch("[0-9]{1,3}", number):
            message = "expected a percentage such as 50, or one with a type such as [50, 82]"
            raise reading.fail(node.place, message)
        if not 1 <= int(number) <= 100:
            raise reading.fail(node.place, f"{number} is not a percentage from 1 to 100")
        if kind.lower() not in _LINUX | _SWAP:
            message = f"the type {shown(kind)} is not known; 83 is Linux (the default), 82 swap"
            raise reading.fail(node.place, message)
        return Share(int(number), swap=kind.lower() in _SWAP)


@dataclass(frozen=True, slots=True)
class DiskLayout:
    """How one disk is partitioned."""

    table_type: str = key(
        Text("gpt, the only kind of partition table that is made here", "gpt"),
        "The kind of partition table.",
        default="gpt",
    )
    layout: tuple[Share, ...] = key(
        Layout(), "One partition (`true`), or a list of percentages of the disk.", default=()
    )
    overwrite: bool = key(
        BOOLEAN,
        "Do it though the disk holds data. A disk that is divided like this stays as it is.",
        default=False,
    )


class FileSystemKind(Enum):
    """What can be made."""

    EXT4 = "ext4"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system that is made if there is none."""

    device: str = key(DEVICE, "Where.")
    filesystem: FileSystemKind = key(Choice(FileSystemKind), "Which.", default=FileSystemKind.EXT4)
    label: str = key(
        # What ext4 and swap have room for; a device is mounted by it as LABEL=...
        Text("a label of 16 letters, digits, dots, _ or - at most", r"[A-Za-z0-9._\-]{0,16}"),
        "Its label.",
        default="",
    )
    partition: str = key(
        Text("auto, any, none or a number from 1", "auto|any|none|[1-9][0-9]{0,2}"),
        "Which partition of the device; `auto` and `any` are the first that disk_setup makes,"
        " or the device itself.",
        default="none",
    )
    overwrite: bool = key(
        BOOLEAN,
        "Make it though there is another. One of this kind and label stays as it is.",
        default=False,
    )


def partition_problems(
    file_systems: tuple[FileSystem, ...], disks: Mapping[str, DiskLayout]
) -> Iterator[Fault]:
    """What `fs_setup` says of a disk that `disk_setup` makes otherwise."""
    for at, each in enumerate(file_systems):
        device = device_node(each.device)
        count = len(disks[device].layout) if device in disks else 0
        if count and each.partition == "none":
            message = f"{device} is divided by disk_setup; name a partition of it, such as"
            yield Fault(f"{message} `partition: 1`", ("fs_setup", at))
        elif count and each.partition.isdecimal() and int(each.partition) > count:
            message = f"{device} has no partition {each.partition}; disk_setup makes {count}"
            yield Fault(f"{message} of them", ("fs_setup", at, "partition"))


SWAP = Section(Swap, _swap_problem)
DISK_SETUP: MapOf = MapOf(_DEVICE, Section(DiskLayout))
FS_SETUP = ListOf(
    Section(
        FileSystem,
        refused={
            "cmd": "file systems are made by mkfs.ext4 and mkswap, with their defaults",
            "extra_opts": "file systems are made with the defaults of mkfs.ext4 and mkswap",
            "replace_fs": "overwrite: true replaces any other file system",
        },
    ),
)
