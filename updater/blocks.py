"""Whole 4 KiB blocks of a partition (or, in tests, of a file), with as little cache as possible."""

import os
from os import pwrite
from pathlib import Path
from types import TracebackType
from typing import Self

from updater.manifest import BLOCK_SIZE

# After so many bytes read or written, what the kernel caches of them is dropped.
_CACHED = 16 * 1024 * 1024


class BlockFile:
    """An open partition. What was written is on stable storage at the latest after `sync`."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        flags = os.O_RDWR if writable else os.O_RDONLY
        self._descriptor = os.open(path, flags | os.O_CLOEXEC)
        self._writable = writable
        self._cached = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def read(self, first: int, count: int) -> bytes:
        """`count` blocks from block `first` on; fewer, but whole ones, at the end."""
        data = os.pread(self._descriptor, count * BLOCK_SIZE, first * BLOCK_SIZE)
        self._used(len(data))
        return data[: len(data) - len(data) % BLOCK_SIZE] if len(data) % BLOCK_SIZE else data

    def write(self, first: int, data: bytes | memoryview) -> None:
        """Put whole blocks at block `first`."""
        offset = first * BLOCK_SIZE
        rest = memoryview(data)
        while rest:
            written = pwrite(self._descriptor, rest, offset)
            rest = rest[written:]
            offset += written
        self._used(len(data))

    def _used(self, size: int) -> None:
        self._cached += size
        if self._cached >= _CACHED:
            self.sync()

    def sync(self) -> None:
        """Bring all writes to stable storage, and forget what the kernel cached of the file."""
        if self._writable:
            os.fsync(self._descriptor)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        self._cached = 0
