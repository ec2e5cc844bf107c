"""GPT partition tables, read and rewritten so that a power cut always leaves a valid one.

Source: UEFI specification 2.10, section 5.3. Only names and unique GUIDs are changed here, and one
entry is taken out (see `wipe`); partitions never move. Sectors are the disk's logical ones, "LBA"
counts them.
"""

import fcntl
import itertools
import os
import struct
import zlib
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from uuid import UUID

from updater.errors import BedplateError

# UEFI 2.10, table 5.5: signature, revision, header size, CRC, reserved, MyLBA, AlternateLBA,
# FirstUsableLBA, LastUsableLBA, DiskGUID, PartitionEntryLBA, entries, entry size, entries' CRC
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_SIGNATURE = b"EFI PART"
_REVISION = 0x00010000
# Table 5.6: type, unique, first LBA, last LBA, attributes, name in UTF-16LE
_ENTRY = struct.Struct("<16s16sQQQ72s")
_MAXIMUM_ENTRIES = 1024
_SECTOR_SIZES = (512, 4096)
_UNUSED = UUID(int=0)


class GptError(BedplateError):
    """A disk has no valid partition table, or a change to it is impossible."""


class Copy(Enum):
    """The two copies of a table: at the start of the disk, and at its end."""

    PRIMARY = "primary"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class Entry:
    """A used entry; `number` counts from 1, as in /dev/vda1. LBAs are inclusive."""

    number: int
    type: UUID
    unique: UUID
    first: int
    last: int
    label: str


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes to be put at an offset of the disk."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a copy is: the LBA of its header and of its first entry."""

    header: int
    entries: int


@dataclass(frozen=True, slots=True)
class Table:
    """A valid table. `damaged` is the copy that was found invalid, if one was."""

    sector: int
    disk: UUID
    first_usable: int
    last_usable: int
    primary: Place
    backup: Place
    array: bytes
    damaged: Copy | None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The used entries, in order of their numbers."""
        found = []
        for number, fields in enumerate(_ENTRY.iter_unpack(self.array), 1):
            kind, unique, first, last, _, name = fields
            if kind != _UNUSED.bytes:
                label = name.decode("utf-16-le", "replace").split("\0", 1)[0]
                found.append(
                    Entry(number, UUID(bytes_le=kind), UUID(bytes_le=unique), first, last, label)
                )
        return tuple(found)

    def replace(self, number: int, *, label: str, unique: UUID) -> "Table":
        """The same table with another name and unique GUID for a used entry.

        Raises:
            GptError: no such entry, or a label of more than 36 UTF-16 units.
        """
        if all(entry.number != number for entry in self.entries):
            raise GptError(f"partition {number} is not in the table")
        name = label.encode("utf-16-le")
        if len(name) > 72:
            raise GptError(f"partition label {label!r} is longer than the 36 characters of GPT")
        at = (number - 1) * _ENTRY.size
        kind, _, first, last, attributes, _ = _ENTRY.unpack_from(self.array, at)
        entry = _ENTRY.pack(kind, unique.bytes_le, first, last, attributes, name)
        return replace(self, array=self.array[:at] + entry + self.array[at + _ENTRY.size :])

    def without(self, number: int) -> "Table":
        """The same table with an entry unused; its partition's bytes stay where they are.

        Raises:
            GptError: no such entry.
        """
        if all(entry.number != number for entry in self.entries):
            raise GptError(f"partition {number} is not in the table")
        at = (number - 1) * _ENTRY.size
        unused = bytes(_ENTRY.size)
        return replace(self, array=self.array[:at] + unused + self.array[at + _ENTRY.size :])


def _sectors(length: int, sector: int) -> int:
    return -(-length // sector)


class _Disk:
    """Reads of an open disk, bounded by its size (a device or a file)."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name
        self.size = os.lseek(descriptor, 0, os.SEEK_END)

    def at(self, lba: int, length: int, sector: int) -> bytes:
        data = os.pread(self.descriptor, length, lba * sector)
        if len(data) != length:
            raise GptError(f"{self.name}: sector {lba} is past the end of the disk")
        return data


def _copy(disk: _Disk, sector: int, lba: int) -> Table:
    """The table whose header is at `lba`; the other copy's entries are given their usual place."""
    raw = disk.at(lba, sector, sector)
    signature, revision, size, crc, reserved, mine, other, *rest = _HEADER.unpack_from(raw)
    first, last, guid, entries, count, entry_size, array_crc = rest
    where = f"{disk.name}: partition table at sector {lba}"
    if signature != _SIGNATURE or revision != _REVISION or not _HEADER.size <= size <= sector:
        raise GptError(f"{where}: no GPT header")
    if zlib.crc32(raw[:16] + bytes(4) + raw[20:size]) != crc or reserved or mine != lba:
        raise GptError(f"{where}: the header's checksum or place is wrong")
    if entry_size != _ENTRY.size or not 1 <= count <= _MAXIMUM_ENTRIES:
        raise GptError(f"{where}: {count} entries of {entry_size} bytes, expected 128 of 128")
    array = disk.at(entries, count * entry_size, sector)
    if zlib.crc32(array) != array_crc:
        raise GptError(f"{where}: the entries' checksum is wrong")
    length = _sectors(len(array), sector)
    if lba == 1:
        primary, backup = Place(1, entries), Place(other, other - length)
    else:
        primary, backup = Place(other, 2), Place(lba, entries)
    table = Table(sector, UUID(bytes_le=guid), first, last, primary, backup, array, damaged=None)
    _check(table, disk.size // sector, where)
    return table


def _check(table: Table, sectors: int, where: str) -> None:
    """Nothing overlaps: header, entries, the partitions, entries, header."""
    length = _sectors(len(table.array), table.sector)
    extents = [
        (table.primary.header, table.primary.header),
        (table.primary.entries, table.primary.entries + length - 1),
        *sorted((entry.first, entry.last) for entry in table.entries),
        (table.backup.entries, table.backup.entries + length - 1),
        (table.backup.header, table.backup.header),
    ]
    apart = all(before[1] < after[0] for before, after in itertools.pairwise(extents))
    usable = all(
        table.first_usable <= entry.first <= entry.last <= table.last_usable
        for entry in table.entries
    )
    if not (apart and usable) or table.primary.header != 1 or table.backup.header >= sectors:
        raise GptError(f"{where}: its parts overlap or are past the end of the disk")


def _attempt(disk: _Disk, sector: int, lba: int) -> Table | GptError:
    try:
        return _copy(disk, sector, lba)
    except GptError as error:
        return error


def _read(disk: _Disk) -> Table:
    problems: list[str] = []
    for sector in _SECTOR_SIZES:
        end = disk.size // sector - 1
        if end < 2:
            continue
        primary = _attempt(disk, sector, 1)
        backup = _attempt(
            disk, sector, primary.backup.header if isinstance(primary, Table) else end
        )
        if isinstance(primary, Table):
            if isinstance(backup, Table):
                return replace(primary, backup=backup.backup)
            return replace(primary, damaged=Copy.BACKUP)
        if isinstance(backup, Table):
            return replace(backup, damaged=Copy.PRIMARY)
        problems += [str(primary), str(backup)]
    raise GptError(
        f"{disk.name}: no valid partition table: "
        + "; ".join(problems or ["the disk is too small"])
    )


def _forget(descriptor: int) -> None:
    """Drop the disk's cached pages.

    They can be older than what was written through a partition, which has a cache of its own; and
    the kernel writes back more than the sectors that we change.
    """
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def read(device: Path) -> Table:
    """The table of a disk (a device or an image file): the primary copy, else the backup.

    Raises:
        GptError: neither copy is valid; the message says why.
        OSError: the disk cannot be read.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _forget(descriptor)
        return _read(_Disk(descriptor, str(device)))
    finally:
        os.close(descriptor)


def _render(table: Table, copy: Copy) -> list[Write]:
    mine, other = (
        (table.primary, table.backup) if copy is Copy.PRIMARY else (table.backup, table.primary)
    )

    def header(crc: int) -> bytes:
        return _HEADER.pack(
            *(_SIGNATURE, _REVISION, _HEADER.size, crc, 0, mine.header, other.header),
            *(table.first_usable, table.last_usable, table.disk.bytes_le, mine.entries),
            *(len(table.array) // _ENTRY.size, _ENTRY.size, zlib.crc32(table.array)),
        )

    whole = header(zlib.crc32(header(0))).ljust(table.sector, b"\0")
    padded = table.array.ljust(_sectors(len(table.array), table.sector) * table.sector, b"\0")
    return [
        Write(mine.entries * table.sector, padded),
        Write(mine.header * table.sector, whole),
    ]


def plan_writes(table: Table) -> list[list[Write]]:
    """What to write, in two batches: the second only once the first is on stable storage.

    The backup comes first, because firmware and kernel look at the primary first; but when just
    one copy is valid, the damaged one comes first, so that a valid one is there at every instant.
    Linux uses the backup only with `gpt` on its command line (kernel-parameters.txt), unless the
    firmware repairs the primary before it.
    """
    order = [Copy.BACKUP, Copy.PRIMARY]
    if table.damaged is Copy.PRIMARY:
        order.reverse()
    return [_render(table, copy) for copy in order]


def write(device: Path, table: Table) -> None:
    """Put `table`, made from what `read` gave for the same disk, on it; safe against power cuts.

    Raises:
        OSError: the disk cannot be written; at least one copy is valid still.
    """
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        # udev and the kernel stay away from a locked disk (systemd.io/BLOCK_DEVICE_LOCKING).
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _forget(descriptor)
        for batch in plan_writes(table):
            for item in batch:
                if os.pwrite(descriptor, item.data, item.offset) != len(item.data):
                    raise GptError(f"{device}: short write at byte {item.offset}")
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
