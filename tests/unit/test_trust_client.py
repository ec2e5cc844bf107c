"""The host's trust against a real repository: the builder's, served on loopback."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from builder.trust.repository import KeyChange
from trust_kit import NOW, Site, make_build, make_store, served_site
from updater import trust, tufcache
from updater.channel import Channel, Wave
from updater.errors import BedplateError
from updater.fetch import FetchError, Limits
from updater.trust import TrustError
from updater.version import Version

ONE, TWO = Version((1,)), Version((2,))
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "keys")


@pytest.fixture
def site(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(
        "updater.tuffetch._LIMITS", Limits(connect_seconds=5, gap_seconds=5, retries=0)
    )
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    with served_site(tmp_path, store) as made:
        made.repository.add(make_build(tmp_path / "build/1", "1"), made.signing())
        made.repository.promote(ONE, "stable", [], made.signing())
        yield made


@pytest.fixture
def host(site: Site, tmp_path: Path) -> trust.Repository:
    first = tmp_path / "root.json"
    shutil.copyfile(site.repository.root_path(1), first)
    return trust.Repository(site.url.rstrip("/"), None, tmp_path / "tuf", first)


def look(host: trust.Repository, days: float = 0) -> Channel:
    with trust.session(host, NOW + days * DAY) as session:
        return session.channel("stable")


def metadata(site: Site) -> Path:
    return site.folder / "metadata"


def test_channel_and_manifest(host: trust.Repository) -> None:
    with trust.session(host, NOW) as session:
        [promotion] = session.channel("stable").releases
        assert session.manifest(promotion.version).version == ONE
        assert session.signed_at() == NOW


def test_what_is_not_there(host: trust.Repository) -> None:
    with trust.session(host, NOW) as session:
        with pytest.raises(TrustError, match="nothing in channel beta"):
            session.channel("beta")
        with pytest.raises(TrustError, match=r"releases/2/manifest\.json"):
            session.manifest(TWO)


def test_no_root_no_trust(host: trust.Repository) -> None:
    host.first_root.unlink()
    with pytest.raises(TrustError, match="no update can be believed"):
        look(host)


def test_another_root_is_a_wrong_signature(host: trust.Repository, tmp_path: Path) -> None:
    with served_site(tmp_path / "elsewhere", make_store(tmp_path / "others")) as elsewhere:
        shutil.copyfile(elsewhere.repository.root_path(1), host.first_root)
    with pytest.raises(TrustError, match="wrong signature"):
        look(host)


def test_expired(host: trust.Repository) -> None:
    look(host)
    with pytest.raises(TrustError, match=r"expired metadata: .*clock says 2"):
        look(host, days=5000)
    look(host)


def test_rolled_back(host: trust.Repository, site: Site, tmp_path: Path) -> None:
    shutil.copytree(metadata(site), tmp_path / "older")
    site.repository.refresh([], site.signing())
    look(host)
    for path in (tmp_path / "older").iterdir():
        shutil.copyfile(path, metadata(site) / path.name)
    with pytest.raises(TrustError, match="rolled-back metadata"):
        look(host)


def test_truncated_and_garbled(host: trust.Repository, site: Site) -> None:
    path = metadata(site) / "timestamp.json"
    whole = path.read_bytes()
    for bad in (whole[:100], b"", b"\0" * len(whole)):
        path.write_bytes(bad)
        with pytest.raises(TrustError, match="truncated or garbled"):
            look(host)
    path.write_bytes(whole)
    target = next((site.folder / "targets/channels").rglob("*.json"))
    target.write_bytes(target.read_bytes()[:-1] + b" ")
    with pytest.raises(TrustError, match="truncated or garbled"):
        look(host)


def test_endless_metadata(host: trust.Repository, site: Site) -> None:
    (metadata(site) / "timestamp.json").write_bytes(b" " * 100_000)
    with pytest.raises(FetchError, match="longer than"):
        look(host)


def test_nobody_there(host: trust.Repository) -> None:
    with pytest.raises(FetchError, match=r"127\.0\.0\.1:1/"):
        look(replace(host, server="http://127.0.0.1:1"))


def test_rotated_root_is_proved_from_the_first(host: trust.Repository, site: Site) -> None:
    look(host)
    for number in (1, 2):
        change = KeyChange(add=[f"spare-{number}"], remove=[f"root-{number}"])
        site.repository.rotate("root", change, site.signing())
    look(host)
    # And from what the host has kept, with the server's first roots gone.
    (metadata(site) / "2.root.json").unlink()
    look(host)


def test_a_planted_root_is_not_believed(host: trust.Repository, tmp_path: Path) -> None:
    """/var is not verified: whoever writes to it must not thereby choose whom a host trusts."""
    look(host)
    with served_site(tmp_path / "evil", make_store(tmp_path / "others")) as evil:
        change = KeyChange(add=["spare-1"])
        evil.repository.rotate("root", change, evil.signing())
        second = evil.repository.root_path(2).read_bytes()
        shutil.rmtree((host.cache / "current").resolve())
        (host.cache / "1").mkdir()
        for path in metadata(evil).iterdir():
            shutil.copyfile(path, host.cache / "1" / path.name)
        for name in ("root.json", "2.root.json"):
            (host.cache / "1" / name).write_bytes(second)
        with pytest.raises(TrustError, match="signature"):
            look(replace(host, server=evil.url.rstrip("/")))
        look(host)


def cache_files(host: trust.Repository) -> list[Path]:
    return sorted((host.cache / "current").resolve().glob("*.json"))


def test_any_torn_cache_is_good_again(host: trust.Repository, site: Site) -> None:
    look(host)
    for name in [path.name for path in cache_files(host)]:
        for data in (b"", b"\0" * 100, b"{"):
            (host.cache / "current" / name).write_bytes(data)
            site.repository.refresh([], site.signing())
            look(host)
    shutil.rmtree(host.cache)
    look(host)


def test_a_torn_generation_does_not_lose_the_guard_against_roll_back(
    host: trust.Repository, site: Site, tmp_path: Path
) -> None:
    shutil.copytree(metadata(site), tmp_path / "older")
    site.repository.refresh([], site.signing())
    look(host)
    site.repository.refresh([], site.signing())
    look(host)
    (host.cache / "current/timestamp.json").write_bytes(b"")
    for path in (tmp_path / "older").iterdir():
        shutil.copyfile(path, metadata(site) / path.name)
    with pytest.raises(TrustError, match="rolled-back"):
        look(host)


def test_nothing_is_written_when_nothing_is_new(host: trust.Repository) -> None:
    look(host)
    before = (host.cache / "current").readlink()
    look(host)
    assert (host.cache / "current").readlink() == before
    assert sorted(path.name for path in host.cache.iterdir()) == ["1", "current"]


def test_two_generations_are_kept(host: trust.Repository, site: Site) -> None:
    for _ in range(4):
        site.repository.refresh([], site.signing())
        look(host)
    assert sorted(path.name for path in host.cache.iterdir()) == ["3", "4", "current"]


def test_a_time_past_any_expiry_is_no_time(host: trust.Repository, site: Site) -> None:
    """A stolen timestamp key must not be able to make a host disbelieve everything to come."""
    later = NOW + timedelta(days=4000)
    site.repository.refresh(
        ["timestamp"], replace(site.signing(), now=later, days={"timestamp": 5000})
    )
    with trust.session(host, NOW) as session:
        assert session.signed_at() is None


def test_a_new_root_is_kept_though_the_rest_fails(host: trust.Repository, site: Site) -> None:
    look(host)
    change = KeyChange(add=["spare-1"], remove=["timestamp"])
    site.repository.rotate("timestamp", change, site.signing())
    path = metadata(site) / "timestamp.json"
    whole = path.read_bytes()
    path.write_bytes(b"torn")
    with pytest.raises(TrustError):
        look(host)
    assert max(tufcache.read_roots((host.cache / "current").resolve())) == 2
    path.write_bytes(whole)
    look(host)


class CutError(BaseException):
    """The power is gone."""


def test_a_power_cut_at_any_write_of_the_cache(
    host: trust.Repository, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(host)
    cut = 0
    done = False
    while not done:
        site.repository.refresh([], site.signing())
        with monkeypatch.context() as patch:
            left = cut

            def spend() -> None:
                nonlocal left
                if left == 0:
                    raise CutError
                left -= 1

            for name in ("rename", "replace", "symlink", "unlink", "rmdir"):
                real = getattr(__import__("os"), name)

                def call(*args: object, real: object = real, **kwargs: object) -> object:
                    spend()
                    assert callable(real)
                    return real(*args, **kwargs)

                patch.setattr(f"os.{name}", call)
            try:
                look(host)
                done = True
            except CutError:
                pass
        look(host)
        cut += 1
    assert cut > 10


def test_waves_come_through(host: trust.Repository, site: Site) -> None:
    waves = [Wave(NOW, 10), Wave(NOW + DAY, 100)]
    site.repository.add(make_build(site.folder.parent / "build/2", "2"), site.signing())
    site.repository.promote(TWO, "stable", waves, site.signing())
    assert look(host).releases[1].waves == tuple(waves)


def test_errors_are_one_line(host: trust.Repository, site: Site) -> None:
    (metadata(site) / "timestamp.json").write_bytes(b"\xff")
    with pytest.raises(BedplateError) as caught:
        look(host)
    assert "\n" not in str(caught.value)
