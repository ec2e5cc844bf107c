"""What must be done to make a slot match a tree; pure, all I/O is in `stage`."""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from updater.manifest import Root
from updater.verity import ZERO_BLOCK, Tree

# A key is 40 bits of a digest over 24 bits of a block's number.
_NUMBER_MASK = (1 << 24) - 1
_DIGEST_MASK = ((1 << 64) - 1) ^ _NUMBER_MASK
_PART = 64 * 1024


class LeafIndex:
    """Finds the block of a running slot that has a digest; 8 bytes a block on top of its tree.

    The keys are sorted in parts, since a list of all of them would take five times as much.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        prefixes = tree.leaves.cast("Q")[::4]
        self._parts = [
            array(
                "Q",
                sorted(
                    (prefix & _DIGEST_MASK) | number
                    for number, prefix in enumerate(prefixes[start : start + _PART], start)
                ),
            )
            for start in range(0, len(prefixes), _PART)
        ]

    def find(self, digest: bytes) -> int | None:
        """The lowest block with this digest, if there is one."""
        prefix = int.from_bytes(digest[:8], sys.byteorder) & _DIGEST_MASK
        for keys in self._parts:
            at = bisect_left(keys, prefix)
            while at < len(keys) and keys[at] & _DIGEST_MASK == prefix:
                number = keys[at] & _NUMBER_MASK
                if self._tree.leaf(number) == digest:
                    return number
                at += 1
        return None


@dataclass(frozen=True, slots=True)
class Plan:
    """What needs no network, in order of the target's blocks; the rest is fetched.

    `zeros` are to be cleared, and block `sources[i]` of the running slot goes to `targets[i]`.
    """

    zeros: "array[int]"
    targets: "array[int]"
    sources: "array[int]"


def plan(tree: Tree, found: bytearray, running: Tree | None) -> Plan:
    """Say where each block comes from that is not right yet (found[block] is 0).

    A running slot with another salt has other digests for the same blocks, so nothing of it can be
    used: releases that shall share blocks must share their salt.
    """
    index = LeafIndex(running) if running is not None else None
    zero_digest = tree.digest(ZERO_BLOCK)
    zeros, targets, sources = array("I"), array("I"), array("I")
    block = found.find(0)
    while block >= 0:
        digest = tree.leaf(block)
        if digest == zero_digest:
            zeros.append(block)
        elif index is not None and (source := index.find(digest)) is not None:
            targets.append(block)
            sources.append(source)
        block = found.find(0, block + 1)
    return Plan(zeros, targets, sources)


def runs(
    targets: "array[int]", sources: "array[int]", limit: int
) -> Iterator[tuple[int, int, int]]:
    """(target, source, count) of neighbours that can be moved as one, at most `limit` blocks."""
    start = 0
    for at in range(1, len(targets) + 1):
        if (
            at < len(targets)
            and at - start < limit
            and targets[at] - targets[start] == at - start == sources[at] - sources[start]
        ):
            continue
        yield targets[start], sources[start], at - start
        start = at


def missing_chunks(found: bytearray, root: Root) -> list[int]:
    """The wire chunks with a block that is not right yet, ascending."""
    chunks = []
    block = found.find(0)
    while block >= 0:
        chunk = block // root.chunk_blocks
        chunks.append(chunk)
        block = found.find(0, (chunk + 1) * root.chunk_blocks)
    return chunks
