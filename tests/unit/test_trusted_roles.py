"""What a host tells of the TUF metadata that it trusts, against a real repository."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from builder.trust.repository import KeyChange
from trust_kit import NOW, Site, make_build, make_store, served_site
from updater import trust, trusted
from updater.trust import TrustError
from updater.trusted import Role
from updater.version import Version

ALL = ["root", "targets", "releases", "channel-stable", "snapshot", "timestamp"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "keys")


@pytest.fixture
def site(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    with served_site(tmp_path, store) as made:
        made.repository.add(make_build(tmp_path / "build/1", "1"), made.signing())
        made.repository.promote(Version((1,)), "stable", [], made.signing())
        yield made


@pytest.fixture
def host(site: Site, tmp_path: Path) -> trust.Repository:
    first = tmp_path / "root.json"
    shutil.copyfile(site.repository.root_path(1), first)
    return trust.Repository(site.url.rstrip("/"), None, tmp_path / "tuf", first)


def look(host: trust.Repository) -> None:
    with trust.session(host, NOW + timedelta(minutes=1)) as session:
        session.manifest(session.channel("stable").releases[0].version)


def roles(host: trust.Repository) -> dict[str, Role]:
    return {each.role: each for each in trusted.roles(host.cache, host.first_root)}


def test_before_the_first_check_the_image_s_root_is_all(host: trust.Repository) -> None:
    found = roles(host)
    assert list(found) == ["root", "targets", "snapshot", "timestamp"]
    assert found["root"].version == 1
    assert found["timestamp"].version is None
    assert found["timestamp"].keys
    assert not host.cache.exists()


def test_all_roles(host: trust.Repository) -> None:
    look(host)
    found = roles(host)
    assert list(found) == ALL
    assert all(each.version and each.expires and each.keys for each in found.values())
    assert found["targets"].threshold == 2
    assert found["root"].expires is not None
    assert found["root"].expires.endswith("Z")


def test_a_host_follows_a_new_root(host: trust.Repository, site: Site) -> None:
    look(host)
    before = roles(host)["root"]
    site.repository.rotate("root", KeyChange(add=["spare-1"], remove=["root-1"]), site.signing())
    assert roles(host)["root"] == before
    look(host)
    after = roles(host)["root"]
    assert (before.version, after.version) == (1, 2)
    assert len(set(before.keys) ^ set(after.keys)) == 2


def test_what_has_no_right_signature_is_not_told(host: trust.Repository) -> None:
    look(host)
    path = host.cache / "current" / "snapshot.json"
    path.write_bytes(path.read_bytes().replace(b'"version":', b'"version": 1', 1))
    assert roles(host)["snapshot"].version is None


def test_looking_changes_nothing(host: trust.Repository) -> None:
    look(host)
    before = sorted(host.cache.rglob("*"))
    roles(host)
    assert sorted(host.cache.rglob("*")) == before


def test_an_image_without_a_root(host: trust.Repository) -> None:
    host.first_root.write_text("{}")
    with pytest.raises(TrustError, match="no root of trust"):
        roles(host)
    host.first_root.unlink()
    with pytest.raises(TrustError, match="no update can be believed"):
        roles(host)
