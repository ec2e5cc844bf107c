"""Telling the boot loader which entry to start next, where its files cannot be changed.

Source: systemd's Boot Loader Interface, `LoaderEntryOneShot`; the kernel's efivarfs (four bytes of
attributes, then the value).
"""

from contextlib import suppress
from pathlib import Path

_VARIABLES = Path("sys/firmware/efi/efivars")
_ONE_SHOT = "LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
# Non-volatile, at boot time, at run time (UEFI 2.10, 8.2).
_ATTRIBUTES = (1 | 2 | 4).to_bytes(4, "little")


def prefer_once(root: Path, entry_id: str) -> bool:
    """Ask for one boot of `entry_id`, such as bedplate_1.efi; whether the firmware took it."""
    value = entry_id.encode("utf-16-le") + b"\0\0"
    with suppress(OSError):
        (root / _VARIABLES / _ONE_SHOT).write_bytes(_ATTRIBUTES + value)
        return True
    return False
