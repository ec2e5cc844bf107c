"""The roles of a Bedplate repository: who signs what, how long it holds, how many must agree.

The reasons for the numbers are in docs/adr/0010-who-signs-what.md.
"""

import re
from datetime import timedelta

from builder.trust.errors import ReleaseInputError
from builder.trust.tuf_types import DelegatedRole
from updater.version import CHANNEL_PATTERN

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
TOP_LEVEL = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
RELEASES = "releases"
_CHANNEL_PREFIX = "channel-"
DEFAULT_CHANNEL = "stable"

ONLINE = frozenset({SNAPSHOT, TIMESTAMP})
"""The roles whose keys may lie on a machine that is always on."""

DEFAULT_KEY_NAMES = (
    *("root-1", "root-2", "root-3"),
    *("targets-1", "targets-2"),
    *(SNAPSHOT, TIMESTAMP, RELEASES),
    _CHANNEL_PREFIX + DEFAULT_CHANNEL,
)
DEFAULT_THRESHOLD = {ROOT: 2, TARGETS: 2}
_DEFAULT_DAYS = {ROOT: 540, TARGETS: 365, SNAPSHOT: 30, TIMESTAMP: 7, RELEASES: 365}
_DEFAULT_CHANNEL_DAYS = 90
_LONGEST_WARNING = timedelta(days=30)


def channel_role(channel: str) -> str:
    """The role that signs `channels/<channel>.json`."""
    if not re.fullmatch(CHANNEL_PATTERN, channel, re.ASCII):
        raise ReleaseInputError(
            f"{channel!r} is no channel name: small letters, digits and hyphens, a letter first"
        )
    return _CHANNEL_PREFIX + channel


def channel_of(role: str) -> str | None:
    """The channel that a role signs, or None for a role that signs none."""
    return role.removeprefix(_CHANNEL_PREFIX) if role.startswith(_CHANNEL_PREFIX) else None


def manifest_path(version: object) -> str:
    """The TUF target of a release."""
    return f"releases/{version}/manifest.json"


def channel_path(channel: str) -> str:
    """The TUF target of a channel."""
    return f"channels/{channel}.json"


def delegation(role: str, keyids: list[str], threshold: int) -> DelegatedRole:
    """What targets says of a delegated role: its keys, and the only targets it may sign."""
    channel = channel_of(role)
    paths = [manifest_path("*") if channel is None else channel_path(channel)]
    return DelegatedRole(role, keyids, threshold, terminating=True, paths=paths)


def default_days(role: str) -> int:
    """How many days a signature of `role` holds, unless it was chosen otherwise."""
    return _DEFAULT_DAYS.get(role, _DEFAULT_CHANNEL_DAYS)


def default_threshold(role: str) -> int:
    """How many keys of `role` must sign."""
    return DEFAULT_THRESHOLD.get(role, 1)


def default_keys(role: str, names: list[str]) -> list[str]:
    """Those of the key names that are the role's by convention: `role`, or `role-<number>`."""
    return [name for name in names if re.fullmatch(rf"{re.escape(role)}(-[0-9]+)?", name)]


def warning_time(days: int) -> timedelta:
    """How long before its expiry a role that holds `days` days is to be signed again."""
    return min(_LONGEST_WARNING, timedelta(days=days) / 4)
