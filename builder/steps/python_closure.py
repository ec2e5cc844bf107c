"""Run by the tool tree's Python: which files of an image's Python its programs can import.

Usage: python3 python_closure.py TREE MODULE... ; prints a path a line, relative to TREE.
It runs there, and not on the workstation, because only a Python of the image's own version
reads the image's sources and names its byte code.
"""

import sys
from modulefinder import ModuleFinder
from pathlib import Path


class _Finder(ModuleFinder):
    """The standard library's finder, which trips over folders that are namespace packages."""

    def find_module(self, name, path, parent=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        """As in the base; a namespace package holds no code and counts as missing."""
        try:
            return super().find_module(name, path, parent)
        except AttributeError as error:
            raise ImportError(name) from error


def imported_files(tree: Path, modules: list[str]) -> list[str]:
    """Files of every module that `modules` can reach by import statements, sorted."""
    stdlib = next(iter(sorted((tree / "usr/lib").glob("python3.*"))), None)
    if stdlib is None:
        sys.exit("no Python in the image: usr/lib/python3.* is not there")
    search = [stdlib, stdlib / "lib-dynload", tree / "usr/lib/python3/dist-packages"]
    finder = _Finder(path=[str(folder) for folder in search])
    missing = []
    # What the interpreter itself imports before a program starts.
    for module in ("encodings", "site", "codecs", "io", "runpy", *modules):
        try:
            finder.import_hook(module)
        except ImportError:
            missing.append(module)
        except SyntaxError as error:
            sys.exit(f"{error.filename}:{error.lineno}: {error.msg}")
    if missing:
        sys.exit(f"not in the image: {', '.join(missing)}")
    origins = (getattr(module, "__file__", None) for module in finder.modules.values())
    files = {Path(origin) for origin in origins if origin}
    return sorted(str(path.relative_to(tree)) for path in files)


if __name__ == "__main__":
    print("\n".join(imported_files(Path(sys.argv[1]), sys.argv[2:])))
