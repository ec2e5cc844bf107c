"""Certificates in PEM, looked at as far as a person gets them wrong (RFC 7468, RFC 5280)."""

import base64
import binascii
import re

_BLOCK = re.compile(
    r"-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*?)-----END \1-----"
)
_SEQUENCE, _BIT_STRING = 0x30, 0x03


def blocks(text: str) -> tuple[tuple[str, bytes], ...]:
    """Every block in `text`: its label, and what it holds in DER; nothing else counts.

    Raises:
        ValueError: there is none, or one is broken; it says which.
    """
    found = []
    parts = _BLOCK.findall(text)
    if len(parts) != text.count("-----BEGIN ") or not parts:
        raise ValueError("no whole -----BEGIN CERTIFICATE----- block")
    for number, (label, body) in enumerate(parts, 1):
        try:
            found.append((label, base64.b64decode("".join(body.split()), validate=True)))
        except binascii.Error:
            raise ValueError(f"block {number} is no valid base64") from None
    return tuple(found)


def certificates(text: str) -> tuple[bytes, ...]:
    """The certificates in `text`, each in DER; what stands around the blocks counts for nothing.

    Raises:
        ValueError: there is none, or a block is broken or is something else; it says which.
    """
    found = blocks(text)
    for number, (label, der) in enumerate(found, 1):
        if label != "CERTIFICATE":
            raise ValueError(f"block {number} is a {label.lower()}, not a certificate")
        if not is_signed(der):
            raise ValueError(f"block {number} is no X.509 certificate, or is cut short")
    return tuple(der for _, der in found)


def in_pem(der: bytes, label: str = "CERTIFICATE") -> str:
    """One block in PEM, 64 characters a line."""
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def is_signed(der: bytes) -> bool:
    """Whether it is a SEQUENCE of a SEQUENCE, a SEQUENCE and a BIT STRING (RFC 5280, 4.1 and 5.1).

    That is what certificates and revocation lists are.

    A library that reads all of it would cost a small host seconds to import.
    """
    outer = _element(der, 0)
    if outer is None or outer[0] != _SEQUENCE or outer[2] != len(der):
        return False
    at = outer[1]
    for tag in (_SEQUENCE, _SEQUENCE, _BIT_STRING):
        inner = _element(der, at)
        if inner is None or inner[0] != tag:
            return False
        at = inner[2]
    return at == len(der)


def _element(der: bytes, at: int) -> tuple[int, int, int] | None:
    """Tag, start and end of the content of the element at `at` (X.690, 8.1); None if broken."""
    if at + 2 > len(der):
        return None
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        count = length - 0x80
        if not 1 <= count <= 4 or start + count > len(der):
            return None
        length = int.from_bytes(der[start : start + count], "big")
        start += count
    return (der[at], start, start + length) if start + length <= len(der) else None
