"""Python in the image: our programs, what they import and nothing else, as byte code."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from builder.run import Sandbox

_CLOSURE = Path(__file__).with_name("python_closure.py")
_COMPILE = ("-q", "-b", "-j1", "--invalidation-mode", "unchecked-hash")
# Without `site` (-S), which costs a third of an interpreter's start and would only add this path;
# and without looking for garbage in what is imported, which costs a twelfth of the rest.
_LAUNCHER = """\
#!/usr/bin/python3 -IS
import gc, sys
gc.disable()
sys.path.append("/usr/lib/python3/dist-packages")
from {module} import {function}
gc.enable()
sys.exit({function}())
"""


def add_packages(tree: Path, packages: Sequence[Path]) -> None:
    """Copy folders of our Python packages into the tree, sources and nothing else."""
    for package in packages:
        shutil.copytree(
            package,
            tree / "usr/lib/python3/dist-packages" / package.name,
            ignore=shutil.ignore_patterns("__pycache__", "dist"),
        )


def add_launchers(tree: Path, programs: Mapping[str, str]) -> None:
    """Write an executable for each program: its name -> "module:function"."""
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
    _name_namespaces(tree / "usr/lib/python3/dist-packages")
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


def _name_namespaces(site: Path) -> None:
    """Make packages of folders that are packages without saying so, or the closure misses them.

    The standard library's modulefinder knows no namespace packages (PEP 420).
    """
    for folder in sorted({path.parent for path in site.rglob("*.py")} - {site}):
        (folder / "__init__.py").touch()


def _tops(tree: Path) -> list[Path]:
    return [*sorted((tree / "usr/lib").glob("python3.*")), tree / "usr/lib/python3"]
