"""Paths as names of units, devices and udev's links (systemd-escape(1), udev(7))."""

import string
from pathlib import PurePosixPath

_PLAIN = frozenset((string.ascii_letters + string.digits + ":_.").encode())
# What udev leaves as it is in /dev/disk/by-label, besides letters, digits and whole UTF-8.
_LINK_PLAIN = frozenset(string.ascii_letters + string.digits + "#+-.:=@_")
NAME_LIMIT = 255  # characters of a unit's name, systemd.unit(5)
_TAGS = {
    "LABEL": "by-label",
    "UUID": "by-uuid",
    "PARTLABEL": "by-partlabel",
    "PARTUUID": "by-partuuid",
}


def escape_path(path: PurePosixPath) -> str:
    r"""The path as `systemd-escape --path` writes it: /var/a-b is `var-a\x2db`.

    The path is absolute and has no `..`; see systemd.unit(5), "String Escaping".
    """
    text = "/".join(part for part in path.parts if part.strip("/"))
    if not text:
        return "-"
    return "".join(_escaped(byte, first=not at) for at, byte in enumerate(text.encode()))


def _escaped(byte: int, *, first: bool) -> str:
    if byte == ord("/"):
        return "-"
    if byte in _PLAIN and not (first and byte == ord(".")):
        return chr(byte)
    return f"\\x{byte:02x}"


def unit_for(path: PurePosixPath, suffix: str) -> str:
    """The unit of a path: `mount`, `automount`, `swap` or `device` is its suffix."""
    return f"{escape_path(path)}.{suffix}"


def device_node(text: str) -> str:
    """The path of a device that is named as in fstab(5): LABEL=data is /dev/disk/by-label/data."""
    tag, equals, value = text.partition("=")
    if not equals or tag not in _TAGS:
        return text
    # udev's links have UUIDs in small letters; only those of vfat and ntfs are in capitals.
    known = value.lower() if tag in ("UUID", "PARTUUID") and len(value) == 36 else value
    return f"/dev/disk/{_TAGS[tag]}/{''.join(map(_link_character, known))}"


def _link_character(character: str) -> str:
    if character in _LINK_PLAIN or not character.isascii():
        return character
    return f"\\x{ord(character):02x}"


def partition_node(disk: str, number: int) -> str:
    """The path of a disk's partition: /dev/vdb1, /dev/nvme0n1p1, /dev/disk/by-id/x-part1."""
    if disk.startswith("/dev/disk/"):
        return f"{disk}-part{number}"
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"
