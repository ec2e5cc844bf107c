from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_samples import BLOCK, build_tree, image_of
from updater import converge
from updater.manifest import Root
from updater.verity import Tree, parse_tree

NUMBERS = st.lists(st.integers(0, 6), min_size=2, max_size=30)


def tree_of(numbers: list[int], salt: bytes = b"") -> Tree:
    image = image_of(numbers)
    data, root_hash = build_tree(image, salt)
    return parse_tree(data, Root(root_hash, salt.hex(), BLOCK, len(numbers), 4))


@given(NUMBERS, NUMBERS, st.data())
def test_the_plan_takes_each_block_from_the_cheapest_place(
    wanted: list[int], running: list[int], data: st.DataObject
) -> None:
    found = bytearray(data.draw(st.lists(st.sampled_from([0, 1]), min_size=30, max_size=30)))
    del found[len(wanted) :]
    before = bytes(found)
    plan = converge.plan(tree_of(wanted), found, tree_of(running))
    assert found == before
    missing = [block for block, there in enumerate(found) if not there]
    assert list(plan.zeros) == [block for block in missing if wanted[block] == 0]
    assert list(plan.targets) == [
        block for block in missing if wanted[block] != 0 and wanted[block] in running
    ]
    assert [running[source] for source in plan.sources] == [wanted[t] for t in plan.targets]


def test_a_running_slot_that_is_unknown_or_salted_otherwise_gives_nothing() -> None:
    for running in (None, tree_of([1, 2, 3], b"other")):
        plan = converge.plan(tree_of([1, 0, 3], b"ours"), bytearray(3), running)
        assert (list(plan.zeros), list(plan.targets)) == ([1], [])


@pytest.mark.parametrize("part", [1, 2, 3, 100])
def test_a_leaf_is_found_among_those_with_the_same_beginning(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converge, "_PART", part)
    digests = [bytes(8) + bytes([last]) * 24 for last in range(5)]
    leaves = b"".join(digests)
    plain = tree_of([1, 2, 3])
    tree = Tree(leaves, 0, 5, plain.salt, plain._salted)
    index = converge.LeafIndex(tree)
    assert [index.find(digest) for digest in digests] == [0, 1, 2, 3, 4]
    assert index.find(bytes(8) + bytes([9]) * 24) is None
    assert index.find(b"\xff" * 32) is None


@given(
    st.lists(st.integers(0, 40), unique=True).map(sorted),
    st.integers(1, 5),
    st.data(),
)
def test_runs_are_the_same_pairs_in_pieces(
    targets: list[int], limit: int, data: st.DataObject
) -> None:
    count = len(targets)
    sources = data.draw(
        st.one_of(st.just(targets), st.lists(st.integers(0, 40), min_size=count, max_size=count))
    )
    runs = list(converge.runs(array("I", targets), array("I", sources), limit))
    assert all(1 <= length <= limit for _, _, length in runs)
    pairs = [(t + i, s + i) for t, s, length in runs for i in range(length)]
    assert pairs == list(zip(targets, sources, strict=True))


@given(st.binary(min_size=2, max_size=60).map(lambda d: bytearray(b & 1 for b in d)))
def test_missing_chunks_are_those_with_a_missing_block(found: bytearray) -> None:
    root = Root("", "", BLOCK, len(found), 3)
    assert converge.missing_chunks(found, root) == [
        chunk for chunk in range(root.chunks) if 0 in found[3 * chunk : 3 * chunk + 3]
    ]
