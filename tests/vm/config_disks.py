"""Disks that carry a cloud-config, as clouds and people make them."""

from collections.abc import Mapping
from pathlib import Path

from builder.steps.toolbox import toolbox

_SIZE = 8 << 20


def _lay_out(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def vfat(tree: Path, disk: Path, label: str, files: Mapping[str, bytes]) -> Path:
    """A vfat file system over a whole disk (mkfs.vfat(8), mcopy(1))."""
    tools = toolbox(tree, disk.parent)
    folder = _lay_out(disk.with_suffix(".files"), files)
    disk.write_bytes(b"")
    with disk.open("r+b") as stream:
        stream.truncate(_SIZE)
    tools.run(["mkfs.vfat", "-n", label, str(disk)])
    tops = sorted(str(path) for path in folder.iterdir())
    tools.run(["mcopy", "-s", "-i", str(disk), *tops, "::"])
    return disk


def iso(tree: Path, disk: Path, label: str, files: Mapping[str, bytes]) -> Path:
    """An ISO 9660 image with Joliet and Rock Ridge (xorrisofs(1))."""
    folder = _lay_out(disk.with_suffix(".files"), files)
    toolbox(tree, disk.parent).run(
        ["xorrisofs", "-quiet", "-J", "-R", "-V", label, "-o", str(disk), str(folder)]
    )
    return disk
