import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_samples import BLOCK, build_tree, image_of, noise
from updater.manifest import Root
from updater.verity import (
    VerityError,
    levels,
    parse_tree,
    read_superblock,
    tree_length,
)


def root_of(image: bytes, salt: bytes = b"salt") -> tuple[bytes, Root]:
    tree, root_hash = build_tree(image, salt)
    return tree, Root(root_hash, salt.hex(), BLOCK, len(image) // BLOCK, 4)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [(2, [1]), (128, [1]), (129, [1, 2]), (16384, [1, 128]), (16385, [1, 2, 129])],
)
def test_levels(blocks: int, expected: list[int]) -> None:
    assert levels(blocks) == expected
    assert tree_length(blocks) == (1 + sum(expected)) * BLOCK


@pytest.mark.parametrize("blocks", [2, 127, 128, 129, 16384 + 1])
@pytest.mark.parametrize("salt", [b"", b"s", bytes(256)])
def test_a_true_tree_is_proved(blocks: int, salt: bytes) -> None:
    kinds = [noise(number) for number in range(3)]
    image = b"".join(kinds[number * number % 3] for number in range(blocks))
    data, root = root_of(image, salt)
    tree = parse_tree(data, root)
    block = image[BLOCK : 2 * BLOCK]
    assert tree.matches(1, block)
    assert not tree.matches(1, block[:-1] + b"?")
    assert tree.leaf(1) == hashlib.sha256(salt + block).digest()
    assert bytes(tree.leaves[32:64]) == tree.leaf(1)
    assert len(tree.leaves) == 32 * blocks
    found = bytearray(blocks)
    tree.matching(0, image, found)
    assert found == b"\1" * blocks


@given(st.data())
def test_any_flipped_byte_of_the_hashes_is_found(data: st.DataObject) -> None:
    tree, root = root_of(image_of([1, 2] * 65))
    at = data.draw(st.integers(BLOCK, len(tree) - 1))
    bad = bytearray(tree)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(VerityError, match=r"level \d of 2 .* block \d"):
        parse_tree(bytes(bad), root)


def test_the_error_names_level_and_block() -> None:
    tree, root = root_of(image_of([1, 2] * 65))
    bad = bytearray(tree)
    bad[3 * BLOCK] ^= 1
    with pytest.raises(VerityError, match=r"level 1 of 2 .* block 1 of 2: .* level 0 names"):
        parse_tree(bytes(bad), root)


def test_the_superblock_must_agree_with_the_manifest() -> None:
    tree, root = root_of(image_of([1, 2, 3]))
    for wrong in (replace(root, blocks=4), replace(root, salt="00")):
        with pytest.raises(VerityError, match="expected"):
            parse_tree(tree, wrong)
    with pytest.raises(VerityError, match="expected 8192"):
        parse_tree(tree + bytes(BLOCK), root)
    with pytest.raises(VerityError, match="the root hash names"):
        parse_tree(tree, replace(root, hash="00" * 32))


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (0, b"V", "signature"),
        (8, b"\2", "version"),
        (12, b"\0", "hash type"),
        (32, b"x", "algorithm"),
        (64, b"\1", "data block size"),
        (68, b"\1", "hash block size"),
        (72, b"\0", "blocks"),
        (79, b"\1", "blocks"),
        (81, b"\2", "salt"),
    ],
)
def test_strange_superblocks_are_refused(at: int, value: bytes, reason: str) -> None:
    tree, root = root_of(image_of([1, 2, 3]))
    assert read_superblock(tree, root.hash) == replace(root, chunk_blocks=1)
    with pytest.raises(VerityError, match=reason):
        read_superblock(tree[:at] + value + tree[at + 1 :], root.hash)
    with pytest.raises(VerityError, match="bytes"):
        read_superblock(tree[:100], root.hash)
