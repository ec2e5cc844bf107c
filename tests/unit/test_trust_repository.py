import dataclasses
import json
import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import RepositoryError

from builder.trust.errors import ReleaseInputError, TrustError
from builder.trust.keys import KeyRing, generate
from builder.trust.publish import SIGNED_FIELD
from builder.trust.repository import Repository
from builder.trust.status import Validity, as_json, status_of
from trust_kit import CHEAP, NOW, PASSPHRASE, Site, make_build, make_store, open_store, served_site
from updater import channel as channel_format
from updater import manifest as manifest_format
from updater.channel import Wave
from updater.version import Version

ONE, TWO, TEN = (Version.parse(text) for text in ("1", "2", "10"))
MANIFEST = "releases/1/manifest.json"
CHANNEL = "channels/stable.json"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "keys")


@pytest.fixture(scope="module")
def ring(store: Path) -> KeyRing:
    return KeyRing([open_store(store)])


@pytest.fixture
def site(tmp_path: Path, store: Path) -> Iterator[Site]:
    with served_site(tmp_path, store) as made:
        yield made


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return make_build(tmp_path / "build/1", "1")


def published(site: Site) -> dict[str, bytes]:
    """Every file of the repository, by path."""
    return {
        str(path.relative_to(site.folder)): path.read_bytes()
        for path in sorted(site.folder.rglob("*"))
        if path.is_file()
    }


def test_from_nothing_to_a_promoted_release(site: Site, build: Path) -> None:
    client = site.client()
    assert client.fetch(MANIFEST) is None
    assert client.fetch(CHANNEL) is None

    site.repository.add(build, site.signing())
    data = client.fetch(MANIFEST)
    assert data == (build / "manifest.json").read_bytes()
    manifest = manifest_format.parse(data)
    served = site.folder / "targets/releases/1"
    assert (served / manifest.wire.path).read_bytes() == (build / "root.wire").read_bytes()
    assert client.fetch(CHANNEL) is None

    waves = [Wave(NOW, 10), Wave(NOW + timedelta(days=1), 100)]
    site.repository.promote(ONE, "stable", waves, site.signing())
    channel = channel_format.parse(client.fetch(CHANNEL) or b"")
    assert [(entry.version, entry.promoted, list(entry.waves)) for entry in channel.releases] == [
        (ONE, NOW, waves)
    ]


def test_a_release_goes_to_all_at_once_unless_told(site: Site, build: Path) -> None:
    site.repository.add(build, site.signing())
    site.repository.promote(ONE, "stable", [], site.signing())
    (entry,) = site.repository.channel(site.repository.load(), "stable").releases
    assert entry.waves == (Wave(NOW, 100),)


def test_releases_are_in_order_of_version_and_new_waves_replace_old(
    site: Site, tmp_path: Path
) -> None:
    for text in ("10", "2"):
        site.repository.add(make_build(tmp_path / text, text), site.signing())
    for version in (TEN, TWO):
        site.repository.promote(version, "stable", [Wave(NOW, 5)], site.signing())
    later = NOW + timedelta(hours=1)
    site.repository.promote(TWO, "stable", [Wave(later, 50)], site.signing(later))
    releases = site.repository.channel(site.repository.load(), "stable").releases
    assert [(entry.version, entry.waves) for entry in releases] == [
        (TWO, (Wave(later, 50),)),
        (TEN, (Wave(NOW, 5),)),
    ]


def test_a_withdrawn_release_is_offered_no_longer(site: Site, build: Path) -> None:
    client = site.client()
    site.repository.add(build, site.signing())
    site.repository.promote(ONE, "stable", [], site.signing())
    site.repository.withdraw(ONE, "stable", site.signing())
    assert channel_format.parse(client.fetch(CHANNEL) or b"").releases == ()
    assert client.fetch(MANIFEST) is not None
    outcome = site.repository.withdraw(ONE, "stable", site.signing())
    assert outcome.signed == ()


def test_a_version_is_never_reused(site: Site, build: Path, tmp_path: Path) -> None:
    site.repository.add(build, site.signing())
    before = published(site)
    assert site.repository.add(build, site.signing()).signed == ()
    other = make_build(tmp_path / "other", "1", b"something else")
    with pytest.raises(ReleaseInputError, match="never reused"):
        site.repository.add(other, site.signing())
    assert published(site) == before


def test_a_promotion_needs_a_release_a_channel_and_sound_waves(site: Site, build: Path) -> None:
    site.repository.add(build, site.signing())
    before = published(site)
    with pytest.raises(ReleaseInputError, match="release 2 is not in the repository"):
        site.repository.promote(TWO, "stable", [], site.signing())
    with pytest.raises(ReleaseInputError, match="no channel 'beta'"):
        site.repository.promote(ONE, "beta", [], site.signing())
    with pytest.raises(ReleaseInputError, match="no channel name"):
        site.repository.promote(ONE, "../x", [], site.signing())
    shrinking = [Wave(NOW, 50), Wave(NOW + timedelta(days=1), 10)]
    with pytest.raises(ReleaseInputError, match="waves"):
        site.repository.promote(ONE, "stable", shrinking, site.signing())
    assert published(site) == before


@pytest.mark.parametrize("name", ["root.verity", "root.index", "root.wire", "bedplate.efi"])
@pytest.mark.parametrize("damage", ["changed", "shorter", "missing"])
def test_artefacts_are_checked(site: Site, build: Path, name: str, damage: str) -> None:
    path = build / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "shorter" else data[:-1] + b"!")
    before = published(site)
    with pytest.raises(TrustError, match=name):
        site.repository.add(build, site.signing())
    assert published(site) == before


def test_a_manifest_that_lies_about_a_length_is_refused(site: Site, build: Path) -> None:
    document = json.loads((build / "manifest.json").read_bytes())
    document["artefacts"]["wire"]["length"] += 1
    (build / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(TrustError, match=r"root\.wire: has 11 bytes, the manifest says 12"):
        site.repository.add(build, site.signing())


def test_a_damaged_release_is_not_promoted(site: Site, build: Path) -> None:
    site.repository.add(build, site.signing())
    (site.folder / "targets/releases/1/root.wire").write_bytes(b"wire-content")
    with pytest.raises(TrustError, match=r"root\.wire"):
        site.repository.promote(ONE, "stable", [], site.signing())


def test_bad_builds(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ReleaseInputError, match=r"manifest\.json: cannot be read"):
        site.repository.add(tmp_path / "none", site.signing())
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ReleaseInputError, match="key 'architecture' is missing"):
        site.repository.add(tmp_path, site.signing())


def test_the_timestamp_says_when_it_was_signed(site: Site) -> None:
    site.repository.refresh([], site.signing(NOW + timedelta(hours=3)))
    data = (site.folder / "metadata/timestamp.json").read_bytes()
    assert json.loads(data)["signed"][SIGNED_FIELD] == "2026-11-22T15:00:00Z"


def test_a_refresh_moves_expiries_and_keeps_chosen_periods(site: Site) -> None:
    site.repository.refresh(["timestamp"], site.signing(NOW, timestamp=3))
    later = NOW + timedelta(days=2)
    site.repository.refresh([], site.signing(later))
    expiries = {role.role: role.expires for role in status_of(site.repository, later).roles}
    assert expiries["timestamp"] == later + timedelta(days=3)
    assert expiries["snapshot"] == later + timedelta(days=30)
    assert expiries["root"] == NOW + timedelta(days=540)


def test_every_role_can_be_renewed(site: Site) -> None:
    client = site.client()
    client.refresh()
    later = NOW + timedelta(days=1000)
    with pytest.raises(RepositoryError, match="expired"):
        client.refresh(later)
    roles = ["root", "targets", "snapshot", "timestamp", "releases", "channel-stable"]
    outcome = site.repository.refresh(roles, site.signing(later))
    assert sorted(outcome.signed) == sorted(roles)
    client.refresh(later)
    assert status_of(site.repository, later).due() == ()


def test_status_tells_what_is_due(site: Site, build: Path) -> None:
    site.repository.add(build, site.signing())
    site.repository.promote(ONE, "stable", [], site.signing())
    status = status_of(site.repository, NOW)
    assert status.due() == ()
    assert [(entry.manifest.version, entry.channels) for entry in status.releases] == [
        (ONE, ("stable",))
    ]
    thresholds = {role.role: (role.threshold, len(role.keys)) for role in status.roles}
    assert thresholds["root"] == (2, 3)
    assert thresholds["targets"] == (2, 2)

    def validity(days: int) -> dict[str, Validity]:
        later = status_of(site.repository, NOW + timedelta(days=days))
        return {role.role: role.validity for role in later.roles}

    assert validity(6)["timestamp"] is Validity.DUE
    assert validity(7)["timestamp"] is Validity.EXPIRED
    assert validity(59)["channel-stable"] is Validity.VALID
    assert validity(70)["channel-stable"] is Validity.DUE
    assert validity(509)["root"] is Validity.VALID
    assert validity(511)["root"] is Validity.DUE
    document = as_json(status)
    assert document["schema"] == 1


def test_a_channel_can_be_added(site: Site, build: Path) -> None:
    client = site.client()
    site.repository.add(build, site.signing())
    outcome = site.repository.add_channel("beta", ["spare-1"], 1, site.signing())
    assert set(outcome.signed) == {"targets", "channel-beta", "snapshot", "timestamp"}
    site.repository.promote(ONE, "beta", [], site.signing())
    assert client.fetch("channels/beta.json") is not None
    assert client.fetch(CHANNEL) is None
    assert site.repository.add_channel("beta", [], 1, site.signing()).signed == ()
    with pytest.raises(ReleaseInputError, match="no key named"):
        site.repository.add_channel("gamma", ["none"], 1, site.signing())
    with pytest.raises(ReleaseInputError, match="'channel-gamma' needs 1 keys"):
        site.repository.add_channel("gamma", [], 1, site.signing())


def test_no_single_key_can_ship(site: Site, build: Path, tmp_path: Path) -> None:
    """The build key signs no channel, a channel's key no manifest, one targets key neither."""
    client = site.client()
    site.repository.add(build, site.signing())

    def only(*names: str) -> KeyRing:
        folder = tmp_path / "-".join(names)
        shutil.copytree(site.store, folder)
        for path in folder.glob("*.pem"):
            if path.stem not in names:
                path.unlink()
        return KeyRing([open_store(folder)])

    online = ("snapshot", "timestamp")
    builder = dataclasses.replace(site, ring=only("releases", *online))
    with pytest.raises(TrustError, match="'channel-stable' needs 1 signatures and 0 can be made"):
        builder.repository.promote(ONE, "stable", [], builder.signing())
    person = dataclasses.replace(site, ring=only("channel-stable", *online))
    with pytest.raises(TrustError, match="'releases' needs 1"):
        person.repository.add(make_build(tmp_path / "2", "2"), person.signing())
    person.repository.promote(ONE, "stable", [], person.signing())
    assert client.fetch(CHANNEL) is not None
    half = dataclasses.replace(site, ring=only("targets-1", "spare-1", *online))
    with pytest.raises(TrustError, match="bring one of targets-2"):
        half.repository.add_channel("beta", ["spare-1"], 1, half.signing())
    client.refresh()


def test_a_repository_is_made_once(site: Site) -> None:
    before = published(site)
    with pytest.raises(ReleaseInputError, match="already"):
        site.repository.init(site.signing())
    assert published(site) == before


def test_a_damaged_repository_is_not_made_anew(site: Site) -> None:
    site.repository.refresh([], site.signing())
    (site.folder / "metadata/timestamp.json").unlink()
    with pytest.raises(TrustError, match="restore it from a copy"):
        site.repository.init(site.signing())
    assert (site.folder / "metadata/1.root.json").exists()


def test_a_repository_needs_its_keys(tmp_path: Path) -> None:
    generate(tmp_path / "keys", ["root-1", "root-2"], PASSPHRASE, CHEAP)
    ring = KeyRing([open_store(tmp_path / "keys")])
    site = Site(Repository(tmp_path / "r"), ring, "", tmp_path / "r", tmp_path)
    with pytest.raises(ReleaseInputError, match="'targets' needs 2 keys"):
        site.repository.init(site.signing())
    assert not (tmp_path / "r").exists()


def test_unknown_roles(site: Site) -> None:
    with pytest.raises(ReleaseInputError, match="no role 'rooot'"):
        site.repository.refresh(["rooot"], site.signing())
    with pytest.raises(ReleaseInputError, match="no role 'rooot'"):
        site.repository.refresh([], site.signing(NOW, rooot=3))


def test_no_repository(tmp_path: Path, ring: KeyRing) -> None:
    nowhere = Site(Repository(tmp_path / "none"), ring, "", tmp_path / "none", tmp_path)
    with pytest.raises(ReleaseInputError, match="release init"):
        nowhere.repository.refresh([], nowhere.signing())
    with pytest.raises(ReleaseInputError, match="release init"):
        status_of(nowhere.repository, NOW)
    assert not (tmp_path / "none").exists()


def test_two_writers_do_not_meet(site: Site) -> None:
    holds, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with site.repository.storage.writing():
            holds.set()
            let_go.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    try:
        assert holds.wait(30)
        with pytest.raises(TrustError, match="another bedplate release is writing"):
            site.repository.refresh([], site.signing())
    finally:
        let_go.set()
        other.join()
    site.repository.refresh([], site.signing())
