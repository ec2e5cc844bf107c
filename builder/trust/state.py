"""The published state of a repository, read back and verified before anything is built on it.

Whoever can write to the web server's folder must not be able to have us sign what they put there:
so nothing is taken over that our own keys have not signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.exceptions import Error as SigningError  # type: ignore[import-untyped]
from tuf.api.exceptions import RepositoryError
from tuf.api.serialization import DeserializationError

from builder.trust.errors import TrustError
from builder.trust.roles import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from builder.trust.storage import Storage
from builder.trust.tuf_types import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    T,
    Targets,
    Timestamp,
)


@dataclass(frozen=True, slots=True)
class State:
    """All current metadata; `previous_root` is None while the first root holds.

    A role may still be signed for the previous root alone, where a rotation was interrupted just
    after the new root became public; the next publication signs it again.
    """

    root: Metadata[Root]
    previous_root: Metadata[Root] | None
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    delegated: dict[str, Metadata[Targets]]


def load(storage: Storage) -> State:
    """Read and verify what is published.

    Raises:
        ReleaseInputError: there is no repository.
        TrustError: a file is missing or damaged, or not signed by its role.
    """
    storage.require()
    roots = _load_roots(storage)
    trusted = [root.signed for root in reversed(roots[-2:])]

    timestamp_path = storage.timestamp_path
    timestamp = _parse(timestamp_path, _read(timestamp_path), Timestamp)
    _check_signed(timestamp_path, timestamp, TIMESTAMP, trusted)

    snapshot_meta = timestamp.signed.snapshot_meta
    snapshot = _load_listed(storage, SNAPSHOT, snapshot_meta, Snapshot, trusted)
    targets = _load_listed(storage, TARGETS, _listed(snapshot, TARGETS), Targets, trusted)
    delegated = {
        name: _load_listed(storage, name, _listed(snapshot, name), Targets, [targets.signed])
        for name in delegated_names(targets.signed)
    }
    previous = roots[-2] if len(roots) > 1 else None
    return State(roots[-1], previous, timestamp, snapshot, targets, delegated)


def delegated_names(targets: Targets) -> list[str]:
    """The roles that `targets` delegates to, in its order."""
    if targets.delegations is None or targets.delegations.roles is None:
        return []
    return list(targets.delegations.roles)


def is_signed(metadata: Metadata[T], role: str, delegator: Root | Targets) -> bool:
    """Whether enough of the keys that `delegator` names for `role` have signed."""
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, SigningError, ValueError):
        return False
    return True


def _load_roots(storage: Storage) -> list[Metadata[Root]]:
    roots: list[Metadata[Root]] = []
    for version in range(1, storage.newest(ROOT) + 1):
        path = storage.metadata_path(ROOT, version)
        root = _parse(path, _read(path), Root)
        for signer in [root, *roots[-1:]]:
            _check_signed(path, root, ROOT, [signer.signed])
        if root.signed.version != version:
            raise TrustError(f"{path}: holds version {root.signed.version}")
        roots.append(root)
    if not roots:
        raise TrustError(f"{storage.metadata}: 1.root.json is missing; restore it from a copy")
    return roots


def _listed(snapshot: Metadata[Snapshot], role: str) -> MetaFile:
    try:
        return snapshot.signed.meta[f"{role}.json"]
    except KeyError:
        raise TrustError(f"the snapshot does not list role {role!r}") from None


def _load_listed(
    storage: Storage,
    role: str,
    meta: MetaFile,
    kind: type[T],
    delegators: Sequence[Root | Targets],
) -> Metadata[T]:
    path = storage.metadata_path(role, meta.version)
    data = _read(path)
    try:
        meta.verify_length_and_hashes(data)
    except RepositoryError as error:
        raise TrustError(f"{path}: is not the file that was published: {error}") from error
    metadata = _parse(path, data, kind)
    _check_signed(path, metadata, role, delegators)
    return metadata


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror}") from error


def _parse(path: Path, data: bytes, kind: type[T]) -> Metadata[T]:
    try:
        metadata: Metadata[T] = Metadata.from_bytes(data)
    except DeserializationError as error:
        raise TrustError(f"{path}: is no TUF metadata: {error}") from error
    if not isinstance(metadata.signed, kind):
        raise TrustError(f"{path}: holds {metadata.signed.type} metadata, not {kind.type}")
    return metadata


def _check_signed(
    path: Path, metadata: Metadata[T], role: str, delegators: Sequence[Root | Targets]
) -> None:
    if not any(is_signed(metadata, role, delegator) for delegator in delegators):
        raise TrustError(
            f"{path}: is not signed by the keys of role {role!r}; something else wrote it: "
            "restore the repository from a copy"
        )
