"""Encrypted PKCS#8 with scrypt (RFC 5958, RFC 8018 PBES2, RFC 7914 section 7).

`cryptography` reads such files, but what it writes (`BestAvailableEncryption`) stretches a
passphrase with PBKDF2 at 2048 rounds, which a graphics card tries by the million a second. The
envelope is six nested DER values, so it is written here; reading stays with the library, which is
also what proves this code right.
"""

import base64
import hashlib
import os
import textwrap
from dataclasses import dataclass

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_SEQUENCE, _INTEGER, _OCTETS = 0x30, 0x02, 0x04
_OID_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_OID_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_OID_AES_256_CBC = bytes.fromhex("060960864801650304012a")


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """scrypt's work factors; memory is 128 * n * r bytes, time grows with n * r * p.

    OpenSSL refuses to spend more than 32 MiB on reading a key, which bounds n; p makes up for it.
    """

    n: int = 2**14
    r: int = 8
    p: int = 5


def encrypt(key: PrivateKeyTypes, passphrase: str, cost: ScryptCost | None = None) -> bytes:
    """`key` as a PEM block of type ENCRYPTED PRIVATE KEY, AES-256-CBC under scrypt(passphrase)."""
    cost = cost or ScryptCost()
    salt, vector = os.urandom(16), os.urandom(16)
    secret = hashlib.scrypt(
        passphrase.encode(), salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=2**26, dklen=32
    )
    padder = padding.PKCS7(algorithms.AES.block_size).padder()
    clear = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(vector)).encryptor()
    sealed = encryptor.update(padder.update(clear) + padder.finalize()) + encryptor.finalize()

    stretching = _der(
        _SEQUENCE,
        _OID_SCRYPT,
        _der(
            _SEQUENCE,
            _der(_OCTETS, salt),
            *(_integer(value) for value in (cost.n, cost.r, cost.p, 32)),
        ),
    )
    cipher = _der(_SEQUENCE, _OID_AES_256_CBC, _der(_OCTETS, vector))
    scheme = _der(_SEQUENCE, _OID_PBES2, _der(_SEQUENCE, stretching, cipher))
    return _pem(_der(_SEQUENCE, scheme, _der(_OCTETS, sealed)))


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def _integer(value: int) -> bytes:
    """A non-negative DER INTEGER; the extra byte keeps the sign bit clear."""
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _pem(der: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    label = "ENCRYPTED PRIVATE KEY"
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
