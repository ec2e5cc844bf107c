"""Which shared libraries a set of programs needs, read off the files by readelf(1)."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from builder.run import Sandbox
from builder.steps.tree import trail

_NEEDED = re.compile(r"\(NEEDED\)\s+Shared library: \[(.+)\]")
_BATCH = 500
# Loaded by name at run time, so no file lists them (ld.so(8), nsswitch.conf(5)).
_LOADER = "ld-linux-x86-64.so.2"


def is_elf(path: Path) -> bool:
    """Whether `path` is a regular file that starts as ELF does."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def needed_libraries(tools: Sandbox, paths: Iterable[Path]) -> dict[Path, frozenset[str]]:
    """The sonames that each ELF file among `paths` is linked to; other files are left out."""
    files = sorted(path for path in paths if is_elf(path))
    found: dict[Path, set[str]] = {path: set() for path in files}
    for start in range(0, len(files), _BATCH):
        batch = files[start : start + _BATCH]
        # A file of the tool tree stands first: readelf names files only when there are several.
        text = tools.run(["readelf", "--wide", "--dynamic", "/bin/true", *map(str, batch)])
        current: set[str] = set()
        for line in text.splitlines():
            if line.startswith("File: "):
                current = found.get(Path(line.removeprefix("File: ")), set())
            elif match := _NEEDED.search(line):
                current.add(match[1])
    return {path: frozenset(names) for path, names in found.items()}


def library_closure(
    tree: Path, roots: Iterable[Path], needed: Mapping[Path, frozenset[str]]
) -> frozenset[Path]:
    """All libraries of `tree` that `roots` need, directly or not: the links and the files.

    Args:
        roots: ELF files that stay.
        needed: what `needed_libraries` said of every ELF file in the tree.
    """
    by_name: dict[str, list[Path]] = {}
    for folder in ("usr/lib/x86_64-linux-gnu", "usr/lib/systemd", "usr/lib64", "usr/lib"):
        for path in sorted((tree / folder).rglob("*.so*")):
            by_name.setdefault(path.name, []).append(path)
    kept: set[Path] = set(by_name.get(_LOADER, ()))
    todo = [*roots, *kept]
    while todo:
        path = todo.pop()
        *links, end = trail(tree, path)
        libraries = [library for name in needed.get(end, ()) for library in by_name.get(name, ())]
        for found in (*links, end, *libraries):
            if found != path and found not in kept:
                kept.add(found)
                todo.append(found)
    return frozenset(kept)
