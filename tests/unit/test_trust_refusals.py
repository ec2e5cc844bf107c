"""What a client refuses to take from the repository, and what we refuse to build upon."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import (
    BadVersionNumberError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)

from builder.trust.errors import TrustError
from trust_kit import NOW, Site, make_build, make_store, served_site
from updater.version import Version

ONE = Version.parse("1")
MANIFEST = "releases/1/manifest.json"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "keys")


@pytest.fixture
def site(tmp_path: Path, store: Path) -> Iterator[Site]:
    with served_site(tmp_path, store) as made:
        made.repository.add(make_build(tmp_path / "build", "1"), made.signing())
        made.repository.promote(ONE, "stable", [], made.signing())
        yield made


def newest(site: Site, role: str) -> Path:
    if role == "timestamp":
        return site.folder / "metadata/timestamp.json"
    return site.repository.storage.metadata_path(role, site.repository.storage.newest(role))


def edit(path: Path) -> None:
    """Change one letter of the signed part; the length stays."""
    data = path.read_bytes()
    changed = data.replace(b'"expires":"2', b'"expires":"3', 1)
    assert changed != data
    path.write_bytes(changed)


def test_the_untouched_repository_is_accepted(site: Site) -> None:
    assert site.client().fetch(MANIFEST)


def test_a_changed_timestamp_is_refused_by_both(site: Site) -> None:
    edit(newest(site, "timestamp"))
    with pytest.raises(UnsignedMetadataError):
        site.client().refresh()
    with pytest.raises(TrustError, match="not signed by the keys of role 'timestamp'"):
        site.repository.refresh([], site.signing())


@pytest.mark.parametrize("role", ["snapshot", "targets", "releases", "channel-stable"])
def test_changed_metadata_is_refused_by_both(site: Site, role: str) -> None:
    edit(newest(site, role))
    with pytest.raises((LengthOrHashMismatchError, UnsignedMetadataError)):
        site.client().fetch(MANIFEST if role != "channel-stable" else "channels/stable.json")
    with pytest.raises(TrustError, match=rf"{role}\.json: is not the file that was published"):
        site.repository.refresh([], site.signing())


def test_a_root_of_a_strangers_making_is_refused_by_both(site: Site) -> None:
    storage = site.repository.storage
    shutil.copy(storage.metadata_path("root", 1), storage.metadata_path("root", 2))
    edit(storage.metadata_path("root", 2))
    with pytest.raises(UnsignedMetadataError):
        site.client().refresh()
    with pytest.raises(TrustError, match=r"2\.root\.json: is not signed"):
        site.repository.refresh([], site.signing())


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "releases", "channel-stable"])
def test_damaged_files_are_named(site: Site, role: str) -> None:
    path = newest(site, role)
    path.write_bytes(b"{" + path.read_bytes()[1:-40])
    with pytest.raises(TrustError, match=rf"{role}\.json"):
        site.repository.refresh([], site.signing())
    path.unlink()
    if role != "timestamp":
        with pytest.raises(TrustError, match=rf"{role}\.json: cannot be read"):
            site.repository.refresh([], site.signing())


@pytest.mark.parametrize("path", [MANIFEST, "channels/stable.json"])
def test_a_changed_target_is_refused(site: Site, path: str) -> None:
    folder, _, name = path.rpartition("/")
    (file,) = (site.folder / "targets" / folder).glob(f"*.{name}")
    data = file.read_bytes()
    file.write_bytes(data.replace(b"1", b"2", 1))
    with pytest.raises(RepositoryError):
        site.client().fetch(path)
    if "channels" in path:
        with pytest.raises(TrustError, match="not the file that was signed"):
            site.repository.promote(ONE, "stable", [], site.signing())


@pytest.mark.parametrize(
    ("role", "days"),
    [("timestamp", 7), ("snapshot", 30), ("channel-stable", 90), ("releases", 365), ("root", 540)],
)
def test_expired_metadata_is_refused(site: Site, role: str, days: int) -> None:
    client = site.client()
    # All others are kept alive, so that it is this role's expiry that counts.
    others = {"timestamp", "snapshot", "targets", "releases", "channel-stable", "root"} - {role}
    site.repository.refresh(sorted(others), site.signing(NOW, **dict.fromkeys(others, 3000)))
    path = "channels/stable.json" if role == "channel-stable" else MANIFEST
    assert client.fetch(path, NOW + timedelta(days=days, seconds=-1))
    with pytest.raises(ExpiredMetadataError):
        client.fetch(path, NOW + timedelta(days=days))


def test_a_rolled_back_timestamp_is_refused(site: Site) -> None:
    client = site.client()
    old = newest(site, "timestamp").read_bytes()
    site.repository.refresh([], site.signing())
    client.refresh()
    newest(site, "timestamp").write_bytes(old)
    with pytest.raises(BadVersionNumberError):
        client.refresh()


def test_a_rolled_back_repository_is_refused_after_a_new_signature(
    site: Site, tmp_path: Path
) -> None:
    """An old copy signed by the online keys again: the numbers in the snapshot give it away."""
    client = site.client()
    shutil.copytree(site.folder, tmp_path / "old")
    site.repository.add(make_build(tmp_path / "build/2", "2"), site.signing())
    client.refresh()
    shutil.rmtree(site.folder)
    shutil.copytree(tmp_path / "old", site.folder)
    site.repository.refresh(["timestamp"], site.signing())
    site.repository.refresh(["timestamp"], site.signing())
    with pytest.raises(BadVersionNumberError):
        client.refresh()


def test_a_rolled_back_snapshot_is_refused(site: Site) -> None:
    client = site.client()
    client.refresh()
    storage = site.repository.storage
    shutil.copy(storage.metadata_path("snapshot", 1), newest(site, "snapshot"))
    fresh = site.client("fresh")
    with pytest.raises((LengthOrHashMismatchError, BadVersionNumberError)):
        fresh.refresh()
