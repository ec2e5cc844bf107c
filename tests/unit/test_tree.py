import fnmatch
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_kit import names, plant
from builder.steps.tree import entries, leads_somewhere, matches, trail, within

NAME = st.text(st.sampled_from("ab.*[]?+\n \\^$"), min_size=1, max_size=4).filter(
    lambda name: name not in {".", ".."}
)
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)


def literal(path: str) -> bool:
    return not set(path) & set("*?")


@given(PATH.filter(literal))
def test_a_path_without_wildcards_matches_itself(path: str) -> None:
    assert matches(path, [path])


@given(PATH, PATH.filter(literal))
def test_a_pattern_without_wildcards_matches_nothing_else(path: str, pattern: str) -> None:
    assert matches(path, [pattern]) == (path == pattern)


@given(PATH)
def test_two_stars_match_everything(path: str) -> None:
    assert matches(path, ["**"])
    assert matches(path, ["**/*"])
    assert matches(f"usr/{path}", ["usr/**"])
    assert not matches("usr", ["usr/**"])


@given(PATH)
def test_a_star_stays_in_its_folder(path: str) -> None:
    assert matches(path, ["*"]) == ("/" not in path)
    assert matches(path, ["*/*"]) == (path.count("/") == 1)


@given(PATH)
def test_a_name_is_found_in_every_folder(path: str) -> None:
    assert matches(f"{path}/sh", ["**/sh"])
    assert matches("sh", ["**/sh"])
    assert not matches(f"{path}/fish", ["**/sh"])
    assert not matches(f"{path}/sh/x", ["**/sh"])


@given(
    NAME,
    st.text(st.sampled_from("ab.*?"), min_size=1, max_size=4).filter(lambda p: "**" not in p),
)
def test_within_a_name_it_is_as_in_a_shell(name: str, pattern: str) -> None:
    assert matches(name, [pattern]) == bool(re.match(fnmatch.translate(pattern), name))


@given(PATH, st.lists(PATH, max_size=3))
def test_one_pattern_of_many_is_enough(path: str, patterns: list[str]) -> None:
    assert matches(path, patterns) == any(matches(path, [pattern]) for pattern in patterns)


def test_entries_are_files_and_links_in_a_fixed_order(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {"usr/b": "", "usr/a/x": "", "bin": "-> usr/a", "usr/gone": "-> nowhere", "z": ""},
    )
    (tmp_path / "empty").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in entries(tmp_path)]
    assert found == ["bin", "z", "usr/b", "usr/gone", "usr/a/x"]
    assert set(found) == names(tmp_path)


def links_of(tree: Path, name: str) -> list[str]:
    return [str(path.relative_to(tree)) for path in trail(tree, tree / name)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("usr/bin/mawk", ["usr/bin/mawk"]),
        ("usr/bin/awk", ["usr/bin/awk", "etc/alternatives/awk", "usr/bin/mawk"]),
        ("bin/awk", ["bin", "usr/bin/awk", "etc/alternatives/awk", "usr/bin/mawk"]),
        ("usr/up", ["usr/up", "usr/bin/mawk"]),
        ("usr/gone", ["usr/gone", "usr/nowhere/x"]),
        ("usr/folder", ["usr/folder", "usr/bin"]),
    ],
)
def test_the_links_on_the_way(tmp_path: Path, name: str, expected: list[str]) -> None:
    plant(
        tmp_path,
        {
            "bin": "-> usr/bin",
            "usr/bin/mawk": "",
            "usr/bin/awk": "-> /etc/alternatives/awk",
            "etc/alternatives/awk": "-> /usr/bin/mawk",
            "usr/up": "-> ../../../../../usr/bin/mawk",
            "usr/gone": "-> nowhere/x",
            "usr/folder": "-> bin",
        },
    )
    assert links_of(tmp_path, name) == expected


def test_links_in_a_circle_end_nowhere(tmp_path: Path) -> None:
    plant(tmp_path, {"a": "-> b", "b": "-> a", "self": "-> self/x"})
    for name in ("a", "b", "self"):
        assert within(tmp_path, tmp_path / name).is_symlink()
        assert not leads_somewhere(tmp_path, tmp_path / name)


def test_the_machine_itself_is_never_looked_at(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    tree = plant(
        tmp_path / "tree",
        {"absolute": f"-> {outside}", "relative": "-> ../outside", "dir": "-> /", "x": ""},
    )
    assert (tree / "absolute").exists()
    assert not leads_somewhere(tree, tree / "absolute")
    assert not leads_somewhere(tree, tree / "relative")
    assert leads_somewhere(tree, tree / "dir/x")
    assert not leads_somewhere(tree, tree / "dir/etc/passwd")


STEP = st.sampled_from(["a", "b", "c", "..", "/a", "/b/c", "a/../b", "c/a", "."])


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "b/c", "c/a"]), STEP, max_size=4))
def test_what_a_link_ends_at_is_in_the_tree(links: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name).resolve()
        for link, target in sorted(links.items()):
            path = tree / link
            if not path.parent.is_symlink() and not os.path.lexists(path):
                path.parent.mkdir(exist_ok=True)
                path.symlink_to(target)
        for path in list(entries(tree)):
            end = within(tree, path)
            assert end.is_relative_to(tree)
            assert end.is_symlink() or end == end.resolve()
