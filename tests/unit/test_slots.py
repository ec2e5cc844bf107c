from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from storage_samples import disk_image
from updater import gpt, slots
from updater.slots import EMPTY_LABEL, ESP, ROOT, ROOT_VERITY, SlotError
from updater.version import Version

HASH = "0123456789abcdef" * 2 + "fedcba9876543210" * 2
OTHER = "ab" * 32


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "vda"
    path.write_bytes(disk_image(HASH))
    return path


def test_the_running_slot_is_told_by_its_root_hash(disk: Path) -> None:
    layout = slots.observe(disk, HASH)
    assert layout.esp.path == disk.with_name("vda1")
    assert (layout.active.root.number, layout.active.verity.number) == (2, 3)
    assert (layout.inactive.root.number, layout.inactive.verity.number) == (4, 5)
    assert layout.active.version == Version.parse("1")
    assert layout.inactive.version is None
    assert layout.inactive.root.size == 16 * 512
    assert layout.inactive.root.start == (34 + 3 * 16) * 512


def test_naming_and_unnaming_swap_the_slots(disk: Path) -> None:
    layout = slots.observe(disk, HASH)
    slots.name(disk, layout.inactive, Version.parse("2"), OTHER)
    after = slots.observe(disk, OTHER)
    assert after.active.root.number == 4
    assert after.active.version == Version.parse("2")
    assert after.inactive == layout.active
    assert slots.observe(disk, HASH).active == layout.active
    slots.unname(disk, after.inactive)
    with pytest.raises(SlotError, match="0 slots have the running root hash"):
        slots.observe(disk, HASH)
    empty = slots.observe(disk, OTHER).inactive
    assert (empty.root.label, empty.verity.label) == (EMPTY_LABEL, EMPTY_LABEL)
    assert empty.version is None
    assert empty.root.unique != layout.active.root.unique


def test_unnaming_an_empty_slot_writes_nothing(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: Path, table: gpt.Table) -> None:
        raise AssertionError((device, table))

    layout = slots.observe(disk, HASH)
    monkeypatch.setattr(gpt, "write", refuse)
    slots.unname(disk, layout.inactive)


def test_unnaming_an_empty_slot_still_repairs_a_damaged_table(disk: Path) -> None:
    layout = slots.observe(disk, HASH)
    disk.write_bytes(disk.read_bytes()[:-512] + bytes(512))
    slots.unname(disk, layout.inactive)
    assert gpt.read(disk).damaged is None


def test_a_root_hash_is_never_given_to_two_slots(disk: Path) -> None:
    layout = slots.observe(disk, HASH)
    before = disk.read_bytes()
    with pytest.raises(SlotError, match="another slot has the root hash"):
        slots.name(disk, layout.inactive, Version.parse("1"), HASH)
    assert disk.read_bytes() == before


def test_a_slot_that_moved_is_not_renamed(disk: Path) -> None:
    layout = slots.observe(disk, HASH)
    disk.write_bytes(disk_image(HASH, kinds=(ROOT, ROOT, ROOT_VERITY, ESP, ROOT_VERITY)))
    with pytest.raises(SlotError, match="partition 4 is not what it was"):
        slots.name(disk, layout.inactive, Version.parse("2"), OTHER)
    disk.write_bytes(disk_image(HASH))
    verity = replace(layout.inactive.verity, start=layout.inactive.verity.start + 512)
    with pytest.raises(SlotError, match="partition 5 is not what it was"):
        slots.unname(disk, replace(layout.inactive, verity=verity))


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        ((ESP, ROOT, ROOT_VERITY), "1 root partitions, expected 2"),
        ((ESP, ROOT, ROOT_VERITY, ROOT), "1 root-verity partitions, expected 2"),
        ((ROOT, ROOT, ROOT_VERITY, ROOT_VERITY), "0 EFI system"),
        ((ESP, ROOT, ROOT_VERITY, ROOT, ROOT_VERITY, ROOT), "3 root partitions"),
    ],
)
def test_other_disks_are_refused(disk: Path, kinds: tuple[UUID, ...], reason: str) -> None:
    disk.write_bytes(disk_image(HASH, kinds=kinds))
    with pytest.raises(SlotError, match=reason):
        slots.observe(disk, HASH)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vda", "vda3"), ("nvme0n1", "nvme0n1p3"), ("sda", "sda3"), ("mmcblk0", "mmcblk0p3")],
)
def test_partition_names(name: str, expected: str) -> None:
    assert slots.partition_path(Path("/dev", name), 3) == Path("/dev", expected)


def test_the_disk_is_found_by_the_root_hash(tmp_path: Path) -> None:
    devices, system = tmp_path / "dev", tmp_path / "sys"
    links = devices / "disk/by-partuuid"
    folder = system / "devices/pci/block/nvme0n1/nvme0n1p2"
    for made in (links, folder, system / "class/block"):
        made.mkdir(parents=True)
    (devices / "nvme0n1p2").touch()
    (system / "class/block/nvme0n1p2").symlink_to(folder)
    with pytest.raises(SlotError, match="running root partition is not there"):
        slots.find_disk(HASH, devices, system)
    (links / "01234567-89ab-cdef-0123-456789abcdef").symlink_to("../../nvme0n1p2")
    with pytest.raises(SlotError, match="no partition of a disk"):
        slots.find_disk(HASH, devices, system)
    (folder / "partition").write_text("2\n")
    assert slots.find_disk(HASH, devices, system) == devices / "nvme0n1"
