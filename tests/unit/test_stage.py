import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_samples import (
    BLOCK,
    Release,
    artefact,
    build_tree,
    image_of,
    make_layout,
    make_release,
)
from storage_server import Asked, FakeClock, Server, good
from updater import blocks, stage
from updater.fetch import Fetcher, FetchError, Limits
from updater.slots import Layout
from updater.stage import Phase, Progress, Staged, StageError
from updater.verity import VerityError
from updater.wire import Index, WireError

CHUNK = 4
QUICK = Limits(connect_seconds=5, gap_seconds=5, retries=2)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server({}) as running:
        yield running


def serve(server: Server, release: Release) -> None:
    server.files = dict(release.files)
    server.script.clear()
    server.asked.clear()
    server.usual = good


def run(
    server: Server, release: Release, layout: Layout, gap_limit: int = 0
) -> tuple[Staged, list[Progress]]:
    told: list[Progress] = []
    fetcher = Fetcher(QUICK, clock=FakeClock())
    staged = stage.stage(
        release.manifest, server.url, fetcher, layout, told.append, gap_limit=gap_limit
    )
    return staged, told


def holds(layout: Layout, release: Release) -> bool:
    slot = layout.inactive
    return (
        slot.root.path.read_bytes()[: len(release.image)] == release.image
        and slot.verity.path.read_bytes()[: len(release.tree)] == release.tree
    )


def needed_bytes(release: Release, got: set[int]) -> int:
    """Compressed bytes of the chunks with a block that is not in `got`."""
    index = Index.parse(release.files["root.index"], release.manifest.root)
    missing = set(range(release.manifest.root.blocks)) - got
    return sum(index.size(chunk) for chunk in {block // CHUNK for block in missing})


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    wanted=st.lists(st.integers(0, 30), min_size=2, max_size=40),
    running=st.lists(st.integers(0, 30), min_size=2, max_size=40),
    inactive=st.lists(st.integers(0, 30), min_size=0, max_size=40),
    same=st.sets(st.integers(0, 39)),
    same_salt=st.booleans(),
)
def test_a_slot_is_made_to_match_and_only_what_is_new_is_fetched(
    *,
    server: Server,
    wanted: list[int],
    running: list[int],
    inactive: list[int],
    same: set[int],
    same_salt: bool,
) -> None:
    inactive = (inactive + [31] * 40)[:40]
    for block in same & set(range(len(wanted))):
        inactive[block] = wanted[block]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        release = make_release(folder, image_of(wanted), chunk_blocks=CHUNK)
        salt = b"salt" if same_salt else b"pepper"
        layout = make_layout(folder, image_of(running), salt, image_of(inactive), bytes(9 * BLOCK))
        serve(server, release)
        staged, told = run(server, release, layout)
        assert holds(layout, release)
        # What lies behind the image is nobody's business.
        assert layout.inactive.root.path.read_bytes()[len(release.image) :] == image_of(
            inactive[len(wanted) :]
        )
        kept = {block for block, number in enumerate(wanted) if inactive[block] == number}
        shared = set(running) if same_salt else set()
        copied = {b for b, number in enumerate(wanted) if number == 0 or number in shared} - kept
        assert server.wire_bytes == needed_bytes(release, kept | copied)
        assert staged.kept == len(kept) * BLOCK
        assert staged.copied == len(copied) * BLOCK
        assert staged.kept + staged.copied + staged.fetched == len(release.image)
        assert staged.wire == server.wire_bytes + len(release.tree) + 4 * -(-len(wanted) // CHUNK)
        assert all(0 <= one.done <= one.total == len(release.image) for one in told)
        stage.verify(staged.tree, layout.inactive, told.append)
        assert told[-1].phase is Phase.VERIFY
        assert told[-1].done == told[-1].total
        # Once more: nothing is left to do.
        serve(server, release)
        again, _ = run(server, release, layout)
        assert (again.kept, again.fetched, server.wire_bytes) == (len(release.image), 0, 0)


class PowerCutError(Exception):
    pass


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    wanted=st.lists(st.integers(0, 30), min_size=2, max_size=40),
    running=st.lists(st.integers(0, 30), min_size=2, max_size=40),
    lives=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    torn=st.integers(0, 3 * BLOCK),
)
def test_a_kill_at_any_write_is_made_good_by_staging_again(
    server: Server, wanted: list[int], running: list[int], lives: list[int], torn: int
) -> None:
    def dying(writes: int) -> object:
        left = [writes]

        def write(descriptor: int, data: memoryview, offset: int) -> int:
            if left[0] == 0:
                os.pwrite(descriptor, data[:torn], offset)
                raise PowerCutError
            left[0] -= 1
            return os.pwrite(descriptor, data, offset)

        return write

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        release = make_release(folder, image_of(wanted), chunk_blocks=CHUNK)
        layout = make_layout(
            folder, image_of(running), b"salt", image_of([31] * 40), bytes(9 * BLOCK)
        )
        active = layout.active.root.path.read_bytes()
        serve(server, release)
        for life in lives:
            patch.setattr(blocks, "pwrite", dying(life))
            try:
                staged, _ = run(server, release, layout)
            except PowerCutError:
                continue
            assert holds(layout, release)
        patch.setattr(blocks, "pwrite", os.pwrite)
        before = layout.inactive.root.path.read_bytes()
        serve(server, release)
        staged, _ = run(server, release, layout)
        assert holds(layout, release)
        assert layout.active.root.path.read_bytes() == active
        right = sum(
            before[at : at + BLOCK] == release.image[at : at + BLOCK]
            for at in range(0, len(release.image), BLOCK)
        )
        assert staged.kept == right * BLOCK
        stage.verify(staged.tree, layout.inactive, lambda _: None)


# --- single misfortunes

WANTED = [number % 23 + 1 for number in range(40)]


@pytest.fixture
def release(tmp_path: Path, server: Server) -> Release:
    made = make_release(tmp_path, image_of(WANTED), chunk_blocks=CHUNK)
    serve(server, made)
    return made


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_layout(tmp_path, image_of([50, 51]), b"salt", bytes(48 * BLOCK), bytes(9 * BLOCK))


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_damaged_running_block_is_fetched_instead(
    tmp_path: Path, server: Server, release: Release
) -> None:
    layout = make_layout(tmp_path, image_of(WANTED), b"salt", bytes(48 * BLOCK), bytes(9 * BLOCK))
    spoil(layout.active.root.path, 5 * BLOCK)
    staged, _ = run(server, release, layout)
    assert holds(layout, release)
    # Blocks 5 and 28 are the same, and the lowest is the one that is copied from.
    assert staged.fetched == 2 * BLOCK
    assert server.wire_bytes == needed_bytes(release, set(range(40)) - {5, 28})


@pytest.mark.parametrize("at", [0, 64, BLOCK + 3])
def test_a_damaged_running_tree_is_not_used(
    tmp_path: Path, server: Server, release: Release, at: int
) -> None:
    layout = make_layout(tmp_path, image_of(WANTED), b"salt", bytes(48 * BLOCK), bytes(9 * BLOCK))
    spoil(layout.active.verity.path, at)
    staged, _ = run(server, release, layout)
    assert holds(layout, release)
    assert staged.copied == 0


def garble(chunk: int, release: Release) -> bytes:
    index = Index.parse(release.files["root.index"], release.manifest.root)
    data = bytearray(release.files["root.wire"])
    data[index.offsets[chunk] + 20] ^= 1
    return bytes(data)


def test_a_garbled_chunk_is_asked_for_once_more(
    server: Server, release: Release, layout: Layout
) -> None:
    right = release.files["root.wire"]

    def garbled_first(asked: Asked) -> None:
        good(asked)
        server.files["root.wire"] = right

    server.files["root.wire"] = garble(3, release)
    server.script = [good, good, garbled_first]
    run(server, release, layout)
    assert holds(layout, release)
    index = Index.parse(release.files["root.index"], release.manifest.root)
    assert server.asked[2:] == [
        ("root.wire", 0, len(right)),
        ("root.wire", index.offsets[3], index.offsets[4]),
    ]


def test_a_chunk_that_is_always_garbled_is_named(
    server: Server, release: Release, layout: Layout
) -> None:
    server.files["root.wire"] = garble(3, release)
    with pytest.raises(StageError, match=r"root.wire: bytes \d+-\d+: garbled twice: chunk 3: "):
        run(server, release, layout)
    # All the others are kept for the next time, even those of the same chunk.
    serve(server, release)
    staged, _ = run(server, release, layout)
    assert staged.fetched == BLOCK


def test_chunks_of_another_image_are_refused(
    tmp_path: Path, server: Server, release: Release, layout: Layout
) -> None:
    other = make_release(tmp_path, image_of([60] * 40), chunk_blocks=CHUNK)
    forged = replace(
        release.manifest,
        index=artefact("root.index", other.files["root.index"]),
        wire=artefact("root.wire", other.files["root.wire"]),
    )
    server.files |= {name: other.files[name] for name in ("root.index", "root.wire")}
    with pytest.raises(StageError, match="garbled twice: chunk 0: has blocks other than the tree"):
        run(server, replace(release, manifest=forged), layout)
    # Not one wrong block was written.
    assert layout.inactive.root.path.read_bytes() == bytes(48 * BLOCK)


def test_a_signed_tree_that_is_not_the_root_hashs_is_refused(
    server: Server, release: Release, layout: Layout
) -> None:
    tree, _ = build_tree(image_of([60] * 40), b"salt")
    server.files["root.verity"] = tree
    forged = replace(release.manifest, tree=artefact("root.verity", tree))
    with pytest.raises(VerityError, match="level 0"):
        run(server, replace(release, manifest=forged), layout)


def test_an_index_for_another_wire_file_is_refused(
    server: Server, release: Release, layout: Layout
) -> None:
    wire = replace(release.manifest.wire, length=release.manifest.wire.length + 1)
    with pytest.raises(StageError, match="stands for a wire file of"):
        run(server, replace(release, manifest=replace(release.manifest, wire=wire)), layout)
    bad = bytes(len(release.files["root.index"]))
    server.files["root.index"] = bad
    forged = replace(release.manifest, index=artefact("root.index", bad))
    with pytest.raises(WireError, match="chunk 0"):
        run(server, replace(release, manifest=forged), layout)


def test_a_missing_artefact_is_named_and_the_slot_is_untouched(
    server: Server, release: Release, layout: Layout
) -> None:
    del server.files["root.index"]
    with pytest.raises(FetchError, match=r"root\.index: HTTP status 404"):
        run(server, release, layout)
    assert layout.inactive.root.path.read_bytes() == bytes(48 * BLOCK)


def test_a_server_without_ranges_is_read_once(
    tmp_path: Path, server: Server, release: Release
) -> None:
    def whole(asked: Asked) -> None:
        asked.head(200, Content_Length=len(asked.data))
        asked.body(asked.data)

    # Every second chunk is there already, so that many ranges would be asked for.
    inactive = image_of([n if i // CHUNK % 2 else 99 for i, n in enumerate(WANTED)])
    layout = make_layout(tmp_path, image_of([50, 51]), b"salt", inactive, bytes(9 * BLOCK))
    server.usual = whole
    run(server, release, layout)
    assert holds(layout, release)
    # The first range starts at 0, the second shows what the server is; the third is the rest.
    assert [path for path, _, _ in server.asked].count("root.wire") == 3


def test_small_gaps_are_read_over(tmp_path: Path, server: Server, release: Release) -> None:
    inactive = image_of([n if i // CHUNK % 2 else 99 for i, n in enumerate(WANTED)])
    layout = make_layout(tmp_path, image_of([50, 51]), b"salt", inactive, bytes(9 * BLOCK))
    run(server, release, layout, gap_limit=1 << 20)
    assert holds(layout, release)
    assert [path for path, _, _ in server.asked].count("root.wire") == 1


def test_the_running_slot_is_never_written(
    server: Server, release: Release, layout: Layout
) -> None:
    link = layout.active.root.path.with_name("link")
    link.symlink_to(layout.active.root.path)
    mixed = replace(
        layout,
        inactive=replace(layout.inactive, root=replace(layout.inactive.root, path=link)),
    )
    with pytest.raises(StageError, match="running slot's: refused"):
        run(server, release, mixed)
    assert server.asked == []


def test_a_slot_that_cannot_be_written_is_named(
    server: Server, release: Release, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: memoryview, offset: int) -> int:
        raise OSError(28, f"No space left on device ({descriptor}, {len(data)}, {offset})")

    monkeypatch.setattr(blocks, "pwrite", full)
    with pytest.raises(StageError, match=r"root-b.*No space left"):
        run(server, release, layout)


def test_verify_names_the_first_wrong_block(
    server: Server, release: Release, layout: Layout
) -> None:
    staged, _ = run(server, release, layout)
    spoil(layout.inactive.root.path, 7 * BLOCK)
    spoil(layout.inactive.root.path, 9 * BLOCK)
    with pytest.raises(StageError, match="2 of 40 blocks read back wrong, the first is block 7"):
        stage.verify(staged.tree, layout.inactive, lambda _: None)
    run(server, release, layout)
    stage.verify(staged.tree, layout.inactive, lambda _: None)
    spoil(layout.inactive.verity.path, BLOCK + 1)
    with pytest.raises(StageError, match="verity-b: the tree read back wrong"):
        stage.verify(staged.tree, layout.inactive, lambda _: None)


def test_verify_finds_a_slot_that_is_too_small(
    server: Server, release: Release, layout: Layout
) -> None:
    staged, _ = run(server, release, layout)
    os.truncate(layout.inactive.root.path, 39 * BLOCK)
    with pytest.raises(StageError, match="1 of 40 blocks"):
        stage.verify(staged.tree, layout.inactive, lambda _: None)


def test_preflight_says_all_that_does_not_fit(release: Release, layout: Layout) -> None:
    manifest = release.manifest
    assert stage.preflight(manifest, layout, manifest.uki.length) == []
    tight = replace(
        layout,
        inactive=replace(
            layout.inactive,
            root=replace(layout.inactive.root, size=40 * BLOCK - 1),
            verity=replace(layout.inactive.verity, size=2 * BLOCK - 1),
        ),
    )
    reasons = stage.preflight(manifest, tight, manifest.uki.length - 1)
    assert len(reasons) == 3
    for reason, what in zip(reasons, ("root-b", "verity-b", "EFI system"), strict=True):
        assert what in reason
    wrong = replace(manifest, tree=replace(manifest.tree, length=5))
    assert "the tree has 5 bytes" in stage.preflight(wrong, layout, 1000)[0]
