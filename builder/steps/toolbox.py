"""The tool tree: every build tool and QEMU, bootstrapped once from the images' Debian release."""

from collections.abc import Callable
from pathlib import Path

from builder.run import Sandbox
from builder.steps.bootstrap import Selection, Variant, bootstrapped

_PACKAGES = (
    "binutils",
    "busybox-static",
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
    return bootstrapped(Selection(suite, Variant.APT, _PACKAGES, mirror), cache, on_line=on_line)


def toolbox(tree: Path, *writable: Path) -> Sandbox:
    """A sandbox over the tool tree that may write the given folders."""
    return Sandbox(tree, writable=writable)
