"""The kernel inside a unified kernel image, to probe with what the image itself boots."""

import struct
from pathlib import Path

from updater.errors import InputError

_SECTION = struct.Struct("<8sIIII16x")  # name, virtual size, address, raw size, raw offset


def kernel_of(uki: Path) -> bytes:
    """The bytes of a UKI's `.linux` section, a bzImage (UAPI.5; PE format, section table).

    Raises:
        InputError: it is no UKI.
    """
    data = uki.read_bytes()
    try:
        if data[:2] != b"MZ":
            raise InputError(f"{uki}: no PE file")
        (header,) = struct.unpack_from("<I", data, 0x3C)
        signature, sections, optional = struct.unpack_from("<4s2xH12xH", data, header)
        if signature != b"PE\0\0":
            raise InputError(f"{uki}: no PE file")
        for number in range(sections):
            place = header + 24 + optional + number * _SECTION.size
            name, size, _, stored, offset = _SECTION.unpack_from(data, place)
            if name.rstrip(b"\0") == b".linux":
                return data[offset : offset + min(size, stored)]
    except struct.error:
        raise InputError(f"{uki}: its PE header is cut short") from None
    raise InputError(f"{uki}: no .linux section, so no unified kernel image")
