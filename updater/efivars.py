"""The EFI variables that we write: what to start next, and that the next boot empties /var.

Source: systemd's Boot Loader Interface, `LoaderEntryOneShot`; systemd-repart(8), `FactoryReset`;
the kernel's efivarfs (four bytes of attributes, then the value).
"""

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

_VARIABLES = Path("sys/firmware/efi/efivars")
_ONE_SHOT = "LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
FACTORY_RESET = "FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67"
# Non-volatile, at boot time, at run time (UEFI 2.10, 8.2).
_ATTRIBUTES = (1 | 2 | 4).to_bytes(4, "little")
_LONGEST = 4096  # bytes of a value

# linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_IMMUTABLE_FL
_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
_FLAGS = struct.Struct("@l")


def prefer_once(root: Path, entry_id: str) -> bool:
    """Ask for one boot of `entry_id`, such as bedplate_1.efi; whether the firmware took it."""
    with suppress(OSError):
        _write(root / _VARIABLES / _ONE_SHOT, entry_id)
        return True
    return False


def ask_for_reset(root: Path) -> None:
    """Have the next boot empty /var (see `wipe`); as often as one likes.

    Raises:
        OSError: the firmware does not take it, or there is none.
    """
    path = root / _VARIABLES / FACTORY_RESET
    _write(path, "yes")
    if not reset_asked(root):
        raise OSError(f"{path} is not there after it was written")


def reset_asked(root: Path) -> bool:
    """Whether the next boot, or this one, is to empty /var."""
    try:
        with (root / _VARIABLES / FACTORY_RESET).open("rb") as stream:
            value = stream.read(_LONGEST)[len(_ATTRIBUTES) :]
    except OSError:
        return False
    text = value.decode("utf-16-le", errors="replace").rstrip("\0")
    return text.lower() in {"1", "yes", "y", "true", "t", "on"}


def forget_reset(root: Path) -> None:
    """Remove what `ask_for_reset` wrote.

    Raises:
        OSError: it is there still.
    """
    path = root / _VARIABLES / FACTORY_RESET
    _make_changeable(path)
    path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    """A variable is written whole, by one write(2)."""
    _make_changeable(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, _ATTRIBUTES + text.encode("utf-16-le") + b"\0\0")
    finally:
        os.close(descriptor)


def _make_changeable(path: Path) -> None:
    """Take the flag off with which efivarfs keeps variables from being changed by mistake."""
    with suppress(OSError):
        # Where that is impossible, the change itself tells why.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            (flags,) = _FLAGS.unpack(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_FLAGS.size)))
            if flags & _IMMUTABLE:
                fcntl.ioctl(descriptor, _SET_FLAGS, _FLAGS.pack(flags & ~_IMMUTABLE))
        finally:
            os.close(descriptor)
