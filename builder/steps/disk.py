"""The disk: UKI, systemd-boot and both halves of slot A in a GPT image (systemd-repart(8))."""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.run import Sandbox
from builder.steps.seal import Seal, stable_uuid

_TRIES = 3
_BOOT_LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"


def make_uki(
    tools: Sandbox,
    *,
    kernel: Path,
    kernel_release: str,
    initrd: Path,
    os_release: Path,
    command_line: Sequence[str],
    output: Path,
) -> None:
    """Join kernel, initrd and command line into one PE file (ukify(1))."""
    tools.run(
        ["ukify", "build", f"--linux={kernel}", f"--initrd={initrd}", f"--uname={kernel_release}"]
        + [f"--os-release=@{os_release}", f"--cmdline={' '.join(command_line)}"]
        + [f"--output={output}"]
    )


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the partitions in bytes; slots have head-room for releases to come."""

    esp: int
    root: int
    verity: int


@dataclass(frozen=True, slots=True)
class SlotFiles:
    """What slot A and the ESP are filled with."""

    root: Path
    verity: Path
    uki: Path


def slot_uuids(root_hash: str) -> tuple[str, str]:
    """The PARTUUIDs of a slot's root and verity partition: the two halves of the root hash.

    Discoverable Partitions Specification; systemd-veritysetup-generator(8), roothash=.
    """
    return str(uuid.UUID(root_hash[:32])), str(uuid.UUID(root_hash[32:]))


def make_disk(
    work: Path,
    disk: Path,
    tools: Sandbox,
    *,
    label: str,
    files: SlotFiles,
    seal: Seal,
    sizes: Sizes,
    epoch: int,
) -> None:
    """Assemble the shipped image: ESP, root A and verity A; the first boot adds the rest."""
    esp, definitions = work / "esp", work / "repart.d"
    for folder in ("EFI/BOOT", "EFI/Linux", "loader"):
        (esp / folder).mkdir(parents=True)
    loader = tools.tree / _BOOT_LOADER
    (esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(loader.read_bytes())
    (esp / f"EFI/Linux/{label}+{_TRIES}.efi").write_bytes(files.uki.read_bytes())
    (esp / "loader/loader.conf").write_text("timeout 0\neditor no\nauto-firmware no\n")
    for path in (esp, *esp.rglob("*")):
        os.utime(path, (epoch, epoch))  # which FAT's directories say too
    definitions.mkdir()
    root_uuid, verity_uuid = slot_uuids(seal.root_hash)
    for name, lines in {
        "10-esp": ["Type=esp", "Format=vfat", f"CopyFiles={esp}:/", *_exact(sizes.esp)],
        "20-root": ["Type=root-x86-64", f"UUID={root_uuid}", f"Label={label}"]
        + [f"CopyBlocks={files.root}", *_exact(sizes.root)],
        "21-verity": ["Type=root-x86-64-verity", f"UUID={verity_uuid}", f"Label={label}"]
        + [f"CopyBlocks={files.verity}", *_exact(sizes.verity)],
    }.items():
        (definitions / f"{name}.conf").write_text("\n".join(["[Partition]", *lines, ""]))
    disk.unlink(missing_ok=True)
    dated = replace(tools, env={**tools.env, "SOURCE_DATE_EPOCH": str(epoch)})
    dated.run(
        ["systemd-repart", "--empty=create", "--size=auto", "--offline=yes", "--dry-run=no"]
        + [f"--definitions={definitions}", f"--seed={stable_uuid(label)}", str(disk)]
    )


def make_qcow2(raw: Path, qcow2: Path, tools: Sandbox) -> None:
    """Pack a raw disk into a compressed qcow2 (qemu-img(1))."""
    tools.run(
        ["qemu-img", "convert", "-q", "-c", "-O", "qcow2"]
        + ["-o", "compression_type=zstd", str(raw), str(qcow2)]
    )


def _exact(size: int) -> list[str]:
    return [f"SizeMinBytes={size}", f"SizeMaxBytes={size}"]
