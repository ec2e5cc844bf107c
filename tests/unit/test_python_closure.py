import sys
from pathlib import Path

import pytest

from build_kit import names, plant, tools
from builder.steps import python
from builder.steps.python_closure import imported_files

STDLIB = "usr/lib/python3.13"
SITE = "usr/lib/python3/dist-packages"
# What the interpreter needs before a program starts, as small as it gets.
START = {
    f"{STDLIB}/{name}.py": "" for name in ("encodings/__init__", "site", "codecs", "io", "runpy")
}


def imported(tree: Path, files: dict[str, str | bytes], *modules: str) -> set[str]:
    plant(tree, {**START, **files})
    return set(imported_files(tree, list(modules))) - set(START)


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        f"{SITE}/app/__init__.py": "",
        f"{SITE}/app/cli.py": "import json\nfrom app import late\n",
        f"{SITE}/app/late.py": (
            "def main():\n    import zlib_like\n    from xml.dom import minidom\n"
        ),
        f"{SITE}/app/unused.py": "import unused\n",
        f"{STDLIB}/json/__init__.py": "from .decoder import x\n",
        f"{STDLIB}/json/decoder.py": "x = 1\n",
        f"{STDLIB}/json/tool.py": "",
        f"{STDLIB}/xml/__init__.py": "",
        f"{STDLIB}/xml/dom/__init__.py": "",
        f"{STDLIB}/xml/dom/minidom.py": "",
        f"{STDLIB}/unused.py": "",
        f"{STDLIB}/zlib_like.py": "try:\n    import nowhere\nexcept ImportError:\n    pass\n",
    }
    assert imported(tmp_path, files, "app.cli") == {
        *(f"{SITE}/app/{name}.py" for name in ("__init__", "cli", "late")),
        *(f"{STDLIB}/json/{name}.py" for name in ("__init__", "decoder")),
        *(f"{STDLIB}/xml/{name}.py" for name in ("__init__", "dom/__init__", "dom/minidom")),
        f"{STDLIB}/zlib_like.py",
    }


def test_a_folder_without_init_does_not_trip_it(tmp_path: Path) -> None:
    (tmp_path / SITE / "namespace").mkdir(parents=True)
    files: dict[str, str | bytes] = {f"{SITE}/app.py": "import namespace.part\n"}
    assert imported(tmp_path, files, "app") == {f"{SITE}/app.py"}


def test_what_is_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^not in the image: apq, app\.clj$"):
        imported(tmp_path, {f"{SITE}/app/__init__.py": ""}, "app", "apq", "app.clj")


def test_a_source_that_is_no_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=rf"{SITE}/app\.py:2: "):
        imported(tmp_path, {f"{SITE}/app.py": "import io\nif\n"}, "app")


def test_an_image_without_python_says_so(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    with pytest.raises(SystemExit, match="no Python in the image"):
        imported_files(tmp_path, ["app"])


def test_what_nobody_imports_goes_and_sources_go_last(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            **START,
            f"{STDLIB}/unused.py": "",
            f"{STDLIB}/test/big.py": "",
            f"{SITE}/app/__init__.py": "",
            f"{SITE}/app/py.typed": "",
            f"{SITE}/app/schema.json": "{}",
            f"{SITE}/app/notes.txt": "",
            f"{SITE}/gone/cacert.pem": "",
            f"{SITE}/gone/__init__.py": "",
        },
    )

    def answer(command: list[str] | tuple[str, ...]) -> str:
        if "compileall" in command:
            for source in Path(command[-1]).rglob("*.py"):
                source.with_suffix(".pyc").write_bytes(b"")
            return ""
        return "\n".join(imported_files(Path(command[3]), list(command[4:])))

    fake = tools(lambda command: answer(list(command)))
    python.trim(tmp_path, fake, ["app"])
    compiled = {name.replace(".py", ".pyc") for name in (*START, f"{SITE}/app/__init__.py")}
    data = {f"{SITE}/app/py.typed", f"{SITE}/app/schema.json"}
    assert {name for name in names(tmp_path) if not name.startswith(f"{SITE}/gone")} == (
        compiled | data
    )
    assert f"{SITE}/gone/__init__.pyc" not in names(tmp_path)
    for command in fake.asked[1:]:
        assert command[command.index("--invalidation-mode") + 1] == "unchecked-hash"
        assert command[command.index("-s") + 1 : command.index("-s") + 4] == [
            str(tmp_path),
            "-p",
            "/",
        ]


def test_our_packages_come_without_byte_code(tmp_path: Path) -> None:
    package = plant(
        tmp_path / "app",
        {"__init__.py": "", "__pycache__/x.pyc": "", "dist/app.service": "", "sub/y.py": ""},
    )
    python.add_packages(tmp_path / "tree", [package])
    assert names(tmp_path / "tree") == {f"{SITE}/app/__init__.py", f"{SITE}/app/sub/y.py"}


def test_a_launcher_calls_its_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    python.add_launchers(tmp_path, {"tool": "app_for_test.cli:main"})
    launcher = tmp_path / "usr/bin/tool"
    assert launcher.stat().st_mode & 0o777 == 0o755
    text = launcher.read_text()
    assert text.startswith("#!/usr/bin/python3 -IS\n")
    plant(
        tmp_path,
        {
            "app_for_test/__init__.py": "",
            "app_for_test/cli.py": "import gc\nmain = lambda: 7 if gc.isenabled() else 1\n",
        },
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as caught:
        exec(compile(text, str(launcher), "exec"), {})  # noqa: S102 - that is what a launcher is for
    assert caught.value.code == 7
    sys.modules.pop("app_for_test.cli")
    sys.modules.pop("app_for_test")
