"""What a repository holds and how long it stays valid, as data for a table or for JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from builder.trust.publish import key_name, period
from builder.trust.repository import Repository
from builder.trust.roles import (
    ONLINE,
    RELEASES,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    channel_of,
    warning_time,
)
from builder.trust.state import State
from updater.channel import Channel
from updater.manifest import ReleaseManifest
from updater.strict import render_time
from updater.version import Version


class Validity(StrEnum):
    """How a role stands with its expiry; `due` is the time to sign it again."""

    VALID = "valid"
    DUE = "due"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """One role: its number, how long it holds, and who may sign it."""

    role: str
    version: int
    expires: datetime
    left: timedelta
    validity: Validity
    threshold: int
    keys: tuple[str, ...]

    @property
    def online(self) -> bool:
        """Whether `release refresh` signs this role without being told to."""
        return self.role in ONLINE


@dataclass(frozen=True, slots=True)
class ReleaseStatus:
    """One release and the channels that offer it; `wire` is what a full download is, in bytes."""

    manifest: ReleaseManifest
    wire: int
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    """All of it."""

    roles: tuple[RoleStatus, ...]
    releases: tuple[ReleaseStatus, ...]
    channels: tuple[Channel, ...]

    def due(self) -> tuple[RoleStatus, ...]:
        """The roles that are to be signed again."""
        return tuple(role for role in self.roles if role.validity is not Validity.VALID)


def status_of(repository: Repository, now: datetime) -> RepositoryStatus:
    """Read and verify the repository, and weigh its expiries at `now` (aware, UTC).

    Raises:
        ReleaseInputError, TrustError: as `Repository.load`.
    """
    state = repository.load()
    channels = tuple(
        repository.channel(state, channel)
        for role in state.delegated
        if (channel := channel_of(role)) is not None
    )
    releases = []
    for version in _versions(state):
        manifest = repository.manifest(state, version)
        offering = tuple(
            channel.channel
            for channel in channels
            if version in {promotion.version for promotion in channel.releases}
        )
        wire = manifest.tree.length + manifest.wire.length + manifest.uki.length
        releases.append(ReleaseStatus(manifest, wire, offering))
    return RepositoryStatus(tuple(_roles(state, now)), tuple(releases), channels)


def as_json(status: RepositoryStatus) -> dict[str, object]:
    """The status with `"schema": 1`, for `--json`."""
    return {
        "schema": 1,
        "roles": [
            {
                "role": role.role,
                "version": role.version,
                "expires": render_time(role.expires),
                "validity": role.validity.value,
                "online": role.online,
                "threshold": role.threshold,
                "keys": list(role.keys),
            }
            for role in status.roles
        ],
        "releases": [
            {
                "version": str(release.manifest.version),
                "image": release.manifest.image,
                "architecture": release.manifest.architecture.value,
                "built": render_time(release.manifest.built),
                "root_hash": release.manifest.root.hash,
                "wire_bytes": release.wire,
                "channels": list(release.channels),
            }
            for release in status.releases
        ],
        "channels": [
            {
                "channel": channel.channel,
                "releases": [
                    {
                        "version": str(promotion.version),
                        "promoted": render_time(promotion.promoted),
                        "waves": [
                            {"start": render_time(wave.start), "percent": wave.percent}
                            for wave in promotion.waves
                        ],
                    }
                    for promotion in channel.releases
                ],
            }
            for channel in status.channels
        ],
    }


def _roles(state: State, now: datetime) -> Iterator[RoleStatus]:
    payloads = {
        ROOT: state.root.signed,
        TARGETS: state.targets.signed,
        SNAPSHOT: state.snapshot.signed,
        TIMESTAMP: state.timestamp.signed,
        **{name: metadata.signed for name, metadata in state.delegated.items()},
    }
    for name, payload in payloads.items():
        delegator = state.root.signed if name in TOP_LEVEL else state.targets.signed
        described = delegator.get_delegated_role(name)
        left = payload.expires - now
        yield RoleStatus(
            role=name,
            version=payload.version,
            expires=payload.expires,
            left=left,
            validity=_validity(left, period(payload, name)),
            threshold=described.threshold,
            keys=tuple(key_name(delegator.get_key(keyid)) for keyid in described.keyids),
        )


def _validity(left: timedelta, days: int) -> Validity:
    if left <= timedelta(0):
        return Validity.EXPIRED
    return Validity.DUE if left <= warning_time(days) else Validity.VALID


def _versions(state: State) -> list[Version]:
    paths = state.delegated[RELEASES].signed.targets
    return sorted(Version.parse(path.split("/")[1]) for path in paths)
