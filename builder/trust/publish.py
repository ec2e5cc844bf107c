"""Signing a draft and writing it so that clients accept the repository after every single write.

Everything is signed and checked in memory first. Then, in this order: delegated roles, targets,
snapshot (numbered files that nothing refers to yet), and timestamp.json, which makes them public in
one rename. A new root is public the moment it is there, because clients ask for it by its number.
So what it changes for other roles is signed with the old keys *and* the new ones and published
before it. Where old keys are lost that cannot be; then the root goes first, and only a stop between
those last two writes would show clients an error, until the next run.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tuf.api.exceptions import UnsignedMetadataError

from builder.trust.draft import Draft
from builder.trust.errors import TrustError
from builder.trust.keys import KeyRing
from builder.trust.publickey import NAME_FIELD
from builder.trust.roles import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, default_days
from builder.trust.state import State, is_signed
from builder.trust.storage import Storage
from builder.trust.tuf_types import (
    Metadata,
    MetaFile,
    PublicKey,
    Root,
    Signed,
    Snapshot,
    T,
    Targets,
    Timestamp,
)
from updater.strict import render_time

DAYS_FIELD = "x-bedplate-days"
"""Field of every role's payload: for how many days it is signed, so that re-signing keeps to it."""

SIGNED_FIELD = "x-bedplate-signed"
"""Field of timestamp's payload: when it was signed. It tells hosts that it is at least so late."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Signing:
    """How a publication is signed: with which keys, as of when, and for how long.

    `now` is aware and in UTC. `days` chooses anew how many days a role's signatures hold; roles
    that it does not name keep their period.
    """

    ring: KeyRing
    now: datetime
    days: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Write:
    """One metadata file that is to be written."""

    role: str
    version: int
    data: bytes


def publish(
    storage: Storage, state: State | None, draft: Draft, signing: Signing
) -> tuple[str, ...]:
    """Sign and write what `draft` changes; the roles that were signed, in the order of writing.

    The caller holds the repository's lock.

    Raises:
        TrustError: too few keys at hand for a role; nothing was written.
        KeyStoreError, PassphraseError: a key cannot be used; nothing was written.
    """
    writes = _Edition(storage, state, draft, signing).sign()
    for write in writes:
        storage.write_metadata(write.role, write.version, write.data)
    return tuple(write.role for write in writes)


def period(signed: Signed, role: str) -> int:
    """For how many days `role` is signed each time."""
    days = signed.unrecognized_fields.get(DAYS_FIELD)
    return days if isinstance(days, int) else default_days(role)


class _Edition:
    """One run of `publish`: what it works from, and what it has signed."""

    def __init__(
        self, storage: Storage, state: State | None, draft: Draft, signing: Signing
    ) -> None:
        self.storage = storage
        self.state = state
        self.draft = draft
        self.signing = signing
        self.writes: list[Write] = []

    def sign(self) -> list[Write]:
        root = self._root()
        delegated = {
            role: self._targets(role, payload, self.draft.targets)
            for role, payload in self.draft.delegated.items()
        }
        targets = self._targets(TARGETS, self.draft.targets, self.draft.root)
        snapshot = self._snapshot({TARGETS: targets, **delegated})
        timestamp = self._timestamp(snapshot)
        if root is None:
            return self.writes
        old = self.state.root.signed if self.state else None
        for_old_root = (
            old is not None
            and is_signed(targets, TARGETS, old)
            and is_signed(snapshot, SNAPSHOT, old)
            and is_signed(timestamp, TIMESTAMP, old)
        )
        if for_old_root:
            return [*self.writes, root]
        return [
            *(write for write in self.writes if write.role != TIMESTAMP),
            root,
            *(write for write in self.writes if write.role == TIMESTAMP),
        ]

    def _root(self) -> Write | None:
        if ROOT not in self.draft.touched:
            return None
        old = self.state.root.signed if self.state else None
        payload = self.draft.root
        self._date(payload, ROOT, old.version + 1 if old else 1)
        metadata = Metadata(payload)
        delegators = [old, payload] if old else [payload]
        self._sign(metadata, ROOT, delegators)
        for delegator in delegators:
            self._require(metadata, ROOT, delegator)
        return Write(ROOT, payload.version, metadata.to_bytes())

    def _targets(self, role: str, payload: Targets, delegator: Root | Targets) -> Metadata[Targets]:
        current: Metadata[Targets] | None = None
        if self.state is not None:
            current = self.state.targets if role == TARGETS else self.state.delegated.get(role)
        return self._renew(role, payload, current, delegator)

    def _snapshot(self, listed: Mapping[str, Metadata[Targets]]) -> Metadata[Snapshot]:
        current = self.state.snapshot if self.state else None
        signed_now = {write.role: write for write in self.writes}
        if signed_now:
            self.draft.touched.add(SNAPSHOT)
        meta = dict(current.signed.meta) if current else {}
        for role in listed:
            if write := signed_now.get(role):
                meta[f"{role}.json"] = _meta_file(write)
        payload = Snapshot(meta=meta, unrecognized_fields=_fields(current))
        return self._renew(SNAPSHOT, payload, current, self.draft.root)

    def _timestamp(self, snapshot: Metadata[Snapshot]) -> Metadata[Timestamp]:
        current = self.state.timestamp if self.state else None
        meta = current.signed.snapshot_meta if current else MetaFile(1)
        for write in self.writes:
            if write.role == SNAPSHOT:
                meta = _meta_file(write)
                self.draft.touched.add(TIMESTAMP)
        if snapshot.signed.version != meta.version:
            raise TrustError("timestamp and snapshot disagree; this is a mistake in bedplate")
        payload = Timestamp(snapshot_meta=meta, unrecognized_fields=_fields(current))
        payload.unrecognized_fields[SIGNED_FIELD] = render_time(self.signing.now)
        return self._renew(TIMESTAMP, payload, current, self.draft.root)

    def _renew(
        self, role: str, payload: T, current: Metadata[T] | None, delegator: Root | Targets
    ) -> Metadata[T]:
        """Sign `payload` where that is due; else what is published stays."""
        untouched = role not in self.draft.touched and current is not None
        if untouched and current is not None and is_signed(current, role, delegator):
            return current
        if role == TIMESTAMP:
            version = current.signed.version + 1 if current else 1
        else:
            version = self.storage.newest(role) + 1
        self._date(payload, role, version)
        metadata = Metadata(payload)
        delegators: list[Root | Targets] = [delegator]
        if self.state is not None and delegator is self.draft.root:
            delegators.append(self.state.root.signed)
        self._sign(metadata, role, delegators)
        self._require(metadata, role, delegator)
        self.writes.append(Write(role, version, metadata.to_bytes()))
        return metadata

    def _date(self, payload: Signed, role: str, version: int) -> None:
        days = self.signing.days.get(role, period(payload, role))
        payload.version = version
        payload.expires = self.signing.now + timedelta(days=days)
        payload.unrecognized_fields[DAYS_FIELD] = days

    def _sign(self, metadata: Metadata[T], role: str, delegators: Sequence[Root | Targets]) -> None:
        keyids: dict[str, None] = {}
        for delegator in delegators:
            keyids |= dict.fromkeys(delegator.get_delegated_role(role).keyids)
        for signer in self.signing.ring.signers(list(keyids)):
            try:
                metadata.sign(signer, append=True)
            except UnsignedMetadataError as error:
                # A token that is not plugged in tells so only now; others may do.
                name = key_name(signer.public_key)
                _LOG.warning("key %r did not sign %s: %s; going on without it", name, role, error)

    def _require(self, metadata: Metadata[T], role: str, delegator: Root | Targets) -> None:
        described = delegator.get_delegated_role(role)
        signed = [keyid for keyid in described.keyids if keyid in metadata.signatures]
        if len(signed) >= described.threshold and is_signed(metadata, role, delegator):
            return
        absent = [
            key_name(delegator.get_key(keyid)) for keyid in described.keyids if keyid not in signed
        ]
        raise TrustError(
            f"role {role!r} needs {described.threshold} signatures and {len(signed)} can be made: "
            f"bring one of {', '.join(absent) or 'more keys'} (--keys may be given several times); "
            "nothing was published"
        )


def key_name(key: PublicKey) -> str:
    """A key's name in its store, for people; its id where the metadata has no name."""
    return str(key.unrecognized_fields.get(NAME_FIELD, key.keyid))


def _meta_file(write: Write) -> MetaFile:
    return MetaFile.from_data(write.version, write.data, ["sha256"])


def _fields(current: Metadata[T] | None) -> dict[str, object]:
    return dict(current.signed.unrecognized_fields) if current else {}
