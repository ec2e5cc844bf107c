"""The repository of releases: every change an operator can make to it, one method each.

Each method can be run again after an interruption, and then ends where the first run would have.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuf.api.exceptions import RepositoryError

from builder.trust import artefacts
from builder.trust.draft import Draft
from builder.trust.errors import ReleaseInputError, TrustError
from builder.trust.publish import Signing, key_name, publish
from builder.trust.roles import (
    DEFAULT_CHANNEL,
    ONLINE,
    RELEASES,
    ROOT,
    TOP_LEVEL,
    channel_path,
    channel_role,
    default_keys,
    default_threshold,
    manifest_path,
)
from builder.trust.state import State, delegated_names, load
from builder.trust.storage import Storage
from builder.trust.tuf_types import PublicKey, TargetFile
from updater import channel as channel_format
from updater import manifest as manifest_format
from updater.channel import Channel, Promotion, Wave
from updater.manifest import ReleaseManifest
from updater.strict import FormatError
from updater.version import Version


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change did: the roles that were signed (none: all was so already), and in words."""

    signed: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A rotation: names of keys to add, names or ids of keys to remove, a new threshold."""

    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    threshold: int | None = None


class Repository:
    """The TUF repository in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.storage = Storage(folder)

    def load(self) -> State:
        """The published state, verified.

        Raises:
            ReleaseInputError: there is no repository.
            TrustError: it is damaged, or something that is not ours was put there.
        """
        return load(self.storage)

    def init(
        self,
        signing: Signing,
        channels: Sequence[str] = (DEFAULT_CHANNEL,),
        thresholds: Mapping[str, int] | None = None,
    ) -> Outcome:
        """Make the repository: version 1 of every role, no releases.

        A role's keys are those named after it: `root-1`, `root-2`, `snapshot`, `channel-stable`.

        Raises:
            ReleaseInputError: a repository is there already, or keys are missing.
        """
        thresholds = thresholds or {}
        delegated = [RELEASES, *(channel_role(name) for name in channels)]
        _require_known([*TOP_LEVEL, *delegated], [*thresholds, *signing.days])
        chosen = {role: _keys_for(role, signing, thresholds) for role in (*TOP_LEVEL, *delegated)}
        self.storage.create()
        with self.storage.writing():
            if self.storage.timestamp_path.exists():
                raise ReleaseInputError(f"{self.storage.folder}: there is a repository already")
            self.storage.clear_interrupted_init()
            draft = Draft.first()
            for role in TOP_LEVEL:
                keys, threshold = chosen[role]
                draft.change_keys(role, keys, [], threshold)
            for role in delegated:
                draft.delegate(role, *chosen[role])
            signed = publish(self.storage, None, draft, signing)
        return Outcome(signed, f"made a repository; the root for images is {self.root_path()}")

    def add(self, build: Path, signing: Signing) -> Outcome:
        """Copy a build's artefacts into the repository and sign its manifest.

        Raises:
            ReleaseInputError: no manifest, or another release has this version.
            TrustError: an artefact is not what the manifest says.
        """
        manifest, data = artefacts.read_manifest(build)
        target = TargetFile.from_data(manifest_path(manifest.version), data, ["sha256"])
        with self._changing(signing) as (state, draft):
            published = state.delegated[RELEASES].signed.targets.get(target.path)
            folder = self._release_folder(manifest.version)
            if published is not None and published.hashes != target.hashes:
                raise ReleaseInputError(
                    f"release {manifest.version} is there already with another manifest; "
                    "a version is never reused: build the release under a new one"
                )
            if published is None:
                artefacts.place(build, manifest, folder)
                self.storage.write_target(target, data)
                draft.set_target(RELEASES, target)
            signed = publish(self.storage, state, draft, signing)
        word = "added" if published is None else "was there already"
        return Outcome(signed, f"release {manifest.version} {word}")

    def promote(
        self, version: Version, channel: str, waves: Sequence[Wave], signing: Signing
    ) -> Outcome:
        """Offer a release to a channel's hosts, in waves (none: to all of them, from now on).

        A release that is in the channel already gets the new waves and keeps its place.

        Raises:
            ReleaseInputError: the version was never added, or the channel does not exist.
            TrustError: the release's files are no longer what was signed.
            FormatError: the waves shrink or are not in order of time.
        """
        waves = tuple(waves) or (Wave(signing.now, 100),)
        with self._changing(signing) as (state, draft):
            before = self._channel(state, channel)
            artefacts.verify(self._release_folder(version), self.manifest(state, version))
            promotion = Promotion(version, signing.now, tuple(waves))
            others = [entry for entry in before.releases if entry.version != version]
            self._set_channel(draft, Channel(channel, _sorted([*others, promotion])))
            signed = publish(self.storage, state, draft, signing)
        return Outcome(signed, f"release {version} promoted to {channel}")

    def withdraw(self, version: Version, channel: str, signing: Signing) -> Outcome:
        """Offer a release no longer; hosts that run it already are left on it."""
        with self._changing(signing) as (state, draft):
            before = self._channel(state, channel)
            kept = tuple(entry for entry in before.releases if entry.version != version)
            if kept == before.releases:
                signed = publish(self.storage, state, draft, signing)
                return Outcome(signed, f"release {version} is not in {channel}")
            self._set_channel(draft, Channel(channel, kept))
            signed = publish(self.storage, state, draft, signing)
        return Outcome(signed, f"release {version} withdrawn from {channel}")

    def refresh(self, roles: Sequence[str], signing: Signing) -> Outcome:
        """Sign roles anew, unchanged but for their expiry (none named: snapshot and timestamp)."""
        with self._changing(signing) as (state, draft):
            known = [*TOP_LEVEL, *state.delegated]
            _require_known(known, [*roles, *signing.days])
            draft.touched |= set(roles) or ONLINE
            signed = publish(self.storage, state, draft, signing)
        return Outcome(signed, f"signed anew: {', '.join(signed)}")

    def rotate(self, role: str, change: KeyChange, signing: Signing) -> Outcome:
        """Change the keys of a role, and sign whatever that leaves without enough signatures.

        Raises:
            ReleaseInputError: no such role or key, or fewer keys than the threshold would be left.
            TrustError: not enough keys are at hand to sign.
        """
        with self._changing(signing) as (state, draft):
            _require_known([*TOP_LEVEL, *state.delegated], [role, *signing.days])
            added = [signing.ring.named(name).key for name in change.add]
            removed = [_key_id(name, role, state, signing) for name in change.remove]
            draft.change_keys(role, added, removed, change.threshold)
            delegator = draft.root if role in TOP_LEVEL else draft.targets
            described = delegator.get_delegated_role(role)
            if not 1 <= described.threshold <= len(described.keyids):
                raise ReleaseInputError(
                    f"role {role!r} would have {len(described.keyids)} keys and a threshold of "
                    f"{described.threshold}; add keys or choose another --threshold"
                )
            signed = publish(self.storage, state, draft, signing)
        done = f"keys of {role} changed" if signed else f"the keys of {role} are so already"
        return Outcome(signed, done)

    def add_channel(
        self, channel: str, keys: Sequence[str], threshold: int, signing: Signing
    ) -> Outcome:
        """Add a channel, signed by the named keys (none: those named after its role)."""
        role = channel_role(channel)
        with self._changing(signing) as (state, draft):
            signed: tuple[str, ...]
            if role in state.delegated:
                signed = publish(self.storage, state, draft, signing)
                return Outcome(signed, f"channel {channel} is there already")
            if keys:
                chosen = [signing.ring.named(name).key for name in keys]
            else:
                chosen, _ = _keys_for(role, signing, {role: threshold})
            if not 1 <= threshold <= len(chosen):
                raise ReleaseInputError(
                    f"a threshold of {threshold} cannot be met by {len(chosen)} keys"
                )
            draft.delegate(role, chosen, threshold)
            signed = publish(self.storage, state, draft, signing)
        return Outcome(signed, f"channel {channel} added")

    def root_path(self, version: int | None = None) -> Path:
        """The root metadata that goes into an image: the newest, or a given version."""
        return self.storage.metadata_path(ROOT, version or self.storage.newest(ROOT))

    def manifest(self, state: State, version: Version) -> ReleaseManifest:
        """The signed manifest of a release.

        Raises:
            ReleaseInputError: no such release was added.
            TrustError: the file is not what was signed.
        """
        target = state.delegated[RELEASES].signed.targets.get(manifest_path(version))
        if target is None:
            raise ReleaseInputError(
                f"release {version} is not in the repository; add it with bedplate release add"
            )
        return manifest_format.parse(self._read_target(target))

    def channel(self, state: State, channel: str) -> Channel:
        """What a channel offers now; nothing was promoted to a channel without a file."""
        target = state.delegated[channel_role(channel)].signed.targets.get(channel_path(channel))
        if target is None:
            return Channel(channel, ())
        return channel_format.parse(self._read_target(target))

    @contextmanager
    def _changing(self, signing: Signing) -> Iterator[tuple[State, Draft]]:
        """Hold the lock over a change of what is published now."""
        self.storage.require()
        with self.storage.writing():
            state = self.load()
            _require_known([*TOP_LEVEL, *delegated_names(state.targets.signed)], [*signing.days])
            yield state, Draft.of(state)

    def _channel(self, state: State, channel: str) -> Channel:
        if channel_role(channel) not in state.delegated:
            raise ReleaseInputError(
                f"no channel {channel!r}; add it with bedplate release channel {channel}"
            )
        return self.channel(state, channel)

    def _set_channel(self, draft: Draft, changed: Channel) -> None:
        data = changed.render()
        try:
            channel_format.parse(data)
        except FormatError as error:
            raise ReleaseInputError(str(error)) from error
        target = TargetFile.from_data(channel_path(changed.channel), data, ["sha256"])
        self.storage.write_target(target, data)
        draft.set_target(channel_role(changed.channel), target)

    def _read_target(self, target: TargetFile) -> bytes:
        path = self.storage.target_path(target)
        try:
            data = path.read_bytes()
            target.verify_length_and_hashes(data)
        except OSError as error:
            raise TrustError(f"{path}: cannot be read: {error.strerror}") from error
        except RepositoryError as error:
            raise TrustError(f"{path}: is not the file that was signed: {error}") from error
        return data

    def _release_folder(self, version: Version) -> Path:
        return self.storage.targets / "releases" / str(version)


def _keys_for(
    role: str, signing: Signing, thresholds: Mapping[str, int]
) -> tuple[list[PublicKey], int]:
    names = default_keys(role, signing.ring.names())
    threshold = thresholds.get(role, default_threshold(role))
    if not 1 <= threshold <= len(names):
        raise ReleaseInputError(
            f"role {role!r} needs {threshold} keys named {role} or {role}-<number>; the key store "
            f"has {', '.join(names) or 'none'}"
        )
    return [signing.ring.named(name).key for name in names], threshold


def _key_id(name: str, role: str, state: State, signing: Signing) -> str:
    """The id of a key given by its name in the metadata or a store, or by its id."""
    delegator = state.root.signed if role in TOP_LEVEL else state.targets.signed
    for keyid in delegator.get_delegated_role(role).keyids:
        if name in (keyid, key_name(delegator.get_key(keyid))):
            return keyid
    return signing.ring.named(name).key.keyid


def _sorted(promotions: Sequence[Promotion]) -> tuple[Promotion, ...]:
    return tuple(sorted(promotions, key=lambda promotion: promotion.version))


def _require_known(known: Sequence[str], given: Sequence[str]) -> None:
    for role in given:
        if role not in known:
            raise ReleaseInputError(f"no role {role!r}; the roles are {', '.join(known)}")
