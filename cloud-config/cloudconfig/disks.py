"""What is done to disks: decided here, from what a document wants and what is on them.

Every boot decides afresh, so what is as it should be stays as it is, `overwrite` or not. What
holds anything else is only touched if the document says `overwrite`, and the disk that the host
runs from never is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cloudconfig.desired import Desired, MakeFileSystem, Partition
from cloudconfig.desired import SwapFile as MakeSwap
from cloudconfig.facts import BlockDevice
from cloudconfig.model.storage import Share
from cloudconfig.unitnames import partition_node

_OWN = "bedplate_"  # how the labels of the host's own partitions begin
_SLACK = 8 << 20  # bytes by which alignment may make a partition smaller
# systemd-repart makes nothing smaller than 10 MiB, so a smaller share would never be as wanted,
# and the disk would be divided anew at every boot.
_SMALLEST = 12 << 20


@dataclass(frozen=True, slots=True)
class MakePartitions:
    """A new partition table on `device`; `wipe` says that it may hold something now."""

    device: str
    shares: tuple[Share, ...]
    wipe: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """A new file system or swap on `device`; `wipe` says that it may hold something now."""

    device: str
    kind: str
    label: str = ""
    wipe: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing is done with `device`, and why."""

    device: str
    reason: str


DiskChange = MakePartitions | Format | MakeSwap | Refuse


def plan_disks(desired: Desired, disks: tuple[BlockDevice, ...]) -> tuple[DiskChange, ...]:
    """Partitions first, then what is made on them, then the swap file (which may be there)."""
    tables = [change for item in desired.partitions if (change := _partition(item, disks))]
    new = {
        partition_node(name, number)
        for table in tables
        if isinstance(table, MakePartitions)
        for name in _names(table.device, disks)
        for number in range(1, len(table.shares) + 1)
    }
    made: list[Format | Refuse | None] = [
        Format(item.device, item.kind, item.label, wipe=True)
        if item.device in new
        else _file_system(item, disks)
        for item in desired.file_systems
    ]
    swap = (desired.swap,) if desired.swap else ()
    return (*tables, *(change for change in made if change), *swap)


def describe(change: DiskChange) -> str:
    """A change in a line, for people."""
    match change:
        case MakePartitions():
            shares = ", ".join(f"{share.percent} %" for share in change.shares)
            return f"partition {change.device}: {shares}{_all_goes(wipe=change.wipe)}"
        case Format():
            label = f" labelled {change.label}" if change.label else ""
            return f"make {change.kind}{label} on {change.device}{_all_goes(wipe=change.wipe)}"
        case MakeSwap():
            return f"keep a swap file of {change.size} bytes at {change.path}"
        case Refuse():
            return f"leave {change.device} alone: {change.reason}"


def _all_goes(*, wipe: bool) -> str:
    return "; all that is on it goes" if wipe else ""


def _names(device: str, disks: tuple[BlockDevice, ...]) -> tuple[str, ...]:
    """All the names of a device; the one given, if there is none such."""
    found = _find(device, disks)
    return (found.path, *found.links) if found else (device,)


def _find(name: str, disks: tuple[BlockDevice, ...]) -> BlockDevice | None:
    return next((disk for disk in disks if name == disk.path or name in disk.links), None)


def _children(disk: BlockDevice, disks: tuple[BlockDevice, ...]) -> list[BlockDevice]:
    found = [each for each in disks if each.parent == disk.path]
    return sorted(found, key=lambda each: each.number or 0)


def _partition(item: Partition, disks: tuple[BlockDevice, ...]) -> MakePartitions | Refuse | None:
    disk = _find(item.device, disks)
    if disk is None:
        return Refuse(item.device, "there is no such device")
    children = _children(disk, disks)
    if reason := next(_never(disk, disks), None):
        return Refuse(item.device, reason)
    if disk.parent is not None:
        return Refuse(item.device, f"it is a partition of {disk.parent}; name a whole disk")
    if disk.kind == "gpt" and _are_as_wanted(item.shares, children, disk.size):
        return None
    reasons = [*_too_small(item, disk), *_not_now(disk, children, overwrite=item.overwrite)]
    if reasons:
        return Refuse(item.device, reasons[0])
    return MakePartitions(disk.path, item.shares, wipe=not _is_empty(disk, children))


def _too_small(item: Partition, disk: BlockDevice) -> Iterator[str]:
    least = min(share.percent for share in item.shares)
    if disk.size * least // 100 < _SMALLEST:
        yield f"{least} percent of it is less than the {_SMALLEST >> 20} MiB of a partition"


def _file_system(item: MakeFileSystem, disks: tuple[BlockDevice, ...]) -> Format | Refuse | None:
    device = _find(item.device, disks)
    if device is None:
        return Refuse(item.device, "there is no such device")
    if reason := next(_never(device, disks), None):
        return Refuse(item.device, reason)
    if _children(device, disks):
        return Refuse(item.device, "it has partitions; name one, such as `partition: 1`")
    if device.kind == item.kind and item.label in ("", device.label):
        return None
    if reason := next(_not_now(device, [], overwrite=item.overwrite), None):
        return Refuse(item.device, reason)
    return Format(device.path, item.kind, item.label, wipe=not _is_empty(device, []))


def _never(device: BlockDevice, disks: tuple[BlockDevice, ...]) -> Iterator[str]:
    """Why a device may not be touched, whatever a document says."""
    disk = _find(device.parent, disks) if device.parent else device
    family = [device, *([disk, *_children(disk, disks)] if disk else [])]
    if any((each.partition_label or "").startswith(_OWN) for each in family):
        yield "the host runs from this disk"
    if device.read_only:
        yield "it is read-only"


def _not_now(device: BlockDevice, children: list[BlockDevice], *, overwrite: bool) -> Iterator[str]:
    """Why a device may not be touched as it is."""
    for each in (device, *children):
        if each.in_use:
            yield f"{each.path} is in use"
    if not device.probed:
        yield "udev has not looked at it yet, so nobody knows what it holds"
    if not overwrite and not _is_empty(device, children):
        yield f"{_holds(device, children)}; with overwrite: true all of it goes"


def _is_empty(device: BlockDevice, children: list[BlockDevice]) -> bool:
    return device.probed and device.kind is None and device.blank and not children


def _holds(device: BlockDevice, children: list[BlockDevice]) -> str:
    if children:
        table = device.kind or "unknown"
        return f"it has a partition table ({table}) with {len(children)} partitions"
    if device.kind is not None:
        label = f" called {device.label}" if device.label else ""
        return f"it holds {device.kind}{label}"
    return "it holds data of an unknown kind"


def _are_as_wanted(shares: tuple[Share, ...], children: list[BlockDevice], size: int) -> bool:
    if len(shares) != len(children):
        return False
    return all(
        abs(child.size - size * share.percent // 100) <= max(_SLACK, size // 100)
        for share, child in zip(shares, children, strict=True)
    )
