"""The initrd: a small systemd, dm-verity and nothing else, from the same packages as the root."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from builder.definition.model import Definition, Initrd
from builder.definition.render import laid_files, write_files
from builder.run import Sandbox
from builder.steps.elf import library_closure, needed_libraries
from builder.steps.kernel import kernel_version, select
from builder.steps.overlay import want_units
from builder.steps.tree import entries, listed, trail
from updater.errors import BedplateError
from updater.files import write_atomic

_MERGED = ("bin", "sbin", "lib", "lib64")
_EMPTY = ("dev", "etc", "proc", "run", "sys", "sysroot", "tmp", "var")


class InitrdError(BedplateError):
    """The root has not what the definition wants in the initrd."""


def gather(root: Path, target: Path, tools: Sandbox, wanted: Initrd) -> None:
    """Copy programs with their libraries, files and modules from the root into `target`.

    Args:
        root: the Debian tree, before it is pruned.
        wanted: the definition's globs of programs and files, and patterns of modules.

    Raises:
        InitrdError: globs match no file.
        KernelError: patterns match no module and no built-in.
    """
    for name in _EMPTY:
        (target / name).mkdir(parents=True)
    for name in _MERGED:
        (target / "usr" / name).mkdir(parents=True)
        (target / name).symlink_to(f"usr/{name}")
    everything = list(entries(root))
    patterns = (*wanted.programs, *wanted.files)
    chosen = _chosen(root, everything, patterns)
    chosen |= library_closure(root, chosen, needed_libraries(tools, everything))
    # What a link ends at may be a folder, or not there before the host runs.
    for path in sorted(chosen.intersection(everything)):
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy, follow_symlinks=False)
    _copy_modules(root, target, tools, wanted.modules)


def _chosen(root: Path, everything: Sequence[Path], patterns: Sequence[str]) -> set[Path]:
    """What the globs say, with the links that it leads through and where those end."""
    chosen: set[Path] = set()
    missing = []
    for pattern in patterns:
        hits = {path for path in everything if listed(root, path, (pattern,))}
        if not hits:
            missing.append(pattern)
        chosen |= hits
    if missing:
        raise InitrdError(f"initrd: no file of the packages matches {', '.join(missing)}")
    return chosen | {step for path in chosen if path.is_symlink() for step in trail(root, path)}


def _copy_modules(root: Path, target: Path, tools: Sandbox, patterns: Sequence[str]) -> None:
    version = kernel_version(root)
    home = Path("usr/lib/modules") / version
    (target / home).mkdir(parents=True, exist_ok=True)
    for relative in select(root / home, patterns):
        copy = target / home / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / home / relative, copy)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copyfile(root / home / name, target / home / name)
    tools.run(["depmod", "--basedir", str(target), version])


def lay_over(target: Path, definition: Definition) -> None:
    """Make `target` an initrd to systemd: /init, initrd-release, our files, units wanted."""
    write_files(target, laid_files(definition, definition.initrd.trees, ()))
    # No version in it: the initrd of two releases is one if their packages are.
    (target / "etc/initrd-release").write_text(f'NAME="Bedplate"\nID={definition.name}\n')
    (target / "init").symlink_to("usr/lib/systemd/systemd")
    want_units(target, definition.initrd.wanted)
    default = target / "usr/lib/systemd/system/default.target"
    default.unlink(missing_ok=True)
    default.symlink_to("initrd.target")


def pack(target: Path, tools: Sandbox, epoch: int, *, cache: Path | None) -> Path:
    """`target` as a zstd-packed cpio archive whose bytes depend on its content alone.

    Packing takes longer than all the rest of a build, so the cache keeps what it gave.
    """
    names = sorted(_names(target))
    for name in names:
        os.utime(target / name, (epoch, epoch), follow_symlinks=False)
    archive = target.with_suffix(".cpio")
    tools.run(
        ["cpio", "--quiet", "--create", "--format=newc", "--reproducible", "--owner=+0:+0"]
        + ["--null", f"--file={archive}"],
        stdin=b"\0".join(map(os.fsencode, names)) + b"\0",
        cwd=target,
    )
    packed = archive.with_suffix(".zst")
    with archive.open("rb") as stream:
        key = hashlib.file_digest(stream, "sha256").hexdigest()
    kept = cache / f"{key[:32]}.zst" if cache else None
    if kept and kept.is_file():
        shutil.copyfile(kept, packed)
        return packed
    tools.run(["zstd", "-q", "-19", "-T2", "-f", str(archive), "-o", str(packed)])
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(kept, packed.read_bytes())
    return packed


def _names(target: Path) -> Iterator[str]:
    yield "."
    for folder, folders, files in os.walk(target):
        here = Path(folder).relative_to(target)
        yield from (str(here / name) for name in (*folders, *files))
