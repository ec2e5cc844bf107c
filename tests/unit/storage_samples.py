"""Images, trees, releases and disks for the tests of the storage side."""

import hashlib
import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import UUID

from updater import wire
from updater.manifest import Architecture, Artefact, ReleaseManifest, Root
from updater.slots import EMPTY_LABEL, ESP, ROOT, ROOT_VERITY, Layout, Partition, Slot
from updater.version import Version

BLOCK = 4096


def build_tree(image: bytes, salt: bytes) -> tuple[bytes, str]:
    """The hash device that `veritysetup format` writes for `image`, and the root hash."""

    def digest(block: bytes) -> bytes:
        return hashlib.sha256(salt + block).digest()

    def blocks(data: bytes) -> list[bytes]:
        return [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]

    levels: list[bytes] = []
    below = image
    while not levels or len(below) > BLOCK:
        digests = b"".join(digest(block) for block in blocks(below))
        below = digests + bytes(-len(digests) % BLOCK)
        levels.insert(0, below)
    superblock = struct.pack(
        "<8sII16s32sIIQH6x256s168x",
        *(b"verity\0\0", 1, 1, bytes(range(16)), b"sha256", BLOCK, BLOCK),
        *(len(image) // BLOCK, len(salt), salt),
    )
    return superblock.ljust(BLOCK, b"\0") + b"".join(levels), digest(levels[0]).hex()


@cache
def noise(number: int) -> bytes:
    """A block that looks random; the same number gives the same block, and 0 gives zeros."""
    if number == 0:
        return bytes(BLOCK)
    return b"".join(
        hashlib.sha256(f"{number}/{part}".encode()).digest() for part in range(BLOCK // 32)
    )


def image_of(numbers: list[int]) -> bytes:
    return b"".join(noise(number) for number in numbers)


@dataclass(frozen=True, slots=True)
class Release:
    manifest: ReleaseManifest
    files: dict[str, bytes]
    image: bytes
    tree: bytes


def artefact(path: str, data: bytes) -> Artefact:
    return Artefact(path, hashlib.sha256(data).hexdigest(), len(data))


def make_release(
    folder: Path, image: bytes, *, salt: bytes = b"salt", chunk_blocks: int = 4, version: str = "2"
) -> Release:
    source, packed, index = folder / "image", folder / "packed", folder / "index"
    source.write_bytes(image)
    wire.encode(source, packed, index, chunk_blocks=chunk_blocks, level=1, threads=1)
    tree, root_hash = build_tree(image, salt)
    files = {
        "root.verity": tree,
        "root.index": index.read_bytes(),
        "root.wire": packed.read_bytes(),
        "bedplate.efi": b"a kernel",
    }
    manifest = ReleaseManifest(
        image="bedplate",
        version=Version.parse(version),
        architecture=Architecture.X86_64,
        built=datetime(2026, 11, 22, tzinfo=UTC),
        minimum_version=Version.parse("1"),
        root=Root(root_hash, salt.hex(), BLOCK, len(image) // BLOCK, chunk_blocks),
        tree=artefact("root.verity", files["root.verity"]),
        index=artefact("root.index", files["root.index"]),
        wire=artefact("root.wire", files["root.wire"]),
        uki=artefact("bedplate.efi", files["bedplate.efi"]),
    )
    return Release(manifest, files, image, tree)


def make_layout(
    folder: Path, running: bytes, running_salt: bytes, inactive: bytes, inactive_verity: bytes
) -> Layout:
    """Slots that are plain files."""

    def partition(number: int, name: str, data: bytes) -> Partition:
        path = folder / name
        path.write_bytes(data)
        return Partition(number, path, 0, len(data), EMPTY_LABEL, UUID(int=number))

    tree, root_hash = build_tree(running, running_salt)
    return Layout(
        disk=folder / "disk",
        root_hash=root_hash,
        active=Slot(partition(2, "root-a", running), partition(3, "verity-a", tree + bytes(BLOCK))),
        inactive=Slot(partition(4, "root-b", inactive), partition(5, "verity-b", inactive_verity)),
        esp=partition(1, "esp", b"x"),
    )


def disk_image(
    root_hash: str, *, sector: int = 512, kinds: tuple[UUID, ...] | None = None
) -> bytes:
    """A small GPT disk as the image builder makes it; slot A has the root hash."""
    count = 128
    array_sectors = count * 128 // sector
    kinds = kinds or (ESP, ROOT, ROOT_VERITY, ROOT, ROOT_VERITY)
    uniques = [UUID(int=number + 1) for number in range(len(kinds))]
    uniques[1:3] = [UUID(hex=root_hash[:32]), UUID(hex=root_hash[-32:])]
    labels = ["esp", "bedplate_1", "bedplate_1", EMPTY_LABEL, EMPTY_LABEL]
    first_usable = 2 + array_sectors
    array = b""
    for number, kind in enumerate(kinds):
        start = first_usable + 16 * number
        label = labels[number] if number < len(labels) else "more"
        array += struct.pack(
            "<16s16sQQQ72s",
            *(kind.bytes_le, uniques[number].bytes_le, start, start + 15, 0x40 | number),
            label.encode("utf-16-le"),
        )
    array = array.ljust(count * 128, b"\0")
    last_usable = first_usable + 16 * len(kinds) + 7
    end = last_usable + array_sectors + 1

    def header(mine: int, other: int, entries: int) -> bytes:
        def pack(crc: int) -> bytes:
            return struct.pack(
                "<8sIIIIQQQQ16sQIII",
                *(b"EFI PART", 0x10000, 92, crc, 0, mine, other, first_usable, last_usable),
                *(UUID(int=99).bytes_le, entries, count, 128, zlib.crc32(array)),
            )

        return pack(zlib.crc32(pack(0))).ljust(sector, b"\0")

    return (
        bytes(sector)
        + header(1, end, 2)
        + array
        + b"\xaa" * ((last_usable + 1 - first_usable) * sector)
        + array
        + header(end, 1, last_usable + 1)
    )
