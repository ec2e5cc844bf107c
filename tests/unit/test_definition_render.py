from pathlib import Path, PurePosixPath

import pytest

from builder.definition.load import load
from builder.definition.render import LaidFile, laid_files, render, write_files
from hostkit.document.source import DocumentError
from updater.errors import InputError


def definition_in(folder: Path) -> Path:
    tree = folder / "tree/usr/lib"
    tree.mkdir(parents=True)
    (tree / "plain").write_text("{{ colour }}")
    (tree / "motd.j2").write_text("{{ image.name }} {{ image.version }} is {{ colour }}\n")
    (tree / "tool").write_text("#!")
    (tree / "tool").chmod(0o700)
    (tree / "link").symlink_to("plain")
    (tree / "folder").symlink_to("/gone")
    file = folder / "host.yaml"
    file.write_text("""\
name: host
version: 2
trees: [tree]
variables: {colour: red}
files:
  - {path: /usr/lib/plain, content: "ours", mode: 0600}
  - {path: /etc/motd, link: ../usr/lib/motd}
""")
    return file


def test_trees_and_files_are_laid(tmp_path: Path) -> None:
    definition = load(definition_in(tmp_path))
    laid = {str(file.path): file for file in laid_files(definition, definition.trees, ())}
    assert laid["/usr/lib/motd"].data == b"host 2 is red\n"
    assert laid["/usr/lib/plain"].data == b"{{ colour }}"
    assert (laid["/usr/lib/plain"].mode, laid["/usr/lib/tool"].mode) == (0o644, 0o755)
    assert (laid["/usr/lib/link"].link, laid["/usr/lib/folder"].link) == ("plain", "/gone")


def test_files_come_over_trees(tmp_path: Path) -> None:
    definition = load(definition_in(tmp_path))
    laid = laid_files(definition, definition.trees, definition.files, {"colour": "blue"})
    assert [str(file.path) for file in laid] == sorted(str(file.path) for file in laid)
    found = {str(file.path): file for file in laid}
    assert (found["/usr/lib/plain"].data, found["/usr/lib/plain"].mode) == (b"ours", 0o600)
    assert found["/usr/lib/motd"].data == b"host 2 is blue\n"
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    (root / "usr/lib/plain").symlink_to(outside)
    write_files(root, laid)
    assert (root / "usr/lib/plain").read_text() == "ours"
    assert outside.read_text() == "not ours"
    assert (root / "etc/motd").readlink() == Path("../usr/lib/motd")


def test_nothing_is_written_outside_the_tree(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root/lib").symlink_to(tmp_path / "outside")
    file = LaidFile(PurePosixPath("/lib/x"), b"", None, 0o644)
    with pytest.raises(InputError, match="link out of the image"):
        write_files(tmp_path / "root", (file,))
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a\n{{ gone }}\n", 2, "'gone' is undefined"),
        ("a\nb\n{% if %}\n", 3, "Expected an expression"),
        ("{{ 1 // 0 }}", 1, "ZeroDivisionError"),
        ("\n{{ ().__class__.__mro__ }}", 2, "unsafe"),
        ("{% for i in range(10**9) %}{% endfor %}", 1, "Range too big"),
        ("{% include 'x' %}", 1, "no loader"),
    ],
)
def test_template_errors_name_their_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    template = tmp_path / "x.j2"
    template.write_text(text)
    with pytest.raises(DocumentError) as caught:
        render(template, {})
    assert str(caught.value).startswith(f"{template}:{line}:1: template: ")
    assert words in str(caught.value)


def test_templates_are_text(tmp_path: Path) -> None:
    template = tmp_path / "x.j2"
    template.write_bytes(b"\xff")
    with pytest.raises(DocumentError, match="not UTF-8"):
        render(template, {})
