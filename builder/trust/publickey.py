"""The public part of a key as a file: `<name>.pub`, JSON.

    {"schema": 1, "name": "root-1", "keyid": "<64 hex>", "keytype": "ed25519",
     "scheme": "ed25519", "keyval": {"public": "<64 hex>"}, "uri": "hsm:2?label=root"}

`uri` names where the private part is (a securesystemslib private-key URI); without one it is the
encrypted file `<name>.pem` beside it.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_public_key

# securesystemslib 1.2 ships no type information; `PublicKey` in tuf_types says what we use.
from securesystemslib.signer import Key, SSlibKey  # type: ignore[import-untyped]

from builder.trust.errors import KeyStoreError, ReleaseInputError
from builder.trust.tuf_types import PublicKey

SUFFIX = ".pub"
NAME_FIELD = "x-bedplate-name"
"""Field of a key in TUF metadata that carries its name in the key store, for people to read."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FIELDS = {"schema", "name", "keyid", "keytype", "scheme", "keyval"}


@dataclass(frozen=True, slots=True)
class PublicPart:
    """A key's name, its public part, and where its private part is (None: `<name>.pem`)."""

    name: str
    key: PublicKey
    uri: str | None = None


def check_name(name: str) -> None:
    """Refuse a key name that could not be a file's name everywhere."""
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise ReleaseInputError(
            f"{name!r} is no key name: small letters, digits and single hyphens, at most 64"
        )


def from_public_key(name: str, public: PublicKeyTypes, uri: str | None = None) -> PublicPart:
    """A public part with its default key id (a hash of the key, as TUF's default is)."""
    try:
        key = SSlibKey.from_crypto(public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyStoreError(f"key {name!r}: TUF cannot use this kind of key: {error}") from error
    return _named(name, key, uri)


def from_pem(name: str, path: Path, uri: str) -> PublicPart:
    """A public part from a PEM file, for a private key that lives in a token or a service."""
    try:
        public = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyStoreError(f"{path}: no public key in PEM form: {error}") from error
    return from_public_key(name, public, uri)


def encode(part: PublicPart) -> bytes:
    """The bytes of the `.pub` file."""
    fields: dict[str, Any] = {
        "schema": 1,
        "name": part.name,
        "keyid": part.key.keyid,
        "keytype": part.key.keytype,
        "scheme": part.key.scheme,
        "keyval": part.key.keyval,
    }
    if part.uri is not None:
        fields["uri"] = part.uri
    return (json.dumps(fields, indent=2) + "\n").encode()


def read(path: Path) -> PublicPart:
    """The public part in the file at `path`.

    Raises:
        KeyStoreError: the file is unreadable, or not what `encode` writes.
    """
    try:
        fields = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise KeyStoreError(f"{path}: not a public key file: {error}") from error
    if not isinstance(fields, dict) or set(fields) - {"uri"} != _FIELDS:
        raise KeyStoreError(f"{path}: expected exactly the keys {sorted(_FIELDS)} (and uri)")
    if fields["schema"] != 1:
        raise KeyStoreError(f"{path}: schema {fields['schema']!r} is not known, expected 1")
    if fields["name"] != path.name.removesuffix(SUFFIX):
        raise KeyStoreError(f"{path}: holds the key {fields['name']!r}; file and name must agree")
    uri = fields.get("uri")
    if uri is not None and not isinstance(uri, str):
        raise KeyStoreError(f"{path}: uri must be a string")
    try:
        key = Key.from_dict(
            fields["keyid"], {name: fields[name] for name in ("keytype", "scheme", "keyval")}
        )
    except (KeyError, TypeError, ValueError) as error:
        raise KeyStoreError(f"{path}: not a usable public key: {error}") from error
    return _named(fields["name"], key, uri)


def _named(name: str, key: PublicKey, uri: str | None) -> PublicPart:
    key.unrecognized_fields[NAME_FIELD] = name
    return PublicPart(name, key, uri)
