"""What the release repository says, proved by TUF from the root in the image (fail closed)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.api import exceptions
from tuf.api._payload import Timestamp
from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError
from tuf.ngclient.updater import Updater

from updater import channel as channels
from updater import manifest as manifests
from updater.channel import Channel
from updater.errors import BedplateError
from updater.manifest import ReleaseManifest
from updater.strict import FormatError
from updater.tufcache import Cache
from updater.tuffetch import MetadataFetcher
from updater.version import Version

SIGNED_FIELD = "x-bedplate-signed"
_TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")


class TrustError(BedplateError):
    """The repository was not believed, or not reached; the message says why."""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where releases come from, and what this host already knows of them."""

    server: str
    proxy: str | None
    cache: Path
    first_root: Path


class _ClockedUpdater(Updater):
    """python-tuf's client, judging by our clock: a host's own may stand in 1970."""

    def __init__(self, folder: Path, server: str, fetcher: MetadataFetcher, now: datetime) -> None:
        super().__init__(
            str(folder), f"{server}/metadata/", str(folder), f"{server}/targets/", fetcher
        )
        self._trusted_set.reference_time = now


class Session:
    """Verified metadata, from which verified targets are read."""

    def __init__(self, updater: Updater, folder: Path) -> None:
        self._updater = updater
        self._folder = folder

    def channel(self, name: str) -> Channel:
        """What the people of channel `name` have signed.

        Raises:
            TrustError: there is no such channel, or what is there is not what was signed.
        """
        data = self._target(f"channels/{name}.json", channels.MAXIMUM_LENGTH)
        if data is None:
            raise TrustError(
                f"the repository offers nothing in channel {name}: there is no such channel, or no "
                "release was promoted to it"
            )
        found = channels.parse(data)
        if found.channel != name:
            raise TrustError(f"channels/{name}.json is signed, but for channel {found.channel}")
        return found

    def manifest(self, version: Version) -> ReleaseManifest:
        """The manifest of a release.

        Raises:
            TrustError: there is no such release, or what is there is not what was signed.
        """
        path = f"releases/{version}/manifest.json"
        data = self._target(path, manifests.MAXIMUM_LENGTH)
        if data is None:
            raise TrustError(f"the repository has no {path}, though a channel promotes it")
        found = manifests.parse(data)
        if found.version != version:
            raise TrustError(f"{path} is signed, but for version {found.version}")
        return found

    def _target(self, path: str, maximum: int) -> bytes | None:
        info = self._updater.get_targetinfo(path)
        if info is None:
            return None
        if info.length > maximum:
            raise TrustError(f"{path} has {info.length} bytes, more than the {maximum} allowed")
        file = self._folder / "target"
        self._updater.download_target(info, str(file))
        return file.read_bytes()

    def signed_at(self) -> datetime | None:
        """When the newest verified timestamp was signed: it is certainly not earlier now.

        A stolen timestamp key must not be able to set a host's clock so far ahead that it never
        believes anything again. So a time past the expiry of any top-level role is ignored: newer
        offline signatures, which outlive the older ones, then always bring the host back.
        """
        signed = {
            role: Metadata.from_bytes((self._folder / f"{role}.json").read_bytes()).signed
            for role in _TOP_LEVEL
        }
        timestamp = signed["timestamp"]
        text = timestamp.unrecognized_fields.get(SIGNED_FIELD)
        if not isinstance(timestamp, Timestamp) or not isinstance(text, str):
            return None
        try:
            moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None
        return moment if all(moment < each.expires for each in signed.values()) else None


@contextmanager
def session(repository: Repository, now: datetime) -> Iterator[Session]:
    """Refresh the metadata and give a session over it; on leaving it, what was proved is kept.

    Args:
        repository: where to look.
        now: the time to judge expiry by, aware (see `host.trusted_now`).

    Raises:
        TrustError: no root in the image; or the repository's metadata is unsigned, expired, rolled
            back, truncated, or not there.
        FetchError: the repository cannot be reached, or is too slow, or sends too much.
    """
    cache = Cache(repository.cache)
    fetcher = MetadataFetcher(repository.proxy)
    first = first_root(repository.first_root)
    with _explained(repository, now):
        cache.open(first)
        try:
            updater = _ClockedUpdater(cache.work, repository.server, fetcher, now)
            updater.refresh()
            yield Session(updater, cache.work)
        finally:
            cache.commit(first, fetcher.roots)


def first_root(path: Path) -> bytes:
    """The image's own root, where trust starts.

    Raises:
        TrustError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustError(
            f"cannot read the image's trusted root {path}: {error.strerror}; without it no update "
            "can be believed"
        ) from error


@contextmanager
def _explained(repository: Repository, now: datetime) -> Iterator[None]:
    """Say what python-tuf found, in the words of the operator's handbook."""
    server = repository.server
    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        raise TrustError(
            f"{server}: expired metadata: {error}; this host's clock says {now:%Y-%m-%d %H:%M} UTC"
        ) from error
    except exceptions.UnsignedMetadataError as error:
        raise TrustError(f"{server}: wrong signature: {error}") from error
    except exceptions.BadVersionNumberError as error:
        raise TrustError(f"{server}: rolled-back metadata: {error}") from error
    except exceptions.LengthOrHashMismatchError as error:
        raise TrustError(f"{server}: truncated or garbled file: {error}") from error
    except (DeserializationError, FormatError) as error:
        raise TrustError(f"{server}: truncated or garbled file: {error}") from error
    except exceptions.RepositoryError as error:
        raise TrustError(f"{server}: wrong metadata: {error}") from error
    except exceptions.DownloadError as error:
        raise TrustError(f"cannot download: {error}") from error
