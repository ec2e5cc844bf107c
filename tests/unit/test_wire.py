import itertools
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from storage_samples import BLOCK, image_of
from updater import wire
from updater.manifest import Root
from updater.wire import Index, WireError


def root_with(blocks: int, chunk_blocks: int) -> Root:
    return Root("00" * 32, "", BLOCK, blocks, chunk_blocks)


@pytest.mark.parametrize(("blocks", "chunk_blocks"), [(2, 1), (7, 3), (6, 3), (3, 8), (40, 2)])
def test_what_is_encoded_is_decoded(tmp_path: Path, blocks: int, chunk_blocks: int) -> None:
    image = image_of([number % 5 for number in range(blocks)])
    (tmp_path / "image").write_bytes(image)
    outcomes = []
    for threads in (1, 3):
        packed, index_file = tmp_path / f"wire{threads}", tmp_path / f"index{threads}"
        wire.encode(
            tmp_path / "image",
            packed,
            index_file,
            chunk_blocks=chunk_blocks,
            level=3,
            threads=threads,
        )
        outcomes.append((packed.read_bytes(), index_file.read_bytes()))
    assert outcomes[0] == outcomes[1]
    data, index_data = outcomes[0]
    root = root_with(blocks, chunk_blocks)
    index = Index.parse(index_data, root)
    assert index.length == len(data)
    chunks = [
        wire.decode(data[index.offsets[chunk] : index.offsets[chunk + 1]], chunk, root)
        for chunk in range(root.chunks)
    ]
    assert b"".join(chunks) == image


def test_an_image_of_broken_blocks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"x" * 5000)
    with pytest.raises(WireError, match="5000 bytes"):
        wire.encode(
            tmp_path / "image", tmp_path / "w", tmp_path / "i", chunk_blocks=1, level=1, threads=1
        )


@pytest.mark.parametrize("lengths", [(5,), (5, 5, 5), (0, 5), (5, 2**32 - 1), (5, 2 * BLOCK + 600)])
def test_strange_indices_are_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(WireError, match="wire index"):
        Index.parse(struct.pack(f"<{len(lengths)}I", *lengths), root_with(4, 2))


def bomb(claim: int | None, size: int) -> bytes:
    packer = zstandard.ZstdCompressor(level=1, write_content_size=claim is not None)
    return packer.compress(bytes(size))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"rubbish",
        bomb(1, BLOCK),
        bomb(1, 2 * BLOCK)[:-1],
        bomb(1, 2 * BLOCK) + b"x",
        bomb(1, 2 * BLOCK) * 2,
        bomb(None, 2 * BLOCK),
        bomb(1, 1 << 24),
        # A header that claims the right size over a body that holds more.
        bomb(1, 2 * BLOCK)[:8] + bomb(1, 1 << 24)[10:],
    ],
)
def test_garbled_frames_are_refused(frame: bytes) -> None:
    with pytest.raises(WireError, match="chunk 1"):
        wire.decode(frame, 1, root_with(4, 2))


def test_a_frame_that_claims_too_much_is_not_even_unpacked() -> None:
    with pytest.raises(WireError, match="chunk 1: claims 16777216 bytes, expected 8192"):
        wire.decode(bomb(1, 1 << 24), 1, root_with(4, 2))


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=40).flatmap(
        lambda lengths: st.tuples(
            st.just(lengths), st.sets(st.integers(0, len(lengths) - 1)), st.integers(0, 900)
        )
    )
)
def test_ranges_cover_what_is_asked_and_no_long_gap(
    case: tuple[list[int], set[int], int],
) -> None:
    lengths, wanted, gap = case
    index = Index.parse(struct.pack(f"<{len(lengths)}I", *lengths), root_with(2 * len(lengths), 2))
    ranges = index.ranges(sorted(wanted), gap)
    covered: set[int] = set()
    for span in ranges:
        assert (span.start, span.end) == (index.offsets[span.first], index.offsets[span.last])
        assert {span.first, span.last - 1} <= wanted
        covered |= set(range(span.first, span.last))
    assert wanted <= covered
    for before, after in itertools.pairwise(ranges):
        assert after.start - before.end > gap
    without_gaps = index.ranges(sorted(wanted), 0)
    assert sum(span.end - span.start for span in without_gaps) == sum(lengths[i] for i in wanted)
