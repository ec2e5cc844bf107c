"""A publication that stops at any write leaves a repository that clients accept, and can go on."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tuf.api.exceptions import RepositoryError

from builder.trust.keys import KeyRing
from builder.trust.repository import KeyChange, Repository
from trust_kit import Client, Site, make_build, make_store, new_site, open_store
from updater.version import Version

ONE, TWO = Version.parse("1"), Version.parse("2")
ALL = ["root", "targets", "snapshot", "timestamp", "releases", "channel-stable"]


class PowerCutError(BaseException):
    """The program ends here; no clean-up of its own runs to its end."""


class Power:
    """Fails the `last`-th step that changes the disk, and every one after it."""

    def __init__(self, last: int) -> None:
        self.left = last

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PowerCutError


@contextmanager
def power_for(steps: int) -> Iterator[None]:
    """Let so many fsyncs, renames, links and removals happen, and no more."""
    power = Power(steps)

    def limited(real: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **options: object) -> object:
            power.spend()
            return real(*args, **options)

        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", limited(os.fsync))
        for name in ("replace", "unlink"):
            patch.setattr(Path, name, limited(getattr(Path, name)))
        patch.setattr(shutil, "rmtree", limited(shutil.rmtree))
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "keys")


@pytest.fixture
def site(tmp_path: Path, store: Path) -> Site:
    made = new_site(tmp_path, store)
    made.repository.add(make_build(tmp_path / "build/1", "1"), made.signing())
    made.repository.promote(ONE, "stable", [], made.signing())
    make_build(tmp_path / "build/2", "2")
    return made


def add(site: Site) -> None:
    site.repository.add(site.folder.parent / "build/2", site.signing())


def promote(site: Site) -> None:
    site.repository.promote(ONE, "stable", [], site.signing())


def refresh_all(site: Site) -> None:
    site.repository.refresh(ALL, site.signing())


def add_channel(site: Site) -> None:
    site.repository.add_channel("beta", ["spare-1"], 1, site.signing())


def rotate(role: str, remove: str) -> Callable[[Site], None]:
    def change(site: Site) -> None:
        keys = KeyChange(add=["spare-1"], remove=[remove])
        site.repository.rotate(role, keys, site.signing())

    return change


OPERATIONS = {
    "add": add,
    "promote": promote,
    "refresh": refresh_all,
    "channel": add_channel,
    "rotate root": rotate("root", "root-1"),
    "rotate targets": rotate("targets", "targets-1"),
    "rotate snapshot": rotate("snapshot", "snapshot"),
    "rotate timestamp": rotate("timestamp", "timestamp"),
    "rotate releases": rotate("releases", "releases"),
    "rotate channel": rotate("channel-stable", "channel-stable"),
}


def assert_accepts(client: Client) -> None:
    assert client.fetch("releases/1/manifest.json")
    assert client.fetch("channels/stable.json")


def cut_everywhere(operation: Callable[[], None], reset: Callable[[], None]) -> Iterator[int]:
    """Run `operation` cut after 0, 1, 2, ... steps, until it needs no more."""
    for steps in range(500):
        reset()
        try:
            with power_for(steps):
                operation()
        except PowerCutError:
            yield steps
        else:
            return
    pytest.fail("the operation never ends")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_cut_anywhere(site: Site, tmp_path: Path, name: str) -> None:
    operation = OPERATIONS[name]
    pristine = tmp_path / "pristine"
    shutil.copytree(site.folder, pristine)
    held = site.client("held")
    assert_accepts(held)
    state_of_held = tmp_path / "held-pristine"
    shutil.copytree(held.folder, state_of_held)

    def reset() -> None:
        for folder, source in ((site.folder, pristine), (held.folder, state_of_held)):
            shutil.rmtree(folder)
            shutil.copytree(source, folder)

    cuts = 0
    for _ in cut_everywhere(lambda: operation(site), reset):
        assert_accepts(held)
        operation(site)
        assert_accepts(held)
        if name == "add":
            assert held.fetch("releases/2/manifest.json")
        cuts += 1
    assert cuts >= 3  # a root rotation writes one file: fsync, rename, fsync
    assert_accepts(held)
    assert_accepts(site.client("new"))


def test_a_cut_anywhere_while_the_repository_is_made(tmp_path: Path, store: Path) -> None:
    ring = KeyRing([open_store(store)])
    folder = tmp_path / "repository"
    site = Site(Repository(folder), ring, "", folder, tmp_path)

    def make() -> None:
        site.repository.init(site.signing())

    def reset() -> None:
        if folder.exists():
            shutil.rmtree(folder)

    cuts = 0
    for _ in cut_everywhere(make, reset):
        if not site.repository.storage.timestamp_path.exists():
            make()
        site.repository.load()
        cuts += 1
    assert cuts >= 18  # six files


@pytest.mark.parametrize(
    ("role", "lost_key"), [("timestamp", "timestamp"), ("targets", "targets-1")]
)
def test_a_lost_key_leaves_one_moment_that_the_next_run_ends(
    site: Site, tmp_path: Path, role: str, lost_key: str
) -> None:
    """With the old key gone, nothing can be signed to hold for both the old root and the new."""
    shutil.copytree(site.store, tmp_path / "lost")
    (tmp_path / f"lost/{lost_key}.pem").unlink()
    lost = dataclasses.replace(site, ring=KeyRing([open_store(tmp_path / "lost")]))
    pristine = tmp_path / "pristine"
    shutil.copytree(site.folder, pristine)

    def reset() -> None:
        shutil.rmtree(site.folder)
        shutil.copytree(pristine, site.folder)

    change = rotate(role, lost_key)
    refused = 0
    for steps in cut_everywhere(lambda: change(lost), reset):
        public = site.repository.storage.newest("root") == 2
        try:
            assert_accepts(site.client(f"between-{steps}"))
        except RepositoryError:
            refused += 1
            assert public
        if public and steps % 2:
            # Any other command ends it too, once the root that has the new key is public.
            lost.repository.refresh([], lost.signing())
        else:
            change(lost)
        assert_accepts(site.client(f"after-{steps}"))
    # From the root's rename to that of timestamp.json: an fsync, an fsync, a rename.
    assert refused == 3
