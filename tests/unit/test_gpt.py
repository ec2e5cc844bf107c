from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_samples import disk_image
from updater import gpt
from updater.gpt import Copy, GptError, Table

HASH = "0123456789abcdef" * 4
NEW = UUID(int=4242)


@pytest.fixture(params=[512, 4096])
def sector(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    return size


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def parse(folder: Path, data: bytes) -> Table:
    return gpt.read(put(folder / "disk", data))


def changed(table: Table) -> Table:
    return table.replace(4, label="bedplate_2", unique=NEW).replace(
        5, label="bedplate_2", unique=UUID(int=4343)
    )


def cuts(data: bytes, batches: list[list[gpt.Write]], sector: int) -> Iterator[bytes]:
    """The disk after each whole sector of each write, in order."""
    disk = bytearray(data)
    yield bytes(disk)
    for batch in batches:
        for write in batch:
            for at in range(0, len(write.data), sector):
                piece = write.data[at : at + sector]
                disk[write.offset + at : write.offset + at + len(piece)] = piece
                yield bytes(disk)


def test_a_table_is_read(tmp_path: Path, sector: int) -> None:
    table = parse(tmp_path, disk_image(HASH, sector=sector))
    assert (table.sector, table.damaged) == (sector, None)
    assert [entry.number for entry in table.entries] == [1, 2, 3, 4, 5]
    assert [entry.label for entry in table.entries] == [
        *("esp", "bedplate_1", "bedplate_1", "_empty", "_empty")
    ]
    assert table.entries[1].unique == UUID("01234567-89ab-cdef-0123-456789abcdef")


def test_replace_changes_one_entry_and_keeps_its_attributes(tmp_path: Path) -> None:
    table = parse(tmp_path, disk_image(HASH))
    after = table.replace(4, label="bedplate_2", unique=NEW)
    old, new = table.entries, after.entries
    assert new[3] == replace(old[3], label="bedplate_2", unique=NEW)
    assert new[:3] + new[4:] == old[:3] + old[4:]
    assert after.array[3 * 128 + 48 : 3 * 128 + 56] == table.array[3 * 128 + 48 : 3 * 128 + 56]
    assert table.replace(4, label="x" * 36, unique=NEW).entries[3].label == "x" * 36
    with pytest.raises(GptError, match="36 characters"):
        table.replace(4, label="x" * 37, unique=NEW)
    with pytest.raises(GptError, match="partition 6"):
        table.replace(6, label="x", unique=NEW)


def test_writing_changes_both_copies_and_nothing_between(tmp_path: Path, sector: int) -> None:
    before = disk_image(HASH, sector=sector)
    device = put(tmp_path / "disk", before)
    table = changed(gpt.read(device))
    gpt.write(device, table)
    after = device.read_bytes()
    assert gpt.read(device) == table
    usable = slice(table.first_usable * sector, (table.last_usable + 1) * sector)
    assert after[usable] == before[usable]
    assert len(after) == len(before)
    primary_gone = after[:sector] + bytes(sector) + after[2 * sector :]
    assert gpt.read(put(device, primary_gone)) == replace(table, damaged=Copy.PRIMARY)
    backup_gone = after[:-sector] + bytes(sector)
    assert gpt.read(put(device, backup_gone)) == replace(table, damaged=Copy.BACKUP)


def damage(data: bytes, copy: Copy | None, sector: int) -> bytes:
    if copy is Copy.PRIMARY:
        return data[: 2 * sector] + b"\xff" + data[2 * sector + 1 :]
    if copy is Copy.BACKUP:
        return data[:-sector] + bytes(sector)
    return data


@pytest.mark.parametrize("copy", [None, Copy.PRIMARY, Copy.BACKUP])
def test_a_cut_at_any_sector_leaves_the_old_table_or_the_new(
    tmp_path: Path, sector: int, copy: Copy | None
) -> None:
    data = damage(disk_image(HASH, sector=sector), copy, sector)
    old = parse(tmp_path, data)
    assert old.damaged is copy
    new = changed(old)
    seen = []
    for number, disk in enumerate(cuts(data, gpt.plan_writes(new), sector)):
        found = parse(tmp_path, disk)
        assert found.entries in (old.entries, new.entries)
        seen.append(found.entries == new.entries)
        if number % 11:
            continue
        # The repair of what the cut left behind can be cut as well.
        again = list(cuts(disk, gpt.plan_writes(changed(found)), sector))
        for second in again[:: max(1, len(again) // 9)]:
            assert parse(tmp_path, second).entries in (old.entries, new.entries)
        assert parse(tmp_path, again[-1]) == replace(new, damaged=None)
    assert seen == sorted(seen)
    assert seen[-1]
    assert len(seen) == 1 + 2 * (1 + 128 * 128 // sector)


@given(st.data())
def test_sectors_of_a_batch_may_reach_the_disk_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    copy = data.draw(st.sampled_from([None, Copy.PRIMARY, Copy.BACKUP]))
    disk = bytearray(damage(disk_image(HASH), copy, 512))
    old = parse(folder, bytes(disk))
    new = changed(old)
    batches = gpt.plan_writes(new)
    cut_in = data.draw(st.integers(0, 1))
    for number, batch in enumerate(batches[: cut_in + 1]):
        pieces = [
            (write.offset + at, write.data[at : at + 512])
            for write in batch
            for at in range(0, len(write.data), 512)
        ]
        arrived = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
        for (offset, piece), there in zip(pieces, arrived, strict=True):
            if there or number < cut_in:
                disk[offset : offset + 512] = piece
    assert parse(folder, bytes(disk)).entries in (old.entries, new.entries)


@given(st.data())
def test_no_flipped_byte_of_the_primary_gives_another_table(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    disk = bytearray(disk_image(HASH))
    old = parse(folder, bytes(disk))
    at = data.draw(st.integers(512, 512 + 91) | st.integers(1024, 1024 + 16383))
    disk[at] ^= data.draw(st.integers(1, 255))
    assert parse(folder, bytes(disk)) == replace(old, damaged=Copy.PRIMARY)


def test_a_disk_without_a_table_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"x" * 100, bytes(1 << 20), disk_image(HASH)[:-512][:9000]):
        with pytest.raises(GptError, match="no valid partition table"):
            parse(tmp_path, data)


def test_overlapping_partitions_are_refused(tmp_path: Path) -> None:
    table = parse(tmp_path, disk_image(HASH))
    entry = bytearray(table.array[128:256])
    entry[32:40] = (table.entries[0].last).to_bytes(8, "little")
    bad = replace(table, array=table.array[:128] + bytes(entry) + table.array[256:])
    device = put(tmp_path / "disk", disk_image(HASH))
    gpt.write(device, bad)
    with pytest.raises(GptError, match="overlap"):
        gpt.read(device)
