"""Certificates in PEM, looked at as far as a person gets them wrong (RFC 7468, RFC 5280)."""

import base64
import binascii
import re

_BLOCK = re.compile(
    r"-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*?)-----END \1-----"
)
_SEQUENCE, _BIT_STRING = 0x30, 0x03


def certificates(text: str) -> tuple[bytes, ...]:
    """The certificates in `text`, each in DER; what stands around the blocks counts for nothing.

    Raises:
        ValueError: there is none, or a block is broken or is something else; it says which.
    """
    blocks = _BLOCK.findall(text)
    if len(blocks) != text.count("-----BEGIN ") or not blocks:
        raise ValueError("no whole -----BEGIN CERTIFICATE----- block")
    found = []
    for number, (label, body) in enumerate(blocks, 1):
        if label != "CERTIFICATE":
            raise ValueError(f"block {number} is a {label.lower()}, not a certificate")
        try:
            der = base64.b64decode("".join(body.split()), validate=True)
        except binascii.Error:
            raise ValueError(f"block {number} is no valid base64") from None
        if not _is_certificate(der):
            raise ValueError(f"block {number} is no X.509 certificate, or is cut short")
        found.append(der)
    return tuple(found)


def in_pem(der: bytes) -> str:
    """One certificate in PEM, 64 characters a line."""
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


def _is_certificate(der: bytes) -> bool:
    """Whether it is a SEQUENCE of a SEQUENCE, a SEQUENCE and a BIT STRING (RFC 5280, 4.1).

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
