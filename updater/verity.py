"""dm-verity hash trees: proved from the root hash down, then asked whether a block is right.

The format is that of `veritysetup format` (cryptsetup's wiki, "DMVerity"; the kernel's
Documentation/admin-guide/device-mapper/verity.rst): hash type 1, SHA-256, blocks of 4 KiB. One
block of superblock, then the levels of the tree from the top (one block) to the leaves; a level's
block is the 32-byte digests of the blocks below it, padded with zeros; a digest is
sha256(salt || block).
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from updater.errors import BedplateError
from updater.manifest import BLOCK_SIZE, MAXIMUM_BLOCKS, Root

if TYPE_CHECKING:
    from hashlib import _Hash

DIGEST_SIZE = 32
_PER_BLOCK = BLOCK_SIZE // DIGEST_SIZE
# signature, version, hash type, uuid, algorithm, data block size, hash block size, data blocks,
# salt size, padding, salt
_SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6x256s")
_SIGNATURE = b"verity\0\0"
ZERO_BLOCK = bytes(BLOCK_SIZE)


class VerityError(BedplateError):
    """A hash tree is not the one that the root hash stands for."""


def levels(blocks: int) -> list[int]:
    """The number of hash blocks in each level, from the top (1) to the leaves."""
    counts = [-(-blocks // _PER_BLOCK)]
    while counts[0] > 1:
        counts.insert(0, -(-counts[0] // _PER_BLOCK))
    return counts


def tree_length(blocks: int) -> int:
    """Bytes of the tree over `blocks` blocks, superblock included."""
    return (1 + sum(levels(blocks))) * BLOCK_SIZE


def read_superblock(data: bytes, root_hash: str) -> Root:
    """What the superblock at the start of `data` says of the tree under `root_hash`.

    Nothing proves a superblock; a lie in it makes `parse_tree` fail. The chunks are none of its
    business, and given as 1 block each.

    Raises:
        VerityError: no superblock, or parameters that we never write.
    """
    if len(data) < _SUPERBLOCK.size:
        raise VerityError(f"verity superblock: {len(data)} bytes, expected {BLOCK_SIZE}")
    signature, version, kind, _, algorithm, data_size, hash_size, blocks, salt_size, salt = (
        _SUPERBLOCK.unpack_from(data)
    )
    found = (signature, version, kind, algorithm.rstrip(b"\0"), data_size, hash_size)
    expected = (_SIGNATURE, 1, 1, b"sha256", BLOCK_SIZE, BLOCK_SIZE)
    names = ("signature", "version", "hash type", "algorithm", "data block size", "hash block size")
    for name, is_there, should_be in zip(names, found, expected, strict=True):
        if is_there != should_be:
            raise VerityError(f"verity superblock: {name} is {is_there!r}, expected {should_be!r}")
    if not 2 <= blocks <= MAXIMUM_BLOCKS:
        raise VerityError(f"verity superblock: {blocks} blocks, expected 2 to {MAXIMUM_BLOCKS}")
    if salt_size > len(salt):
        raise VerityError(f"verity superblock: salt of {salt_size} bytes, at most 256 are allowed")
    return Root(root_hash, salt[:salt_size].hex(), BLOCK_SIZE, blocks, chunk_blocks=1)


@dataclass(frozen=True, slots=True)
class Tree:
    """A proved tree. `data` is the whole of it, `start` the offset of the leaves in it."""

    data: bytes
    start: int
    blocks: int
    salt: bytes
    _salted: "_Hash" = field(repr=False, compare=False)

    @property
    def leaves(self) -> memoryview:
        """The leaf digests, 32 bytes a block, in order of blocks; no copy."""
        return memoryview(self.data)[self.start : self.start + self.blocks * DIGEST_SIZE]

    def leaf(self, index: int) -> bytes:
        """The digest that block `index` should have."""
        offset = self.start + index * DIGEST_SIZE
        return self.data[offset : offset + DIGEST_SIZE]

    def digest(self, block: bytes | memoryview) -> bytes:
        """sha256(salt || block)."""
        state = self._salted.copy()
        state.update(block)
        return state.digest()

    def matches(self, index: int, block: bytes | memoryview) -> bool:
        """Whether `block` (4096 bytes) is what the image has at `index`."""
        return self.digest(block) == self.leaf(index)

    def matching(self, first: int, data: bytes, found: bytearray) -> None:
        """Set found[i] to 1 for each block i, from `first` on, that is right in `data`.

        `data` is whole blocks of 4 KiB. The one inner loop over a slot's bytes: a block of zeros,
        of which an unused slot is made, is compared and never hashed.
        """
        copy, tree, zero_block = self._salted.copy, self.data, ZERO_BLOCK
        zero_digest = self.digest(zero_block)
        offset = self.start + first * DIGEST_SIZE
        if data == bytes(len(data)):
            for index in range(first, first + len(data) // BLOCK_SIZE):
                if self.leaf(index) == zero_digest:
                    found[index] = 1
            return
        for index, at in enumerate(range(0, len(data), BLOCK_SIZE), first):
            block = data[at : at + BLOCK_SIZE]
            if block == zero_block:
                digest = zero_digest
            else:
                state = copy()
                state.update(block)
                digest = state.digest()
            if digest == tree[offset : offset + DIGEST_SIZE]:
                found[index] = 1
            offset += DIGEST_SIZE


def parse_tree(data: bytes, root: Root) -> Tree:
    """Prove `data`, a hash device as `veritysetup format` writes it, against the root hash.

    Raises:
        VerityError: wrong length, a superblock other than the manifest says, or a hash block that
            is not the one that its parent names; the message says which level and block.
    """
    if len(data) != tree_length(root.blocks):
        raise VerityError(
            f"verity tree: {len(data)} bytes, expected {tree_length(root.blocks)} "
            f"for {root.blocks} blocks"
        )
    superblock = read_superblock(data, root.hash)
    if (superblock.blocks, superblock.salt) != (root.blocks, root.salt):
        raise VerityError(
            f"verity superblock: {superblock.blocks} blocks with salt {superblock.salt!r}, "
            f"expected {root.blocks} with salt {root.salt!r}"
        )
    salt = bytes.fromhex(root.salt)
    salted = hashlib.sha256(salt)
    view = memoryview(data)
    parents = bytes.fromhex(root.hash)
    start = BLOCK_SIZE
    counts = levels(root.blocks)
    for level, count in enumerate(counts):
        for number in range(count):
            at = start + number * BLOCK_SIZE
            state = salted.copy()
            state.update(view[at : at + BLOCK_SIZE])
            if state.digest() != parents[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE]:
                raise VerityError(
                    f"verity tree: level {level} of {len(counts)} (0 is the top), block {number} "
                    f"of {count}: its hash is not the one that "
                    + ("the root hash" if level == 0 else f"level {level - 1}")
                    + " names"
                )
        parents = data[start : start + count * BLOCK_SIZE]
        start += count * BLOCK_SIZE
    return Tree(data, start - counts[-1] * BLOCK_SIZE, root.blocks, salt, salted)
