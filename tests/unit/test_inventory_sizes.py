import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from builder.inventory.dpkg import Package
from builder.inventory.sizes import MADE, OURS, measure, render_table, size_report, to_plain


def package(name: str, *files: str) -> Package:
    return Package(
        name=name,
        version="1",
        architecture="amd64",
        source=name,
        source_version="1",
        installed_size=0,
        maintainer="",
        homepage=None,
        summary="",
        files=frozenset(files),
        md5sums=(),
    )


PACKAGES = (
    package("podman", "usr/bin/podman", "usr/share/doc/podman/copyright"),
    package("python3", "usr/lib/python3/a.py", "usr/lib/python3/b.py"),
    package("linux", "usr/lib/modules/6/x.ko.xz"),
    package("docs", "usr/share/doc/docs/all"),
)
BEFORE = {
    "usr/bin/podman": 1000,
    "usr/share/doc/podman/copyright": 50,
    "usr/lib/python3/a.py": 10,
    "usr/lib/python3/b.py": 10,
    "usr/lib/modules/6/x.ko.xz": 30,
    "usr/share/doc/docs/all": 500,
    "etc/ld.so.cache": 7,
}
AFTER = {
    "usr/bin/podman": 1000,
    "usr/lib/python3/__pycache__/a.cpython-313.pyc": 20,
    "usr/lib/python3/b.pyc": 20,
    "usr/lib/modules/6/x.ko": 90,
    "etc/ld.so.cache": 7,
    "usr/lib/updater/cli.py": 3,
    "usr/lib/updater/__pycache__/cli.cpython-313.pyc": 4,
}


def test_every_byte_has_an_owner() -> None:
    report = size_report("bedplate 1", PACKAGES, before=BEFORE, after=AFTER)
    found = {share.name: (share.size, share.files, share.saved) for share in report.shares}
    assert found == {
        "podman": (1000, 1, 50),
        "linux": (90, 1, 0),
        "python3": (40, 2, 0),
        MADE: (7, 1, 0),
        OURS: (7, 2, 0),
        "docs": (0, 0, 500),
    }
    assert report.shares[0].name == "podman"
    assert (report.size, report.unpacked, report.files) == (1144, 1607, 7)
    assert report.largest[1].package == "linux"


def test_the_table_reads_well() -> None:
    text = render_table(size_report("bedplate 1", PACKAGES, before=BEFORE, after=AFTER, largest=2))
    lines = text.splitlines()
    assert lines[0] == "bedplate 1: 1.1 KiB in 7 files"
    assert lines[1] == "Debian unpacked 1.6 KiB, 463 B (29 %) of it is gone"
    assert lines[4].split() == ["1000", "B", "87.4", "%", "█" * 24, "podman", "1", "1", "50", "B"]
    assert any("1 packages pruned whole" in line for line in lines)
    assert lines[-2].endswith("usr/bin/podman  [podman]")
    assert all(line == line.rstrip() for line in lines)


def test_small_packages_share_a_line() -> None:
    packages = [package("big", "big"), package("a", "a"), package("b", "b")]
    after = {"big": 10_000, "a": 1, "b": 2}
    text = render_table(size_report("x", packages, before=after, after=after))
    assert "2 smaller packages" in text


def test_json_has_a_schema() -> None:
    plain = to_plain(size_report("bedplate 1", PACKAGES, before=BEFORE, after=AFTER))
    assert plain["schema"] == 1
    assert plain["size"] == 1144


def test_hard_links_count_once(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 100)
    os.link(tmp_path / "a", tmp_path / "b/a")
    (tmp_path / "link").symlink_to("a")
    assert measure(tmp_path) == {"a": 100, "b/a": 0}


paths = st.sampled_from([*BEFORE, *AFTER, "other"])
trees = st.dictionaries(paths, st.integers(0, 1 << 40))


@given(trees, trees)
def test_shares_add_up_and_any_tree_renders(before: dict[str, int], after: dict[str, int]) -> None:
    report = size_report("x", PACKAGES, before=before, after=after)
    assert sum(share.size for share in report.shares) == sum(after.values())
    assert sum(share.files for share in report.shares) == len(after)
    assert render_table(report).startswith("x: ")
