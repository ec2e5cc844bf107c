import hashlib
import json
from pathlib import Path

import pytest

from builder.inventory.dpkg import Package
from builder.inventory.lock import (
    Lock,
    LockedPackage,
    LockError,
    check_archives,
    lock_archives,
    lock_packages,
    parse_lock,
    render_lock,
)
from updater.errors import BedplateError


def package(name: str, version: str) -> Package:
    return Package(
        name=name,
        version=version,
        architecture="amd64",
        source=name,
        source_version=version,
        installed_size=0,
        maintainer="",
        homepage=None,
        summary="",
        files=frozenset(),
        md5sums=(),
    )


def archives(folder: Path) -> Path:
    (folder / "zlib1g_1%3a1.3.dfsg-3+b1_amd64.deb").write_bytes(b"zlib")
    (folder / "bash_5.2.37-2_amd64.deb").write_bytes(b"bash")
    (folder / "lock").touch()
    (folder / "partial").mkdir()
    return folder


def test_a_folder_is_locked_in_order(tmp_path: Path) -> None:
    lock = lock_archives(archives(tmp_path), "trixie", 1790000000)
    assert lock.suite == "trixie"
    bash, zlib = lock.packages
    assert (bash.name, bash.version, bash.size) == ("bash", "5.2.37-2", 4)
    assert (zlib.version, zlib.architecture) == ("1:1.3.dfsg-3+b1", "amd64")
    assert zlib.filename == "zlib1g_1%3a1.3.dfsg-3+b1_amd64.deb"
    assert zlib.sha256 == hashlib.sha256(b"zlib").hexdigest()


def test_only_installed_packages_are_locked(tmp_path: Path) -> None:
    lock = lock_packages([package("bash", "5.2.37-2")], archives(tmp_path), "trixie", 1790000000)
    assert [locked.name for locked in lock.packages] == ["bash"]
    assert lock.find(package("bash", "5.2.37-2")) == lock.packages[0]
    assert lock.find(package("bash", "5")) is None
    with pytest.raises(LockError, match=r"no \.deb of bash 6 \(amd64\); they are needed"):
        lock_packages([package("bash", "6")], tmp_path, "trixie", 1790000000)


def test_a_lock_reads_back(tmp_path: Path) -> None:
    lock = lock_archives(archives(tmp_path), "trixie", 1790000000)
    data = render_lock(lock)
    assert parse_lock(data, "lock") == lock
    shuffled = Lock(lock.suite, lock.epoch, lock.packages[::-1])
    assert render_lock(shuffled) == data
    check_archives(lock, tmp_path)


def test_changed_archives_are_found(tmp_path: Path) -> None:
    lock = lock_archives(archives(tmp_path), "trixie", 1790000000)
    (tmp_path / "bash_5.2.37-2_amd64.deb").write_bytes(b"BASH")
    (tmp_path / "zlib1g_1%3a1.3.dfsg-3+b1_amd64.deb").unlink()
    with pytest.raises(LockError) as caught:
        check_archives(lock, tmp_path)
    assert "bash_5.2.37-2_amd64.deb is not the file that was locked" in str(caught.value)
    assert "zlib1g_1%3a1.3.dfsg-3+b1_amd64.deb is missing" in str(caught.value)


def test_folders_that_cannot_be_locked(tmp_path: Path) -> None:
    (tmp_path / "bash.deb").touch()
    with pytest.raises(LockError, match="expected a name such as"):
        lock_archives(tmp_path, "trixie", 1790000000)
    (tmp_path / "bash.deb").unlink()
    for version in ("1", "2"):
        (tmp_path / f"bash_{version}_amd64.deb").touch()
    with pytest.raises(LockError, match="two versions of bash, 1 and 2"):
        lock_archives(tmp_path, "trixie", 1790000000)


def document() -> dict[str, object]:
    locked = LockedPackage("bash", "amd64", "1:5", "bash_1%3a5_amd64.deb", "0" * 64, 4)
    result: dict[str, object] = json.loads(render_lock(Lock("trixie", 1790000000, (locked,))))
    return result


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "Bash"),
        ("name", "../bash"),
        ("version", "1/2"),
        ("architecture", "a_b"),
        ("filename", "bash_2_amd64.deb"),
        ("filename", "../bash_1%3a5_amd64.deb"),
        ("sha256", "0" * 63),
        ("size", 0),
        ("size", True),
        ("size", "4"),
        ("extra", 1),
    ],
)
def test_wrong_values_are_refused(key: str, value: object) -> None:
    changed = document()
    packages = changed["packages"]
    assert isinstance(packages, list)
    packages[0][key] = value
    with pytest.raises(BedplateError, match=key):
        parse_lock(json.dumps(changed).encode(), "lock")


@pytest.mark.parametrize(
    ("key", "value"), [("schema", 2), ("suite", "Trixie"), ("packages", []), ("other", 1)]
)
def test_wrong_documents_are_refused(key: str, value: object) -> None:
    with pytest.raises(BedplateError, match=key):
        parse_lock(json.dumps(document() | {key: value}).encode(), "lock")


def test_doubles_are_refused() -> None:
    changed = document()
    packages = changed["packages"]
    assert isinstance(packages, list)
    packages.append(packages[0])
    with pytest.raises(LockError, match="two versions of bash"):
        parse_lock(json.dumps(changed).encode(), "lock")
