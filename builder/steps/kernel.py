"""The kernel: its image, and the modules that are kept, unpacked."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from builder.run import Sandbox
from builder.steps.tree import matches
from updater.errors import BedplateError


class KernelError(BedplateError):
    """The tree holds no kernel, more than one, or not the modules that are asked for."""


def kernel_version(tree: Path) -> str:
    """The one kernel release in the tree, such as "6.12.117+deb13-cloud-amd64"."""
    found = sorted(path.name for path in (tree / "usr/lib/modules").glob("*"))
    if len(found) != 1:
        raise KernelError(f"expected one kernel in the image, found {found or 'none'}")
    return found[0]


def take_kernel(tree: Path, target: Path) -> None:
    """Copy the kernel's bzImage out of the tree."""
    shutil.copyfile(tree / "boot" / f"vmlinuz-{kernel_version(tree)}", target)


def keep_modules(tree: Path, tools: Sandbox, patterns: Sequence[str]) -> None:
    """Keep the modules that match and those they depend on; unpack them, index them anew.

    They are stored unpacked, so that an unchanged module keeps unchanged blocks between
    releases; the bytes are compressed for the wire.

    Raises:
        KernelError: patterns match no module and no built-in.
    """
    version = kernel_version(tree)
    home = tree / "usr/lib/modules" / version
    chosen = select(home, patterns)
    for path in sorted(home.rglob("*.ko.xz")):
        if str(path.relative_to(home)) not in chosen:
            path.unlink()
    if packed := sorted(str(path) for path in home.rglob("*.ko.xz")):
        tools.run(["xz", "--decompress", *packed])
    tools.run(["depmod", "--basedir", str(tree), version])


def select(home: Path, patterns: Sequence[str]) -> frozenset[str]:
    """Paths below `home` of the modules that match, and of all that they depend on.

    Args:
        home: /usr/lib/modules/<release> of a tree.
        patterns: globs of a module's name, or of its path with or without "kernel/".

    Raises:
        KernelError: patterns match no module and no built-in.
    """
    graph = _dependencies(home)
    built_in = (home / "modules.builtin").read_text().split()
    chosen: set[str] = set()
    missing = []
    for pattern in patterns:
        hits = {path for path in graph if _matches(path, pattern)}
        if not hits and not any(_matches(path, pattern) for path in built_in):
            missing.append(pattern)
        chosen |= hits
    if missing:
        raise KernelError(f"no module of this kernel matches {', '.join(missing)}")
    return frozenset(chosen | {name for path in chosen for name in graph[path]})


def _matches(path: str, pattern: str) -> bool:
    below = path.split(".ko", maxsplit=1)[0]
    if "/" in pattern:
        return matches(below, (pattern, f"kernel/{pattern}"))
    # A module's name is the same with - and with _ (modprobe(8)).
    return matches(Path(below).name.replace("-", "_"), (pattern.replace("-", "_"),))


def _dependencies(home: Path) -> dict[str, list[str]]:
    """modules.dep(5): a module's path -> all it needs, in the order of loading."""
    lines = (home / "modules.dep").read_text().splitlines()
    return {path: needs.split() for path, _, needs in (line.partition(":") for line in lines)}
