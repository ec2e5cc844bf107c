"""Rotation of every role, against a client that holds nothing but the first root."""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from builder.trust.errors import ReleaseInputError, TrustError
from builder.trust.keys import KeyRing
from builder.trust.repository import KeyChange
from builder.trust.tuf_types import Signer
from trust_kit import NOW, Client, Site, make_build, make_store, open_store, served_site
from updater.version import Version

ONE = Version.parse("1")
MANIFEST, CHANNEL = "releases/1/manifest.json", "channels/stable.json"
FIRST_KEYS = {
    "root": "root-1",
    "targets": "targets-1",
    "snapshot": "snapshot",
    "timestamp": "timestamp",
    "releases": "releases",
    "channel-stable": "channel-stable",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "keys")


@pytest.fixture
def site(tmp_path: Path, store: Path) -> Iterator[Site]:
    with served_site(tmp_path, store) as made:
        made.repository.add(make_build(tmp_path / "build/1", "1"), made.signing())
        made.repository.promote(ONE, "stable", [], made.signing())
        yield made


def without(site: Site, folder: Path, *names: str) -> Site:
    """The site with some private keys lost."""
    shutil.copytree(site.store, folder)
    for name in names:
        (folder / f"{name}.pem").unlink()
    return dataclasses.replace(site, ring=KeyRing([open_store(folder)]), store=folder)


def keys_of(site: Site, role: str) -> set[str]:
    state = site.repository.load()
    top = role in state.root.signed.roles
    delegator = state.root.signed if top else state.targets.signed
    described = delegator.get_delegated_role(role)
    return {
        delegator.get_key(keyid).unrecognized_fields["x-bedplate-name"]
        for keyid in described.keyids
    }


def assert_accepts(*clients: Client) -> None:
    for client in clients:
        assert client.fetch(MANIFEST)
        assert client.fetch(CHANNEL)


@pytest.mark.parametrize("role", FIRST_KEYS)
def test_each_role(site: Site, tmp_path: Path, role: str) -> None:
    old = site.client("old")
    assert_accepts(old)
    change = KeyChange(add=["spare-1"], remove=[FIRST_KEYS[role]])
    site.repository.rotate(role, change, site.signing())
    assert keys_of(site, role) >= {"spare-1"}
    assert FIRST_KEYS[role] not in keys_of(site, role)
    assert_accepts(old, site.client("new"))

    # From here on it goes without the key that was taken out.
    later = without(site, tmp_path / "later", FIRST_KEYS[role])
    later.repository.add(make_build(tmp_path / "build/2", "2"), later.signing())
    later.repository.promote(Version.parse("2"), "stable", [], later.signing())
    every = ["root", "targets", "releases", "channel-stable", "snapshot", "timestamp"]
    later.repository.refresh(every, later.signing())
    assert_accepts(old, later.client("newest"))
    assert old.fetch("releases/2/manifest.json")


@pytest.mark.parametrize("role", FIRST_KEYS)
def test_a_key_taken_out_signs_no_more(site: Site, tmp_path: Path, role: str) -> None:
    change = KeyChange(add=["spare-1"], remove=[FIRST_KEYS[role]])
    site.repository.rotate(role, change, site.signing())
    left = {"root": ["root-3", "root-2"], "targets": ["targets-2"]}.get(role, [])
    thief = without(site, tmp_path / "thief", "spare-1", *left)
    with pytest.raises(TrustError, match=f"role '{role}' needs"):
        thief.repository.refresh([role], thief.signing())


def test_two_root_rotations_in_a_row(site: Site) -> None:
    held = site.client("held")
    first = KeyChange(add=["spare-1", "spare-2"], remove=["root-1", "root-2"])
    site.repository.rotate("root", first, site.signing())
    second = KeyChange(add=["spare-3", "spare-4"], remove=["root-3", "spare-1"])
    site.repository.rotate("root", second, site.signing())
    assert keys_of(site, "root") == {"spare-2", "spare-3", "spare-4"}
    assert_accepts(held, site.client("new"))
    assert json.loads((held.folder / "root.json").read_bytes())["signed"]["version"] == 3


def test_a_whole_set_of_keys_in_a_row(site: Site) -> None:
    held = site.client("held")
    for number, role in enumerate(("timestamp", "snapshot", "targets", "releases"), start=1):
        change = KeyChange(add=[f"spare-{number}"], remove=[FIRST_KEYS[role]])
        site.repository.rotate(role, change, site.signing())
    change = KeyChange(add=["spare-5"], remove=["root-2"])
    site.repository.rotate("root", change, site.signing())
    assert_accepts(held, site.client("new"))


def test_a_new_root_needs_the_old_threshold(site: Site, tmp_path: Path) -> None:
    poor = without(site, tmp_path / "poor", "root-1", "root-2")
    change = KeyChange(add=["spare-1", "spare-2"], remove=["root-1", "root-2"])
    before = sorted(path.name for path in (site.folder / "metadata").iterdir())
    with pytest.raises(TrustError, match="role 'root' needs 2 signatures and 1 can be made"):
        poor.repository.rotate("root", change, poor.signing())
    assert sorted(path.name for path in (site.folder / "metadata").iterdir()) == before
    assert_accepts(site.client())


def test_a_new_root_needs_the_new_threshold(site: Site, tmp_path: Path) -> None:
    poor = without(site, tmp_path / "poor", "spare-1", "spare-2")
    change = KeyChange(add=["spare-1", "spare-2"], remove=["root-1", "root-2"])
    with pytest.raises(TrustError, match="bring one of spare-1, spare-2"):
        poor.repository.rotate("root", change, poor.signing())


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_a_lost_key_can_be_replaced(site: Site, tmp_path: Path, role: str) -> None:
    old = site.client("old")
    assert_accepts(old)
    lost = without(site, tmp_path / "lost", FIRST_KEYS[role])
    change = KeyChange(add=["spare-1"], remove=[FIRST_KEYS[role]])
    lost.repository.rotate(role, change, lost.signing())
    assert_accepts(old, site.client("new"))


def test_a_threshold_can_be_raised(site: Site) -> None:
    held = site.client()
    change = KeyChange(add=["spare-1"], threshold=2)
    site.repository.rotate("channel-stable", change, site.signing())
    site.repository.promote(ONE, "stable", [], site.signing())
    assert_accepts(held)
    state = site.repository.load()
    assert state.targets.signed.get_delegated_role("channel-stable").threshold == 2
    assert len(state.delegated["channel-stable"].signatures) == 2


def test_a_token_that_fails_while_signing_is_passed_over(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.repository.rotate("channel-stable", KeyChange(add=["spare-1"]), site.signing())
    token = site.ring.named("spare-1").key
    real = KeyRing.signers

    class Unplugged:
        public_key = token

        def sign(self, payload: bytes) -> object:
            raise RuntimeError(f"no token for {len(payload)} bytes")

    def signers(ring: KeyRing, keyids: Sequence[str]) -> list[Signer]:
        found = real(ring, keyids)
        return [Unplugged() if one.public_key.keyid == token.keyid else one for one in found]

    monkeypatch.setattr(KeyRing, "signers", signers)
    site.repository.promote(ONE, "stable", [], site.signing())
    assert "key 'spare-1' did not sign channel-stable" in caplog.text
    assert_accepts(site.client())
    with pytest.raises(TrustError, match="needs 2 signatures and 1 can be made"):
        site.repository.rotate("channel-stable", KeyChange(threshold=2), site.signing())


@pytest.mark.parametrize("by_name", [True, False])
def test_a_key_that_no_store_has_is_taken_out(site: Site, tmp_path: Path, *, by_name: bool) -> None:
    gone = "snapshot" if by_name else site.ring.named("snapshot").key.keyid
    shutil.copytree(site.store, tmp_path / "bare")
    for suffix in (".pem", ".pub"):
        (tmp_path / f"bare/snapshot{suffix}").unlink()
    bare = dataclasses.replace(site, ring=KeyRing([open_store(tmp_path / "bare")]))
    bare.repository.rotate("snapshot", KeyChange(add=["spare-1"], remove=[gone]), bare.signing())
    assert keys_of(bare, "snapshot") == {"spare-1"}
    assert_accepts(site.client())


def test_what_cannot_be(site: Site) -> None:
    signing = site.signing(NOW)
    with pytest.raises(ReleaseInputError, match="no role 'nobody'"):
        site.repository.rotate("nobody", KeyChange(add=["spare-1"]), signing)
    with pytest.raises(ReleaseInputError, match="no key named 'nothing'"):
        site.repository.rotate("root", KeyChange(add=["nothing"]), signing)
    with pytest.raises(ReleaseInputError, match="no key named 'nothing'"):
        site.repository.rotate("root", KeyChange(remove=["nothing"]), signing)
    with pytest.raises(ReleaseInputError, match="0 keys and a threshold of 1"):
        site.repository.rotate("releases", KeyChange(remove=["releases"]), signing)
    with pytest.raises(ReleaseInputError, match="1 keys and a threshold of 2"):
        site.repository.rotate("targets", KeyChange(remove=["targets-1"]), signing)
    with pytest.raises(ReleaseInputError, match="threshold of 4"):
        site.repository.rotate("root", KeyChange(threshold=4), signing)


def test_a_rotation_done_twice_is_done_once(site: Site) -> None:
    change = KeyChange(add=["spare-1"], remove=["timestamp"])
    assert site.repository.rotate("timestamp", change, site.signing()).signed
    assert site.repository.rotate("timestamp", change, site.signing()).signed == ()
