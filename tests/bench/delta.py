"""Bytes that a host needs to get from one root image to the next, by our plan and by others'.

For all of them the inactive slot is empty, and what is common to all (the kernel, the signed
metadata, HTTP's headers) is left out.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from builder.run import Sandbox
from updater import converge
from updater.manifest import BLOCK_SIZE
from updater.stage import GAP_LIMIT

from .release import Release

_DIGEST = 32
# mksquashfs's own: blocks of 128 KiB, and level 15 for zstd.
_SQUASHFS_BLOCK = 128 * 1024
_SQUASHFS_LEVEL = 15


@dataclass(frozen=True, slots=True)
class Ours:
    """What the updater's own planner says, in bytes; `tree` and `index` are fetched whole."""

    tree: int
    index: int
    chunks: int
    requests: int

    @property
    def total(self) -> int:
        return self.tree + self.index + self.chunks


def ours(old: Release, new: Release) -> Ours:
    """The plan of `updater.converge` for a host that runs `old`."""
    found = bytearray(new.manifest.root.blocks)
    plan = converge.plan(new.tree(), found, old.tree())
    for block in (*plan.zeros, *plan.targets):
        found[block] = 1
    chunks = converge.missing_chunks(found, new.manifest.root)
    ranges = new.index().ranges(chunks, GAP_LIMIT)
    described = new.manifest
    return Ours(
        tree=described.tree.length,
        index=described.index.length,
        chunks=sum(span.end - span.start for span in ranges),
        requests=len(ranges),
    )


def whole_image(image: Path, tools: Sandbox, work: Path) -> int:
    """The image packed as one, as tools without a delta transfer it."""
    packed = work / "whole.zst"
    tools.run(["zstd", "-q", "-19", "-T2", "-f", str(image), "-o", str(packed)])
    size = packed.stat().st_size
    packed.unlink()
    return size


@dataclass(frozen=True, slots=True)
class BlockHashes:
    """RAUC's adaptive block-hash-index (its manual, "Adaptive Updates"), in bytes.

    The index is a SHA-256 a 4 KiB block. A block that the host lacks is read out of the bundle: as
    it is from one that is not compressed, or with the squashfs block around it from one that is.
    """

    index: int
    plain: int
    packed: int


def block_hashes(old: Path, new: Path) -> BlockHashes:
    """What that scheme needs between two images."""
    there = {_hash(block) for block in _pieces(old, BLOCK_SIZE)} | {_hash(bytes(BLOCK_SIZE))}
    compressor = zstandard.ZstdCompressor(level=_SQUASHFS_LEVEL)
    blocks = missing = packed = 0
    for piece in _pieces(new, _SQUASHFS_BLOCK):
        parts = [piece[at : at + BLOCK_SIZE] for at in range(0, len(piece), BLOCK_SIZE)]
        lacking = sum(_hash(part) not in there for part in parts)
        blocks += len(parts)
        missing += lacking
        packed += len(compressor.compress(piece)) if lacking else 0
    index = blocks * _DIGEST
    return BlockHashes(index, index + missing * BLOCK_SIZE, index + packed)


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(size):
            yield piece


def _hash(block: bytes) -> bytes:
    return hashlib.sha256(block).digest()
