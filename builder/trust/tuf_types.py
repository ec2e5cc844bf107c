"""The TUF types this package works with, from the one place that may import them.

python-tuf 5.1 re-exports its payload classes from `tuf.api.metadata` without `__all__`, which a
strict type checker refuses, so they are named here once. securesystemslib 1.2 carries no types at
all; the two protocols say what is used of it.
"""

from typing import Any, Protocol

from tuf.api._payload import (
    DelegatedRole,
    Delegations,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    T,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.metadata import Metadata

__all__ = [
    "DelegatedRole",
    "Delegations",
    "MetaFile",
    "Metadata",
    "PublicKey",
    "Root",
    "Signed",
    "Signer",
    "Snapshot",
    "T",
    "TargetFile",
    "Targets",
    "Timestamp",
]


class PublicKey(Protocol):
    """`securesystemslib.signer.Key`: the public part of a key, as TUF metadata lists it."""

    keyid: str
    keytype: str
    scheme: str
    keyval: dict[str, Any]
    unrecognized_fields: dict[str, Any]

    def verify_signature(self, signature: object, data: bytes) -> None:
        """Raise where `signature` is not this key's over `data`."""


class Signer(Protocol):
    """`securesystemslib.signer.Signer`: whatever can sign, be it a file, a token or a service."""

    @property
    def public_key(self) -> PublicKey:
        """The public part that belongs to the signatures."""

    def sign(self, payload: bytes) -> object:
        """A `securesystemslib.signer.Signature` over `payload`."""
