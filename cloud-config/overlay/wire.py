"""Netlink messages as they are on the socket (netlink(7)): headers and attributes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_TYPE = 0x3FFF  # NLA_TYPE_MASK


@dataclass(frozen=True, slots=True)
class Framed:
    """A message: its header's fields, `port` being the sender's, and its body."""

    type: int
    flags: int
    sequence: int
    port: int
    body: bytes


def split(data: bytes) -> Iterator[Framed]:
    """The messages of one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        yield Framed(kind, flags, sequence, port, data[offset + _HEADER.size : offset + length])
        offset += _aligned(max(_HEADER.size, length))


def attributes(body: bytes, offset: int) -> dict[int, bytes]:
    """The attributes by their number, from an offset on."""
    found = {}
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        found[kind & _TYPE] = body[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(max(_ATTRIBUTE.size, length))
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
