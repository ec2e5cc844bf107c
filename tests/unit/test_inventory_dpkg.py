from pathlib import Path

import pytest

from builder.inventory.dpkg import PackageDatabaseError, merged, paragraphs, read_packages

STATUS = """\
Package: zlib1g
Status: install ok installed
Installed-Size: 169
Maintainer: Mark Brown <broonie@debian.org>
Architecture: amd64
Multi-Arch: same
Source: zlib (1:1.3.dfsg-3)
Version: 1:1.3.dfsg-3+b1
Description: compression library - runtime
 zlib is a library.
 .
 More of it.
Homepage: http://zlib.net/

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.37-2
Conffiles:
 /etc/bash.bashrc 89269e1298235f1b12b4c16e4065ad0d

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


def tree(root: Path, status: str = STATUS) -> Path:
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(status)
    (info / "zlib1g:amd64.list").write_text("/.\n/lib\n/lib/x86_64-linux-gnu/libz.so.1\n")
    (info / "zlib1g:amd64.md5sums").write_text(
        "0123456789abcdef0123456789abcdef  lib/x86_64-linux-gnu/libz.so.1\n"
    )
    (info / "bash.list").write_text("/.\n/bin/bash\n/etc/bash.bashrc\n")
    return root


def test_packages_of_a_tree(tmp_path: Path) -> None:
    bash, zlib = read_packages(tree(tmp_path))
    assert (bash.name, bash.source, bash.source_version) == ("bash", "bash", "5.2.37-2")
    assert bash.files == {"", "usr/bin/bash", "etc/bash.bashrc"}
    assert (zlib.source, zlib.source_version) == ("zlib", "1:1.3.dfsg-3")
    assert zlib.version == "1:1.3.dfsg-3+b1"
    assert zlib.installed_size == 169 * 1024
    assert zlib.homepage == "http://zlib.net/"
    assert zlib.summary == "compression library - runtime"
    assert zlib.md5sums == (
        ("usr/lib/x86_64-linux-gnu/libz.so.1", "0123456789abcdef0123456789abcdef"),
    )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/.", ""),
        ("/bin/sh", "usr/bin/sh"),
        ("/lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        ("/usr/bin/env", "usr/bin/env"),
        ("lib/x", "usr/lib/x"),
        ("/library/x", "library/x"),
    ],
)
def test_paths_are_usrmerged(path: str, found: str) -> None:
    assert merged(path) == found


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("", "lists no installed package"),
        ("Package: a\nStatus: install ok half-configured\n", "a is half-configured"),
        ("Package: a\nVersion: 1\n", "a lacks the field Status"),
        ("Package: a\nStatus: install ok installed\n", "a lacks the field Version"),
        ("Version: 1\n", "a package without a name lacks the field Package"),
    ],
)
def test_damaged_databases(tmp_path: Path, status: str, words: str) -> None:
    with pytest.raises(PackageDatabaseError, match=words):
        read_packages(tree(tmp_path, status))


def test_a_pruned_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageDatabaseError, match="before the tree is pruned"):
        read_packages(tmp_path)


def test_paragraphs_are_lenient() -> None:
    text = "# comment\nA: 1\n b\nnonsense\n c\n\n\n \nB:2\n"
    assert list(paragraphs(text)) == [{"a": "1\n b"}, {"b": "2"}]
