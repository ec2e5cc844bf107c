"""`mounts`, `swap`, `disk_setup`, `fs_setup`: disks other than the one that the host is on."""

from dataclasses import dataclass

from hostkit.document.kinds import Parsed, Text
from hostkit.document.schema import ListOf, MapOf, Section, key

from cloudconfig.kinds import BOOLEAN, Either, Integer

DEVICE = Text(
    "a device: /dev/..., LABEL=... or UUID=...",
    r"(/dev/[A-Za-z0-9._/:\-]+|(LABEL|UUID|PARTLABEL|PARTUUID)=[^\s/]+)",
    limit=255,
)
# fstab(5): device, mount point, type, options, dump, pass; the last four may be left out.
MOUNT_FIELD = Text("a field of fstab(5)", r"[^\s\0]+", limit=1024)


def swap_size(text: str) -> int | None:
    """Bytes; None for `auto`.

    Raises:
        ValueError: it is neither.
    """
    if text == "auto":
        return None
    digits = text.rstrip("KMGTiB ")
    units = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
    unit = text[len(digits) :].strip().removesuffix("B").removesuffix("i")
    if unit not in units or not digits.isdecimal():
        raise ValueError(text)
    return int(digits) << units[unit]


@dataclass(frozen=True, slots=True)
class Swap:
    """A swap file below `/var`."""

    filename: str = key(Text("an absolute path below /var", r"/var/[A-Za-z0-9._/\-]+"), "The file.")
    size: int | None = key(
        Parsed("a size such as 2G, or auto", swap_size), "How large it is.", default=None
    )
    maxsize: int | None = key(
        Parsed("a size such as 2G", swap_size), "The most that auto may take.", default=None
    )


@dataclass(frozen=True, slots=True)
class DiskLayout:
    """How one disk is partitioned."""

    table_type: str = key(Text("gpt", "gpt"), "The kind of partition table.", default="gpt")
    layout: tuple[object, ...] | bool = key(
        Either(
            scalar=Text("true, false or remove", "true|false|remove"),
            sequence=ListOf(
                Either(
                    scalar=Integer(1, 100),
                    sequence=ListOf(Text("a percentage or a partition type", r"[0-9A-Za-z\-]+")),
                )
            ),
        ),
        "One partition (`true`), or a list of percentages of the disk.",
        default=(),
    )
    overwrite: bool = key(BOOLEAN, "Do it though the disk holds data.", default=False)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system that is made if there is none."""

    device: str = key(DEVICE, "Where.")
    filesystem: str = key(Text("ext4", "ext4|swap"), "Which.", default="ext4")
    label: str = key(
        Text("a label of 16 characters at most", r"[^\s/]{0,16}"), "Its label.", default=""
    )
    partition: str = key(
        Text("auto, any, none or a number", "auto|any|none|[0-9]{1,3}"),
        "Which partition of the device.",
        default="none",
    )
    overwrite: bool = key(BOOLEAN, "Make it though there is one.", default=False)


MOUNTS = ListOf(ListOf(MOUNT_FIELD))
SWAP = Section(Swap)
DISK_SETUP: MapOf = MapOf(r"/dev/[A-Za-z0-9._/:\-]+", Section(DiskLayout))
FS_SETUP = ListOf(Section(FileSystem, refused={"cmd": "file systems are made by mkfs.ext4"}))
