import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from build_kit import plant
from builder.verify import DifferenceError, compare


def pair(folder: Path, one: bytes, other: bytes) -> tuple[Path, Path]:
    return plant(folder / "1", {"a": one, "same": b"x"}), plant(
        folder / "2", {"a": other, "same": b"x"}
    )


def test_the_same_bytes_are_counted(tmp_path: Path) -> None:
    assert compare(*pair(tmp_path, b"abc", b"abc")) == 2


@given(st.binary(max_size=40), st.binary(max_size=40))
@example(b"abc", b"abcd")
def test_the_first_byte_that_differs_is_named(one: bytes, other: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folders = pair(Path(name), one, other)
        if one == other:
            assert compare(*folders) == 2
            return
        at = 0
        while one[at : at + 1] == other[at : at + 1]:
            at += 1
        with pytest.raises(DifferenceError, match=rf"first at byte {at}$"):
            compare(*folders)


def test_a_difference_beyond_what_is_read_at_once(tmp_path: Path) -> None:
    before = bytes((1 << 20) + 5)
    with pytest.raises(DifferenceError, match=rf"a: first at byte {len(before)}$"):
        compare(*pair(tmp_path, before + b"1", before + b"2"))


def test_a_file_that_ends_early_differs_where_it_ends(tmp_path: Path) -> None:
    whole = bytes((1 << 20) + 7)
    with pytest.raises(DifferenceError, match=rf"a: first at byte {1 << 20}$"):
        compare(*pair(tmp_path, whole, whole[: 1 << 20]))


def test_every_difference_is_in_the_list(tmp_path: Path) -> None:
    one = plant(tmp_path / "1", {"a": "1", "only-here": "", "same": ""})
    other = plant(tmp_path / "2", {"a": "2", "only-there": "", "same": ""})
    (one / "kind").write_text("")
    (other / "kind").mkdir()
    with pytest.raises(DifferenceError) as caught:
        compare(one, other)
    assert str(caught.value).splitlines() == [
        "4 of 5 artefacts differ:",
        "  a: first at byte 0",
        f"  kind: not in {other}",
        f"  only-here: not in {other}",
        f"  only-there: not in {one}",
    ]
