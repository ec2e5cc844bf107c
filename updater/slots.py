"""The two slots of a disk: which one runs, which one is free, and what they are called.

Source: the Discoverable Partitions Specification (type GUIDs; a verity slot's unique GUIDs are the
two halves of its root hash). A slot without a release is called `_empty` and has random GUIDs, so
that nothing takes it for a release.
"""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from updater import gpt
from updater.errors import BedplateError
from updater.version import Version, VersionError

ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ROOT = UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
ROOT_VERITY = UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5")
VAR = UUID("4d21b016-b534-45c2-a9fb-5c16e091fd2d")
VAR_LABEL = "bedplate_var"  # images/base: repart.d/40-var.conf
EMPTY_LABEL = "_empty"
_LABEL_PREFIX = "bedplate_"


class SlotError(BedplateError):
    """A disk does not have the slots it should have."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: its device, and its place on the disk in bytes."""

    number: int
    path: Path
    start: int
    size: int
    label: str
    unique: UUID


@dataclass(frozen=True, slots=True)
class Slot:
    """A root partition and the partition of its verity tree."""

    root: Partition
    verity: Partition

    @property
    def version(self) -> Version | None:
        """The release that the slot is named after, if both its labels agree on one."""
        label = self.root.label
        if label != self.verity.label or not label.startswith(_LABEL_PREFIX):
            return None
        try:
            return Version.parse(label.removeprefix(_LABEL_PREFIX))
        except VersionError:
            return None


@dataclass(frozen=True, slots=True)
class Layout:
    """A disk as the updater sees it; `root_hash` is the running one's, in hex."""

    disk: Path
    root_hash: str
    active: Slot
    inactive: Slot
    esp: Partition


def unique_ids(root_hash: str) -> tuple[UUID, UUID]:
    """The unique GUIDs of the root and verity partitions for a root hash of 64 hex digits.

    Source: systemd-veritysetup-generator(8): the first and the last 128 bits.
    """
    return UUID(hex=root_hash[:32]), UUID(hex=root_hash[-32:])


def partition_path(disk: Path, number: int) -> Path:
    """/dev/vda and 3 give /dev/vda3; /dev/nvme0n1 and 3 give /dev/nvme0n1p3."""
    separator = "p" if disk.name[-1].isdigit() else ""
    return disk.with_name(f"{disk.name}{separator}{number}")


def find_disk(root_hash: str, devices: Path = Path("/dev"), system: Path = Path("/sys")) -> Path:
    """The disk that the running root partition is on.

    Raises:
        SlotError: no such partition, or it is on no disk.
    """
    link = devices / "disk/by-partuuid" / str(unique_ids(root_hash)[0])
    try:
        partition = link.resolve(strict=True)
        folder = (system / "class/block" / partition.name).resolve(strict=True)
    except OSError as error:
        raise SlotError(f"{link}: the running root partition is not there: {error}") from error
    if not (folder / "partition").is_file():
        raise SlotError(f"{folder}: the running root is no partition of a disk")
    return devices / folder.parent.name


def _only(disk: Path, found: list[Partition], expected: int, what: str) -> list[Partition]:
    if len(found) != expected:
        raise SlotError(f"{disk}: {len(found)} {what} partitions, expected {expected}")
    return found


def layout_of(table: gpt.Table, disk: Path, root_hash: str) -> Layout:
    """Sort a table's partitions into slots, by type and order; the running one by its GUIDs.

    Raises:
        SlotError: not one ESP and two of each kind, or not just one slot with the root hash.
    """

    def of_type(kind: UUID) -> list[Partition]:
        return [
            Partition(
                number=entry.number,
                path=partition_path(disk, entry.number),
                start=entry.first * table.sector,
                size=(entry.last - entry.first + 1) * table.sector,
                label=entry.label,
                unique=entry.unique,
            )
            for entry in table.entries
            if entry.type == kind
        ]

    esp = _only(disk, of_type(ESP), 1, "EFI system")[0]
    roots = _only(disk, of_type(ROOT), 2, "root")
    verities = _only(disk, of_type(ROOT_VERITY), 2, "root-verity")
    slots = [Slot(root, verity) for root, verity in zip(roots, verities, strict=True)]
    wanted = unique_ids(root_hash)
    active = [slot for slot in slots if (slot.root.unique, slot.verity.unique) == wanted]
    if len(active) != 1:
        raise SlotError(
            f"{disk}: {len(active)} slots have the running root hash {root_hash}, expected 1"
        )
    inactive = slots[1] if active[0] is slots[0] else slots[0]
    return Layout(disk, root_hash, active[0], inactive, esp)


def observe(disk: Path, root_hash: str) -> Layout:
    """Read the table of `disk`, and say which slot runs.

    Raises:
        GptError: no valid table.
        SlotError: not the partitions that a host has.
        OSError: the disk cannot be read.
    """
    return layout_of(gpt.read(disk), disk, root_hash)


def _rename(disk: Path, slot: Slot, label: str, root_id: UUID, verity_id: UUID) -> None:
    table = gpt.read(disk)
    present = {entry.number: entry for entry in table.entries}
    for partition, kind in ((slot.root, ROOT), (slot.verity, ROOT_VERITY)):
        entry = present.get(partition.number)
        if entry is None or entry.type != kind or entry.first * table.sector != partition.start:
            raise SlotError(f"{disk}: partition {partition.number} is not what it was; look again")
    others = [e for e in table.entries if e.number not in (slot.root.number, slot.verity.number)]
    if any(entry.unique in (root_id, verity_id) for entry in others):
        raise SlotError(f"{disk}: another slot has the root hash of {label} already")
    changed = table.replace(slot.root.number, label=label, unique=root_id)
    changed = changed.replace(slot.verity.number, label=label, unique=verity_id)
    if changed.array != table.array or changed.damaged is not None:
        gpt.write(disk, changed)


def unname(disk: Path, slot: Slot) -> None:
    """Make `slot` nobody's, before its first byte changes; nothing is written if it is already.

    Raises:
        GptError, SlotError: the table is not the one that was observed.
        OSError: the disk cannot be written; the old names or the new ones hold.
    """
    if slot.root.label == EMPTY_LABEL and slot.verity.label == EMPTY_LABEL:
        _rename(disk, slot, EMPTY_LABEL, slot.root.unique, slot.verity.unique)
    else:
        _rename(disk, slot, EMPTY_LABEL, uuid4(), uuid4())


def name(disk: Path, slot: Slot, version: Version, root_hash: str) -> None:
    """Name `slot` after the release that it was verified to hold.

    Raises:
        GptError, SlotError: the table is not the one that was observed, or the other slot has
            this root hash.
        OSError: the disk cannot be written; the old names or the new ones hold.
    """
    _rename(disk, slot, f"{_LABEL_PREFIX}{version}", *unique_ids(root_hash))
