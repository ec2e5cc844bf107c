"""Python in the image: our programs, what they import and nothing else, as byte code."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from builder.run import Sandbox

_CLOSURE = Path(__file__).with_name("python_closure.py")
_COMPILE = ("-q", "-b", "-j1", "--invalidation-mode", "unchecked-hash")
_LAUNCHER = """\
#!/usr/bin/python3 -I
from sys import exit
from {module} import {function}
exit({function}())
"""


def add_programs(tree: Path, packages: Sequence[Path], programs: Mapping[str, str]) -> None:
    """Copy our packages into the tree and write a launcher for each program.

    Args:
        packages: folders of Python packages.
        programs: a program's name -> "module:function".
    """
    site = tree / "usr/lib/python3/dist-packages"
    for package in packages:
        shutil.copytree(
            package,
            site / package.name,
            ignore=shutil.ignore_patterns("__pycache__", "dist"),
        )
    for name, entry in programs.items():
        module, _, function = entry.partition(":")
        launcher = tree / "usr/bin" / name
        launcher.write_text(_LAUNCHER.format(module=module, function=function))
        launcher.chmod(0o755)


def trim(tree: Path, tools: Sandbox, modules: Sequence[str]) -> None:
    """Leave only the Python files that `modules` can import, compiled, without sources.

    Byte code is made by one process in a fixed order and is never checked against a source
    (PEP 552), so that the same sources give the same bytes.
    """
    sandbox = replace(tools, readable=(*tools.readable, _CLOSURE.parent))
    listing = sandbox.run(["python3", "-I", str(_CLOSURE), str(tree), *modules])
    used = {tree / line for line in listing.splitlines()}
    used_folders = {folder for path in used for folder in path.parents}
    for top in _tops(tree):
        for path in sorted(top.rglob("*")):
            keep_data = path.parent in used_folders and path.suffix in {".typed", ".pem", ".json"}
            if not path.is_dir() and path not in used and not keep_data:
                path.unlink()
    for top in _tops(tree):
        tools.run(
            ["python3", "-I", "-m", "compileall", *_COMPILE, "-s", str(tree), "-p", "/", str(top)]
        )
        for source in sorted(top.rglob("*.py")):
            source.unlink()


def _tops(tree: Path) -> list[Path]:
    return [*sorted((tree / "usr/lib").glob("python3.*")), tree / "usr/lib/python3"]
