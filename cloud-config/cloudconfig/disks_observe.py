"""What disks there are and what is on them: sysfs, and what udev's rules found (udev(7)).

No program of the image prints this. What udev knows is in /run/udev/data, a file a device, whose
lines are `E:NAME=value` for a property and `S:path` for a link below /dev.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cloudconfig.facts import BlockDevice
from updater.programs import ProgramError, run

_SECTOR = 512  # what sysfs counts in, whatever the disk's sectors are
_EDGE = 1 << 20  # bytes at both ends that are looked at
_PASSED = re.compile(r"(loop|ram|zram|sr|fd)[0-9]+")  # no disks that anybody partitions
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class _Known:
    """What udev says of a device; empty if it has not looked at it."""

    properties: Mapping[str, str]
    links: tuple[str, ...]
    complete: bool


def observe(root: Path = Path("/"), *, settle: bool = True) -> tuple[BlockDevice, ...]:
    """All disks and partitions; with `settle`, udev has looked at those that were there."""
    if settle:
        # A device that it does not finish with in time is one that it has not probed.
        with suppress(ProgramError):
            run(("udevadm", "settle", "--timeout=30"))
    folder = root / "sys/class/block"
    in_use = _in_use(root)
    try:
        nodes = sorted(folder.iterdir())
    except FileNotFoundError:
        return ()
    found = []
    for node in nodes:
        # A disk may go while it is looked at.
        with suppress(OSError, ValueError):
            if not _PASSED.fullmatch(node.name) and (device := _device(node, root, in_use)):
                found.append(device)
    return tuple(found)


def is_blank(device: Path, size: int) -> bool:
    """Whether the first and the last MiB of a device of `size` bytes are zeros.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        edges = {0: min(_EDGE, size), max(size - _EDGE, 0): min(_EDGE, size)}
        for offset, length in edges.items():
            # A device that ends too soon has fewer zeros, too.
            if os.pread(descriptor, length, offset).count(0) != length:
                return False
    finally:
        os.close(descriptor)
    return True


def _device(node: Path, root: Path, in_use: frozenset[str]) -> BlockDevice | None:
    size = int((node / "size").read_text()) * _SECTOR
    if size == 0:  # a drive without a disk
        return None
    number = (node / "dev").read_text().strip()
    known = _known(root / "run/udev/data" / f"b{number}")
    partition = _text(node / "partition")
    kind = _kind(known.properties, partitioned=bool(partition))
    path = root / "dev" / node.name.replace("!", "/")
    blank = False
    if known.complete and kind is None:
        with suppress(OSError):
            blank = is_blank(path, size)
    return BlockDevice(
        path=f"/dev/{node.name.replace('!', '/')}",
        size=size,
        kind=kind,
        label=_plain(known.properties.get("ID_FS_LABEL_ENC")),
        uuid=known.properties.get("ID_FS_UUID"),
        parent=f"/dev/{node.resolve().parent.name.replace('!', '/')}" if partition else None,
        number=int(partition) if partition else None,
        partition_label=_plain(known.properties.get("ID_PART_ENTRY_NAME")) if partition else None,
        links=known.links,
        probed=known.complete,
        blank=blank,
        in_use=number in in_use or _has_holders(node),
        read_only=_text(node / "ro") == "1",
    )


def _kind(properties: Mapping[str, str], *, partitioned: bool) -> str | None:
    if "ID_FS_AMBIVALENT" in properties:
        return "several kinds of data at once"
    if found := properties.get("ID_FS_TYPE"):
        return found
    # udev's rules hand a disk's own table down to its partitions.
    return None if partitioned else properties.get("ID_PART_TABLE_TYPE")


def _known(file: Path) -> _Known:
    lines = _text(file).splitlines()
    pairs = (line[2:].partition("=") for line in lines if line.startswith("E:"))
    links = tuple(f"/dev/{line[2:]}" for line in lines if line.startswith("S:"))
    return _Known(
        {name: value for name, _, value in pairs},
        links,
        complete=any(line.startswith("I:") for line in lines),
    )


def _plain(text: str | None) -> str | None:
    r"""What udev wrote with `\x20` for a space."""
    if text is None:
        return None
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    try:
        return raw.encode("latin-1").decode()
    except UnicodeError:
        return raw


def _in_use(root: Path) -> frozenset[str]:
    """The numbers, `major:minor`, of what is mounted or swapped on (proc_pid_mountinfo(5))."""
    mounted = [line.split()[2] for line in _text(root / "proc/self/mountinfo").splitlines()]
    swaps = [line.split()[0] for line in _text(root / "proc/swaps").splitlines()[1:] if line]
    return frozenset([*mounted, *_numbers(swaps, root)])


def _numbers(paths: Iterable[str], root: Path) -> Iterable[str]:
    for path in paths:
        yield _text(root / "sys/class/block" / Path(path).name / "dev")


def _has_holders(node: Path) -> bool:
    """Whether something is stacked upon a device, such as dm-verity."""
    folder = node / "holders"
    return folder.is_dir() and any(folder.iterdir())


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
