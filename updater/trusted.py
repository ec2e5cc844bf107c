"""The TUF metadata that this host trusts now, for people who want to see that it follows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuf.api._payload import Role as Delegated
from tuf.api._payload import Root, Signed, Targets
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata

from updater.strict import render_time
from updater.trust import TrustError, first_root
from updater.tufcache import Cache

_BELOW_ROOT = ("targets", "snapshot", "timestamp")


@dataclass(frozen=True, slots=True)
class Role:
    """A role: whose signatures count, how many it takes, and what was believed by them.

    `version` and `expires` (RFC 3339) are None as long as nothing of this role was seen; `keys`
    are their ids.
    """

    role: str
    version: int | None
    expires: str | None
    threshold: int
    keys: tuple[str, ...]


def roles(cache: Path, first: Path) -> tuple[Role, ...]:
    """Every role, from the newest proved root down; no server is asked, and nothing changed.

    Args:
        cache: the folder of `tufcache`.
        first: the image's own root.

    Raises:
        TrustError: the image has no root, or what it has is none.
    """
    try:
        newest, files = Cache(cache).read(first_root(first))
    except RepositoryError as error:
        raise TrustError(f"{first} is no root of trust: {error}") from error
    root = Metadata[Root].from_bytes(newest).signed
    found = [_role("root", root, root.roles["root"])]
    for name in _BELOW_ROOT:
        signed = _believed(root, name, files)
        found.append(_role(name, signed, root.roles[name]))
        if isinstance(signed, Targets):
            found += _delegated(signed, files)
    return tuple(found)


def _delegated(targets: Targets, files: Mapping[str, bytes]) -> list[Role]:
    delegated = (targets.delegations and targets.delegations.roles) or {}
    return [_role(name, _believed(targets, name, files), role) for name, role in delegated.items()]


def _believed(delegator: Root | Targets, name: str, files: Mapping[str, bytes]) -> Signed | None:
    """A role's metadata, if it was seen and has the signatures that it needs."""
    try:
        # Whichever type it is of: only what all have in common is relied on.
        metadata = Metadata[Targets].from_bytes(files[name])
        delegator.verify_delegate(name, metadata.signed_bytes, metadata.signatures)
    except (KeyError, ValueError, RepositoryError):
        return None
    return metadata.signed


def _role(name: str, signed: Signed | None, delegated: Delegated) -> Role:
    return Role(
        role=name,
        version=signed.version if signed else None,
        expires=render_time(signed.expires) if signed else None,
        threshold=delegated.threshold,
        keys=tuple(delegated.keyids),
    )
