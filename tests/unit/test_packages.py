import hashlib
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from build_kit import plant, tools
from builder.inventory.lock import Lock, LockedPackage, LockError
from builder.run import CommandError
from builder.steps import bootstrap as bootstrap_step
from builder.steps import packages
from builder.steps.bootstrap import Selection, Variant, bootstrap, unpack
from builder.steps.packages import RootPackages, rebuild

SELECTION = Selection("trixie", Variant.ESSENTIAL, ("systemd", "udev"))


def quiet(_line: str) -> None:
    pass


@pytest.fixture
def mmdebstrap(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands for mmdebstrap(1); gives the command lines it was called with."""
    called: list[list[str]] = []

    def run(argv: Sequence[str], **_options: object) -> str:
        called.append(list(argv))
        [target] = [word for word in argv if word.endswith("tree.tar")]
        Path(target).write_text("tar")
        return ""

    monkeypatch.setattr(bootstrap_step, "run", run)
    return called


def test_packages_become_a_tar_under_its_name(tmp_path: Path, mmdebstrap: list[list[str]]) -> None:
    archives = plant(tmp_path / "it's archives", {"lock": "", "a.deb": ""})
    (archives / "partial").mkdir()
    bootstrap(SELECTION, tmp_path / "out/root.tar", archives=archives, epoch=7, on_line=quiet)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["root.tar"]
    assert [path.name for path in archives.iterdir()] == ["a.deb"]
    [command] = mmdebstrap
    assert "--variant=essential" in command
    assert "--include=systemd,udev" in command
    assert command[-2] == "trixie"
    # A hook is a line of shell.
    assert any("it'\"'\"'s archives'" in word for word in command)


def test_a_mirror_comes_last(tmp_path: Path, mmdebstrap: list[list[str]]) -> None:
    selection = Selection("trixie", Variant.APT, ("x",), "http://mirror.example/debian")
    bootstrap(selection, tmp_path / "x.tar", archives=tmp_path / "a", epoch=7, on_line=quiet)
    assert mmdebstrap[0][-1] == "http://mirror.example/debian"


def test_a_folder_of_packages_is_of_no_suite(tmp_path: Path, mmdebstrap: list[list[str]]) -> None:
    selection = Selection("trixie", Variant.APT, ("x",), "deb [trusted=yes] copy:///pool ./")
    bootstrap(selection, tmp_path / "x.tar", archives=tmp_path / "a", epoch=7, on_line=quiet)
    assert mmdebstrap[0][-3] == ""


def test_a_failed_bootstrap_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: Sequence[str], **_options: object) -> str:
        [target] = [word for word in argv if word.endswith("tree.tar")]
        Path(target).write_text("half a t")
        raise CommandError("mmdebstrap ended with 25")

    monkeypatch.setattr(bootstrap_step, "run", run)
    with pytest.raises(CommandError):
        bootstrap(
            SELECTION, tmp_path / "out/x.tar", archives=tmp_path / "a", epoch=7, on_line=quiet
        )
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("E: Unable to locate package systmd", "the mirror lacks a package"),
        ("Could not connect to 127.0.0.1:9\nE: apt-get failed", "the Debian mirror cannot be read"),
        ("cannot write: No space left on device\nFailed to fetch x", "the disk is full"),
        ("something new", "mmdebstrap ended with 25"),
    ],
)
def test_a_failed_bootstrap_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, cause: str
) -> None:
    def run(_argv: Sequence[str], **_options: object) -> str:
        raise CommandError(f"mmdebstrap ended with 25\n{words}")

    monkeypatch.setattr(bootstrap_step, "run", run)
    with pytest.raises(CommandError, match=f"^{cause}"):
        bootstrap(SELECTION, tmp_path / "x.tar", archives=tmp_path / "a", epoch=7, on_line=quiet)


def test_a_cache_key_depends_on_all_of_a_selection() -> None:
    others = [
        Selection("sid", Variant.ESSENTIAL, ("systemd", "udev")),
        Selection("trixie", Variant.APT, ("systemd", "udev")),
        Selection("trixie", Variant.ESSENTIAL, ("systemd",)),
        Selection("trixie", Variant.ESSENTIAL, ("systemd", "udev"), "http://x"),
    ]
    keys = {selection.key() for selection in (SELECTION, *others)}
    assert len(keys) == 5
    assert SELECTION.key() == Selection("trixie", Variant.ESSENTIAL, ("systemd", "udev")).key()


def test_a_tar_is_unpacked_without_devices_and_never_over_a_tree(tmp_path: Path) -> None:
    plant(tmp_path / "made", {"dev/null": "", "etc/x": "x", "var/lib/dpkg/status": ""})
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add(tmp_path / "made", ".")
    unpack(tmp_path / "root.tar", tmp_path / "tree")
    assert (tmp_path / "tree/etc/x").read_text() == "x"
    assert list((tmp_path / "tree/dev").iterdir()) == []
    unpack(tmp_path / "root.tar", tmp_path / "part", only=("./var/lib/dpkg",))
    assert [path.name for path in (tmp_path / "part").iterdir()] == ["var"]
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "root.tar", tmp_path / "tree")


def locked(name: str, data: bytes) -> LockedPackage:
    digest = hashlib.sha256(data).hexdigest()
    return LockedPackage(name, "all", "1", f"{name}_1_all.deb", digest, len(data))


LOCK = Lock("trixie", 1700000000, (locked("a", b"deb a"), locked("b", b"deb b")))


@pytest.fixture
def bootstrapped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Selection]:
    """Replaces the bootstrap of the root; a mirror gives what the pool lacks."""
    asked: list[Selection] = []

    def run(
        selection: Selection,
        folder: Path,
        archives: Path,
        epoch: int,
        _on_line: Callable[[str], None],
    ) -> None:
        assert epoch == LOCK.epoch
        asked.append(selection)
        folder.mkdir()
        offered = tmp_path / "mirror"
        for deb in offered.glob("*.deb") if selection.mirror == "http://mirror" else ():
            if not (archives / deb.name).exists():
                (archives / deb.name).write_bytes(deb.read_bytes())

    monkeypatch.setattr(packages, "_bootstrap", run)
    monkeypatch.setattr(packages, "_read", lambda folder: RootPackages(folder / "root.tar", LOCK))
    return asked


def rebuilt(folder: Path, mirror: str | None) -> RootPackages:
    selection = Selection("trixie", Variant.ESSENTIAL, ("a",), mirror)
    return rebuild(
        selection,
        LOCK,
        archives=folder / "archives",
        work=folder / "work",
        tools=tools(lambda _command: "Package: a\n"),
        on_line=quiet,
    )


def test_without_a_mirror_a_lock_needs_all_of_its_debs(
    tmp_path: Path, bootstrapped: list[Selection]
) -> None:
    plant(tmp_path / "archives", {"a_1_all.deb": b"deb a", "other_2_all.deb": b"x"})
    with pytest.raises(LockError, match=r"b_1_all\.deb is missing"):
        rebuilt(tmp_path, None)
    assert bootstrapped == []


def test_a_deb_that_is_not_the_one_that_was_locked(
    tmp_path: Path, bootstrapped: list[Selection]
) -> None:
    plant(tmp_path / "archives", {"a_1_all.deb": b"deb a", "b_1_all.deb": b"deb B"})
    with pytest.raises(LockError, match=r"b_1_all\.deb is not the file that was locked"):
        rebuilt(tmp_path, None)
    assert bootstrapped == []


def test_a_lock_is_rebuilt_from_its_own_debs_alone(
    tmp_path: Path, bootstrapped: list[Selection]
) -> None:
    plant(
        tmp_path / "archives",
        {"a_1_all.deb": b"deb a", "b_1_all.deb": b"deb b", "a_2_all.deb": b"newer"},
    )
    assert rebuilt(tmp_path, None).lock == LOCK
    pool = tmp_path / "work/pool"
    assert {path.name for path in pool.iterdir()} == {"a_1_all.deb", "b_1_all.deb", "Packages"}
    [selection] = bootstrapped
    assert selection.packages == ("a=1", "b=1")
    assert selection.mirror == f"deb [trusted=yes] copy://{pool} ./"


def test_a_mirror_is_asked_only_for_what_the_cache_lacks(
    tmp_path: Path, bootstrapped: list[Selection]
) -> None:
    plant(tmp_path / "archives", {"a_1_all.deb": b"deb a"})
    plant(tmp_path / "mirror", {"b_1_all.deb": b"deb b", "a_1_all.deb": b"not asked for"})
    assert rebuilt(tmp_path, "http://mirror").lock == LOCK
    assert bootstrapped[0].packages == ("a=1", "b=1")


@pytest.mark.usefixtures("bootstrapped")
def test_what_a_mirror_gives_must_be_what_was_locked(tmp_path: Path) -> None:
    plant(tmp_path / "archives", {"a_1_all.deb": b"deb a"})
    plant(tmp_path / "mirror", {"b_1_all.deb": b"another b"})
    with pytest.raises(LockError, match=r"b_1_all\.deb is not the file that was locked"):
        rebuilt(tmp_path, "http://mirror")
