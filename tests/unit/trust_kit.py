"""What the tests of trust share: keys that are cheap to open, small builds, a real TUF client."""

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from builder.serve import serving
from builder.trust.keys import KeyRing, KeyStore, generate
from builder.trust.pkcs8 import ScryptCost
from builder.trust.publish import Signing
from builder.trust.repository import Repository
from builder.trust.roles import DEFAULT_KEY_NAMES
from updater.manifest import Architecture, Artefact, ReleaseManifest, Root
from updater.version import Version

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
PASSPHRASE = "correct horse"  # noqa: S105 - of keys that live for one test
CHEAP = ScryptCost(n=2, r=1, p=1)
SPARE_KEYS = tuple(f"spare-{number}" for number in range(1, 7))


def make_store(folder: Path) -> Path:
    generate(folder, [*DEFAULT_KEY_NAMES, *SPARE_KEYS], PASSPHRASE, CHEAP)
    return folder


def open_store(folder: Path, passphrase: str = PASSPHRASE) -> KeyStore:
    return KeyStore(folder, lambda _opens: passphrase)


def make_build(folder: Path, version: str, content: bytes = b"content") -> Path:
    folder.mkdir(parents=True, exist_ok=True)

    def artefact(name: str, data: bytes) -> Artefact:
        (folder / name).write_bytes(data)
        return Artefact(name, hashlib.sha256(data).hexdigest(), len(data))

    manifest = ReleaseManifest(
        image="bedplate",
        version=Version.parse(version),
        architecture=Architecture.X86_64,
        built=NOW,
        minimum_version=Version.parse("1"),
        root=Root("ab" * 32, "", 4096, 64, 32),
        tree=artefact("root.verity", b"tree" + content),
        index=artefact("root.index", bytes(8)),
        wire=artefact("root.wire", b"wire" + content),
        uki=artefact("bedplate.efi", b"MZ" + content),
    )
    (folder / "manifest.json").write_bytes(manifest.render())
    return folder


class FolderFetcher(FetcherInterface):
    """Fetches from a folder, for tests that are not about HTTP and ask many times."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(url.removeprefix("file://"))
        if not path.exists():
            raise DownloadHTTPError(f"{path}: not found", 404)
        yield path.read_bytes()


@dataclass(frozen=True)
class Client:
    """python-tuf's own client: starts from the first root and keeps state, as a host does."""

    folder: Path
    url: str

    @classmethod
    def new(cls, folder: Path, url: str, root: bytes) -> "Client":
        folder.mkdir(parents=True)
        (folder / "root.json").write_bytes(root)
        return cls(folder, url)

    def refresh(self, now: datetime = NOW) -> Updater:
        updater = Updater(
            str(self.folder),
            f"{self.url}/metadata/",
            str(self.folder),
            f"{self.url}/targets/",
            fetcher=FolderFetcher() if self.url.startswith("file:") else None,
        )
        updater._trusted_set.reference_time = now
        updater.refresh()
        return updater

    def fetch(self, path: str, now: datetime = NOW) -> bytes | None:
        """The content of a target, verified; None where nobody signed one of that name."""
        updater = self.refresh(now)
        target = updater.get_targetinfo(path)
        if target is None:
            return None
        return Path(updater.download_target(target)).read_bytes()


@dataclass(frozen=True)
class Site:
    """A repository, the keys that sign it, and where it is served."""

    repository: Repository
    ring: KeyRing
    url: str
    folder: Path
    store: Path

    def signing(self, now: datetime = NOW, **days: int) -> Signing:
        return Signing(self.ring, now, days)

    def client(self, name: str = "client") -> Client:
        root = self.repository.root_path(1).read_bytes()
        return Client.new(self.folder.parent / name, self.url, root)


@contextmanager
def served_site(folder: Path, store: Path) -> Iterator[Site]:
    """A fresh repository, served over HTTP."""
    site = new_site(folder, store)
    with serving(folder / "repository") as server:
        yield dataclasses.replace(site, url=server.url)


def new_site(folder: Path, store: Path) -> Site:
    """A fresh repository, for clients that read it from its folder."""
    repository = Repository(folder / "repository")
    ring = KeyRing([open_store(store)])
    repository.init(Signing(ring, NOW))
    path = folder / "repository"
    return Site(repository, ring, f"file://{path}", path, store)
