"""The tool tree: every build tool and QEMU, bootstrapped once from the images' Debian release."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from builder.run import Sandbox
from builder.steps.bootstrap import Selection, Variant, bootstrap, unpack
from updater.store import locked

_PACKAGES = (
    "binutils",
    "cpio",
    "cryptsetup-bin",
    "dosfstools",
    "dpkg-dev",
    "e2fsprogs",
    "erofs-utils",
    "faketime",
    "kmod",
    "mtools",
    "nginx-light",
    "openssl",
    "ovmf",
    "qemu-system-x86",
    "qemu-utils",
    "sbsigntool",
    "systemd",
    "systemd-boot-efi",
    "systemd-repart",
    "systemd-ukify",
    "udev",
    "xorriso",
    "zstd",
)


def tool_tree(
    cache: Path, suite: str, mirror: str | None, *, on_line: Callable[[str], None]
) -> Path:
    """The tool tree's folder, bootstrapped when the cache does not hold it.

    Raises:
        CommandError: the bootstrap failed.
    """
    selection = Selection(suite, Variant.APT, _PACKAGES, mirror)
    tree = cache / "tools" / selection.key()
    if tree.is_dir():
        return tree
    # Of two builds that start at once, one bootstraps and the other waits for it.
    with locked(cache / "tools/.lock", wait=True):
        if tree.is_dir():
            return tree
        with tempfile.TemporaryDirectory(dir=tree.parent, prefix=".tools-") as folder:
            tar, unfinished = Path(folder) / "tools.tar", Path(folder) / "tree"
            bootstrap(
                selection, tar, archives=cache / "archives", epoch=int(time.time()), on_line=on_line
            )
            unpack(tar, unfinished)
            unfinished.rename(tree)
    return tree


def toolbox(tree: Path, *writable: Path) -> Sandbox:
    """A sandbox over the tool tree that may write the given folders."""
    return Sandbox(tree, writable=writable)
