from configparser import ConfigParser
from pathlib import Path

import pytest

from build_kit import Tools, plant
from builder.steps.disk import Sizes, SlotFiles, make_disk, make_uki, slot_uuids
from builder.steps.seal import SALT, Seal, SealError, seal, stable_uuid

ROOT_HASH = "0123456789abcdef0123456789abcdef" + "f" * 32
MIB = 1 << 20


def tool_tree(folder: Path) -> Tools:
    plant(folder, {"usr/lib/systemd/boot/efi/systemd-bootx64.efi": "the boot loader"})
    return Tools(folder, env={"LANG": "C"})


def test_a_slots_uuids_are_the_halves_of_its_root_hash() -> None:
    assert slot_uuids(ROOT_HASH) == (
        "01234567-89ab-cdef-0123-456789abcdef",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    )


def test_the_kernel_is_told_the_root_hash_and_nothing_twice(tmp_path: Path) -> None:
    tools = tool_tree(tmp_path)
    make_uki(
        tools,
        kernel=Path("/w/vmlinuz"),
        kernel_release="6.12",
        initrd=Path("/w/initrd.zst"),
        os_release=Path("/w/os-release"),
        command_line=["quiet", f"roothash={ROOT_HASH}"],
        output=Path("/w/bedplate.efi"),
    )
    [command] = tools.asked
    assert command[:2] == ["ukify", "build"]
    assert f"--cmdline=quiet roothash={ROOT_HASH}" in command
    assert "--os-release=@/w/os-release" in command
    assert "--output=/w/bedplate.efi" in command


def test_the_disk_has_an_esp_and_slot_a(tmp_path: Path) -> None:
    work = plant(tmp_path / "work", {"uki": "the kernel", "disk.raw": "an old one"})
    tools = tool_tree(tmp_path / "tools")
    make_disk(
        work,
        work / "disk.raw",
        tools,
        label="bedplate_7",
        files=SlotFiles(work / "root", work / "verity", work / "uki"),
        seal=Seal(ROOT_HASH, 5),
        sizes=Sizes(512 * MIB, 1024 * MIB, 16 * MIB),
        epoch=1700000000,
    )
    esp = work / "esp"
    assert (esp / "EFI/BOOT/BOOTX64.EFI").read_text() == "the boot loader"
    assert (esp / "EFI/Linux/bedplate_7+3.efi").read_text() == "the kernel"
    assert "timeout 0\n" in (esp / "loader/loader.conf").read_text()
    assert not (work / "disk.raw").exists()
    definitions = sorted((work / "repart.d").iterdir())
    assert [path.name for path in definitions] == ["10-esp.conf", "20-root.conf", "21-verity.conf"]
    found = []
    for path in definitions:
        parser = ConfigParser(interpolation=None, delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign] # as its own docs say
        parser.read(path)
        found.append(dict(parser["Partition"]))
    root_uuid, verity_uuid = slot_uuids(ROOT_HASH)
    assert found == [
        {"Type": "esp", "Format": "vfat", "CopyFiles": f"{esp}:/", **exactly(512 * MIB)},
        {
            "Type": "root-x86-64",
            "UUID": root_uuid,
            "Label": "bedplate_7",
            "CopyBlocks": str(work / "root"),
            **exactly(1024 * MIB),
        },
        {
            "Type": "root-x86-64-verity",
            "UUID": verity_uuid,
            "Label": "bedplate_7",
            "CopyBlocks": str(work / "verity"),
            **exactly(16 * MIB),
        },
    ]
    [command] = tools.asked
    assert command[0] == "systemd-repart"
    assert f"--seed={stable_uuid('bedplate_7')}" in command


def exactly(size: int) -> dict[str, str]:
    return {"SizeMinBytes": str(size), "SizeMaxBytes": str(size)}


def sealing(said: str) -> Tools:
    return Tools(
        Path("/nowhere"), answer=lambda command: said if command[0] != "mkfs.erofs" else ""
    )


def test_a_seal_is_the_hash_that_veritysetup_prints(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.write_bytes(bytes(5 * 4096))
    tools = sealing(
        f"VERITY header information\nSalt:            \t{SALT}\nRoot hash:      \t{ROOT_HASH}\n"
    )
    made = seal(tmp_path, root, tmp_path / "verity", tools, name="bedplate", epoch=7)
    assert made == Seal(ROOT_HASH, 5)
    erofs, verity = tools.asked
    # What a byte of the image could depend on besides the tree is fixed.
    assert {"--all-root", "-T7", f"-U{stable_uuid('bedplate')}", "-b4096"} <= set(erofs)
    assert {f"--salt={SALT}", f"--uuid={stable_uuid('bedplate verity')}"} <= set(verity)


def test_no_root_hash_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="veritysetup printed no root hash"):
        seal(tmp_path, tmp_path / "r", tmp_path / "v", sealing("hello"), name="x", epoch=7)


def test_stable_uuids_depend_on_the_name_alone() -> None:
    assert stable_uuid("bedplate") == "cf1c7d45-239f-55bf-8df1-389926e069a1"
    assert stable_uuid("bedplate") != stable_uuid("bedplate verity")
