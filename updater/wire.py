"""An image on the wire: one zstd frame for each chunk of blocks, and an index of their lengths."""

import sys
import threading
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Self

import zstandard

from updater.errors import BedplateError
from updater.manifest import BLOCK_SIZE, Root


class WireError(BedplateError):
    """An index or a chunk is not what it should be."""


def _bound(size: int) -> int:
    """At most so many bytes is a frame of `size` bytes (ZSTD_compressBound in zstd.h)."""
    return size + (size >> 8) + 512


def _little_endian(lengths: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        lengths.byteswap()
    return lengths


@dataclass(frozen=True, slots=True)
class Range:
    """Chunks [first, last), which are bytes [start, end) of the wire file."""

    first: int
    last: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Index:
    """Where each chunk is in the wire file: chunk i is bytes [offsets[i], offsets[i + 1])."""

    offsets: "array[int]"

    @classmethod
    def parse(cls, data: bytes, root: Root) -> Self:
        """Read an index: a little-endian 32-bit length for each chunk, in order.

        Raises:
            WireError: not one length for each chunk, or a length that no frame can have.
        """
        if len(data) != 4 * root.chunks:
            raise WireError(
                f"wire index: {len(data)} bytes, expected 4 for each of {root.chunks} chunks"
            )
        lengths = array("I")
        lengths.frombytes(data)
        lengths = _little_endian(lengths)
        maximum = _bound(root.chunk_blocks * BLOCK_SIZE)
        for chunk, length in enumerate(lengths):
            if not 1 <= length <= maximum:
                raise WireError(
                    f"wire index: chunk {chunk} has {length} bytes, expected 1 to {maximum}"
                )
        return cls(array("Q", accumulate(lengths, initial=0)))

    @property
    def length(self) -> int:
        """Bytes of the whole wire file."""
        return self.offsets[-1]

    def size(self, chunk: int) -> int:
        """Compressed bytes of a chunk."""
        return self.offsets[chunk + 1] - self.offsets[chunk]

    def ranges(self, chunks: Iterable[int], gap_limit: int) -> list[Range]:
        """Merge `chunks` (ascending) into ranges to ask for.

        Two chunks with at most `gap_limit` bytes between them share a range: reading past a small
        gap is cheaper than another request.
        """
        merged: list[Range] = []
        for chunk in chunks:
            start, end = self.offsets[chunk], self.offsets[chunk + 1]
            if merged and start - merged[-1].end <= gap_limit:
                merged[-1] = Range(merged[-1].first, chunk + 1, merged[-1].start, end)
            else:
                merged.append(Range(chunk, chunk + 1, start, end))
        return merged


def decode(frame: bytes, chunk: int, root: Root) -> bytes:
    """The blocks of `chunk`, from its frame; never more bytes than the chunk has.

    Raises:
        WireError: no single zstd frame that says of itself that it holds just this chunk.
    """
    blocks = min(root.chunk_blocks, root.blocks - chunk * root.chunk_blocks)
    expected = blocks * BLOCK_SIZE
    try:
        # The decompressor allocates what the frame's header claims: so ask that first.
        claimed = zstandard.get_frame_parameters(frame).content_size
        if claimed != expected:
            raise WireError(f"chunk {chunk}: claims {claimed} bytes, expected {expected}")
        data = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise WireError(f"chunk {chunk}: no valid zstd frame: {error}") from error
    if len(data) != expected:
        raise WireError(f"chunk {chunk}: holds {len(data)} bytes, expected {expected}")
    return data


def _pieces(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while piece := stream.read(size):
        yield piece


def encode(
    image: Path, wire: Path, index: Path, *, chunk_blocks: int, level: int, threads: int
) -> None:
    """Write the wire file and the index of `image`; for the builder.

    The bytes depend on the image, `chunk_blocks`, `level` and the zstd library alone, and not on
    `threads`: each chunk is a frame by itself, without a checksum (the tree is better than one).

    Raises:
        WireError: the image is no whole number of 4 KiB blocks.
        OSError: a file cannot be read or written.
    """
    size = image.stat().st_size
    if size == 0 or size % BLOCK_SIZE:
        raise WireError(f"{image}: {size} bytes is no whole number of {BLOCK_SIZE}-byte blocks")
    local = threading.local()

    def compress(piece: bytes) -> bytes:
        if not hasattr(local, "compressor"):
            local.compressor = zstandard.ZstdCompressor(
                level=level, write_checksum=False, write_content_size=True, write_dict_id=False
            )
        frame: bytes = local.compressor.compress(piece)
        return frame

    lengths = array("I")
    pending: deque[Future[bytes]] = deque()
    with (
        image.open("rb") as source,
        wire.open("wb") as sink,
        ThreadPoolExecutor(max_workers=threads) as pool,
    ):

        def write_oldest() -> None:
            frame = pending.popleft().result()
            lengths.append(len(frame))
            sink.write(frame)

        for piece in _pieces(source, chunk_blocks * BLOCK_SIZE):
            pending.append(pool.submit(compress, piece))
            if len(pending) > 4 * threads:
                write_oldest()
        while pending:
            write_oldest()
    index.write_bytes(_little_endian(lengths).tobytes())
