"""Make a slot match the tree of a release: keep what is right, copy what runs, fetch the rest.

The slot must have been un-named and its boot entry dropped before `stage`, and is named only after
`verify`; both are the caller's work. Whatever a kill leaves behind, `stage` keeps of it what is
right: every block is proved by the tree, and by nothing else.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

from updater import converge, verity, wire
from updater.blocks import BlockFile
from updater.errors import BedplateError
from updater.fetch import Fetcher
from updater.manifest import BLOCK_SIZE, Artefact, ReleaseManifest
from updater.slots import Layout, Slot
from updater.verity import Tree, VerityError
from updater.wire import Index, Range, WireError

_LOG = logging.getLogger(__name__)
_READ_BLOCKS = 256
# A request costs about as much as so many bytes more of the one before it.
GAP_LIMIT = 64 * 1024


class StageError(BedplateError):
    """A slot could not be made to match its tree."""


class Phase(StrEnum):
    """What staging is doing."""

    TREE = "tree"
    SCAN = "scan"
    COPY = "copy"
    FETCH = "fetch"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far staging is, all in bytes.

    `done` of `total` (the image) have been read in SCAN and VERIFY, and are right in the other
    phases; of these `kept` were there and `copied` came from the running slot. `fetched` came over
    the network, as compressed bytes.
    """

    phase: Phase
    done: int
    total: int
    fetched: int
    copied: int
    kept: int


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Staged:
    """A slot that is ready for `verify`. All in bytes; `wire` is what came over the network."""

    tree: Tree
    kept: int
    copied: int
    fetched: int
    wire: int


def preflight(manifest: ReleaseManifest, layout: Layout, esp_free_bytes: int) -> list[str]:
    """Why the release cannot fit this host, by its signed sizes; nothing if it can.

    `esp_free_bytes` counts what the inactive slot's boot entries will free, too.
    """
    expected = verity.tree_length(manifest.root.blocks)
    reasons = []
    if manifest.tree.length != expected:
        reasons.append(f"the tree has {manifest.tree.length} bytes, expected {expected}")
    needs = (
        (f"root partition {layout.inactive.root.path}", manifest.root.size, layout.inactive.root),
        (f"verity partition {layout.inactive.verity.path}", expected, layout.inactive.verity),
    )
    for what, size, partition in needs:
        if size > partition.size:
            reasons.append(f"{what}: {size} bytes are needed, it has {partition.size}")
    if manifest.uki.length > esp_free_bytes:
        reasons.append(
            f"EFI system partition {layout.esp.path}: {manifest.uki.length} bytes are needed, "
            f"{esp_free_bytes} are free"
        )
    return reasons


class _Staging:
    """One run of `stage`: what is known of the slot so far, and how to bring more of it."""

    def __init__(
        self, manifest: ReleaseManifest, base_url: str, fetcher: Fetcher, report: Report
    ) -> None:
        self.manifest = manifest
        self.base_url = base_url.rstrip("/")
        self.fetcher = fetcher
        self.report = report
        self.received_before = fetcher.received
        self.found = bytearray(manifest.root.blocks)
        self.kept = 0
        self.copied = 0
        self.tell(Phase.TREE, 0)
        self.tree = verity.parse_tree(self.get(manifest.tree), manifest.root)
        self.index = Index.parse(self.get(manifest.index), manifest.root)
        if self.index.length != manifest.wire.length:
            raise StageError(
                f"{self.url(manifest.index)}: stands for a wire file of {self.index.length} "
                f"bytes, the manifest for one of {manifest.wire.length}"
            )

    def url(self, artefact: Artefact) -> str:
        return f"{self.base_url}/{artefact.path}"

    def get(self, artefact: Artefact) -> bytes:
        return self.fetcher.get(self.url(artefact), artefact.length, artefact.sha256)

    @property
    def received(self) -> int:
        return self.fetcher.received - self.received_before

    @property
    def right(self) -> int:
        return self.found.count(1)

    def tell(self, phase: Phase, done_blocks: int) -> None:
        self.report(
            Progress(
                phase=phase,
                done=done_blocks * BLOCK_SIZE,
                total=self.manifest.root.size,
                fetched=self.received,
                copied=self.copied * BLOCK_SIZE,
                kept=self.kept * BLOCK_SIZE,
            )
        )

    def put(self, target: BlockFile, first: int, data: bytes) -> int:
        """Write what is right in `data` and not in the slot yet; how many blocks that were."""
        count = len(data) // BLOCK_SIZE
        view = memoryview(data)
        start, written = 0, 0
        for at in range(count + 1):
            if (
                at < count
                and not self.found[first + at]
                and self.tree.matches(first + at, view[at * BLOCK_SIZE : (at + 1) * BLOCK_SIZE])
            ):
                continue
            if start < at:
                target.write(first + start, view[start * BLOCK_SIZE : at * BLOCK_SIZE])
                self.found[first + start : first + at] = b"\1" * (at - start)
                written += at - start
            start = at + 1
        return written

    def scan(self, target: BlockFile) -> None:
        """Find out what is right in the slot already."""
        blocks = self.manifest.root.blocks
        for first in range(0, blocks, _READ_BLOCKS):
            try:
                data = target.read(first, min(_READ_BLOCKS, blocks - first))
            except OSError as error:
                # A write may well repair what a read cannot have.
                _LOG.warning("%s: block %d cannot be read: %s", target.path, first, error)
                continue
            self.tree.matching(first, data, self.found)
            self.tell(Phase.SCAN, min(blocks, first + _READ_BLOCKS))
        self.kept = self.right

    def copy(self, target: BlockFile, source: BlockFile, plan: converge.Plan) -> None:
        """Clear the zero blocks, and take from the running slot what it has."""
        for first, _, count in converge.runs(plan.zeros, plan.zeros, _READ_BLOCKS):
            target.write(first, bytes(count * BLOCK_SIZE))
            self.found[first : first + count] = b"\1" * count
            self.copied += count
        for first, origin, count in converge.runs(plan.targets, plan.sources, _READ_BLOCKS):
            try:
                data = source.read(origin, count)
            except OSError as error:
                _LOG.warning("%s: block %d cannot be read: %s", source.path, origin, error)
                continue
            self.copied += self.put(target, first, data)
            self.tell(Phase.COPY, self.kept + self.copied)

    def frames(self, span: Range) -> Iterator[tuple[int, bytes]]:
        """The chunks of a range with their frames, as they come."""
        buffer = bytearray()
        chunk = span.first
        with closing(
            self.fetcher.stream(self.url(self.manifest.wire), span.start, span.end)
        ) as pieces:
            for piece in pieces:
                buffer += piece
                while chunk < span.last and len(buffer) >= self.index.size(chunk):
                    size = self.index.size(chunk)
                    yield chunk, bytes(buffer[:size])
                    del buffer[:size]
                    chunk += 1

    def is_missing(self, chunk: int) -> bool:
        size = self.manifest.root.chunk_blocks
        return self.found.find(0, chunk * size, (chunk + 1) * size) >= 0

    def fetch(self, target: BlockFile, gap_limit: int) -> None:
        """Fetch the chunks of all that is missing; a garbled one twice, with a fresh request."""
        root = self.manifest.root
        garbled: dict[int, str] = {}
        right = self.right
        while chunks := converge.missing_chunks(self.found, root):
            ranged = self.fetcher.ranged
            for span in self.index.ranges(chunks, gap_limit if ranged else self.index.length):
                if self.fetcher.ranged != ranged:
                    break
                for chunk, frame in self.frames(span):
                    if not self.is_missing(chunk):
                        continue
                    problem = f"chunk {chunk}: has blocks other than the tree says"
                    try:
                        right += self.put(
                            target, chunk * root.chunk_blocks, wire.decode(frame, chunk, root)
                        )
                    except WireError as error:
                        problem = str(error)
                    if self.is_missing(chunk):
                        self.note_garbled(garbled, chunk, problem)
                    self.tell(Phase.FETCH, right)

    def note_garbled(self, garbled: dict[int, str], chunk: int, problem: str) -> None:
        place = (
            f"{self.url(self.manifest.wire)}: bytes {self.index.offsets[chunk]}-"
            f"{self.index.offsets[chunk + 1] - 1}"
        )
        if chunk in garbled:
            raise StageError(f"{place}: garbled twice: {problem}")
        _LOG.warning("%s: garbled, will be asked for again: %s", place, problem)
        garbled[chunk] = problem


def _running_tree(layout: Layout) -> Tree | None:
    """The proved tree of the running slot; without one, nothing is copied from it."""
    try:
        with BlockFile(layout.active.verity.path) as device:
            root = verity.read_superblock(device.read(0, 1), layout.root_hash)
            length = verity.tree_length(root.blocks)
            return verity.parse_tree(device.read(0, length // BLOCK_SIZE), root)
    except (VerityError, OSError) as error:
        _LOG.warning("nothing is copied from the running slot: %s", error)
        return None


def stage(
    manifest: ReleaseManifest,
    base_url: str,
    fetcher: Fetcher,
    layout: Layout,
    report: Report,
    *,
    gap_limit: int = GAP_LIMIT,
) -> Staged:
    """Make the inactive slot of `layout` hold the release, and bring it to stable storage.

    `base_url` is the manifest's folder; artefacts are looked for beside it. `report` is called at
    least once for each MiB. Memory: the trees of both slots and a few MiB.

    Raises:
        FetchError: something could not be fetched within the fetcher's limits.
        VerityError, WireError: the tree or the index is not what the manifest stands for.
        StageError: a chunk was garbled twice, or the slot cannot be read or written.
    """
    for ours, running in (
        (layout.inactive.root, layout.active.root),
        (layout.inactive.verity, layout.active.verity),
    ):
        if ours.path.resolve() == running.path.resolve():
            raise StageError(f"{ours.path}: is the running slot's: refused")
    staging = _Staging(manifest, base_url, fetcher, report)
    tree = staging.tree
    try:
        with (
            BlockFile(layout.inactive.root.path, writable=True) as target,
            BlockFile(layout.active.root.path) as source,
        ):
            staging.scan(target)
            plan = converge.plan(tree, staging.found, _running_tree(layout))
            staging.copy(target, source, plan)
            staging.fetch(target, gap_limit)
            target.sync()
        with BlockFile(layout.inactive.verity.path, writable=True) as target:
            target.write(0, tree.data)
            target.sync()
    except OSError as error:
        raise StageError(
            f"slot {layout.inactive.root.path}, {layout.inactive.verity.path}: "
            f"cannot be read or written: {error}"
        ) from error
    fetched = manifest.root.blocks - staging.kept - staging.copied
    return Staged(
        tree=tree,
        kept=staging.kept * BLOCK_SIZE,
        copied=staging.copied * BLOCK_SIZE,
        fetched=fetched * BLOCK_SIZE,
        wire=staging.received,
    )


def verify(tree: Tree, slot: Slot, report: Report) -> None:
    """Read the whole slot back from the disk, not from memory, and prove it by its tree.

    Raises:
        StageError: a block of the root or of the verity partition is not what it should be, or
            cannot be read; staging again repairs it if the disk still can.
    """
    found = bytearray(tree.blocks)
    total = tree.blocks * BLOCK_SIZE
    try:
        with BlockFile(slot.root.path, writable=True) as device:
            device.sync()
            for first in range(0, tree.blocks, _READ_BLOCKS):
                data = device.read(first, min(_READ_BLOCKS, tree.blocks - first))
                tree.matching(first, data, found)
                done = min(total, (first + _READ_BLOCKS) * BLOCK_SIZE)
                report(Progress(Phase.VERIFY, done, total, 0, 0, 0))
        with BlockFile(slot.verity.path, writable=True) as device:
            device.sync()
            length = len(tree.data) // BLOCK_SIZE
            same = device.read(0, length) == tree.data
    except OSError as error:
        raise StageError(f"slot {slot.root.path}: cannot be read back: {error}") from error
    if (wrong := found.count(0)) > 0:
        raise StageError(
            f"{slot.root.path}: {wrong} of {tree.blocks} blocks read back wrong, the first is "
            f"block {found.find(0)}; if that stays so, the disk is failing"
        )
    if not same:
        raise StageError(f"{slot.verity.path}: the tree read back wrong; the disk may be failing")
