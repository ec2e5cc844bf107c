"""The package lock: which .deb files an image was made of, by name, version and hash."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote

from builder.inventory.dpkg import Package
from updater.errors import BedplateError
from updater.strict import Fields

SCHEMA = 1
LENGTH_LIMIT = 8 << 20  # bytes of a lock
PACKAGES_LIMIT = 20_000
_LAST_EPOCH = 1 << 40
DEB_LIMIT = 4 << 30  # bytes of one .deb

_NAME = r"[a-z0-9][a-z0-9+.\-]+"
_VERSION = r"[A-Za-z0-9][A-Za-z0-9.+:~\-]*"
_ARCHITECTURE = r"[a-z0-9][a-z0-9\-]*"
# apt names what it downloads so; of a version it escapes ":" and "_" (as %3a, %5f).
_FILENAME = re.compile(rf"({_NAME})_([A-Za-z0-9.+~%\-]+)_({_ARCHITECTURE})\.deb")


class LockError(BedplateError):
    """Packages and lock do not agree; the message names each that does not."""


@dataclass(frozen=True, slots=True, order=True)
class LockedPackage:
    """One .deb; `filename` as in apt's archive cache, `size` in bytes."""

    name: str
    architecture: str
    version: str
    filename: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Lock:
    """Every .deb of an image, sorted, and when they were chosen (seconds since 1970)."""

    suite: str
    epoch: int
    packages: tuple[LockedPackage, ...]

    def find(self, package: Package) -> LockedPackage | None:
        """The .deb that a package came from."""
        wanted = (package.name, package.architecture, package.version)
        for locked in self.packages:
            if (locked.name, locked.architecture, locked.version) == wanted:
                return locked
        return None


def lock_archives(archives: Path, suite: str, epoch: int) -> Lock:
    """Lock every .deb in a folder.

    Raises:
        LockError: a .deb whose name apt would not give, or two versions of one package.
        OSError: a file cannot be read.
    """
    packages = [_lock_file(file) for file in sorted(archives.glob("*.deb"))]
    _refuse_doubles(packages, str(archives))
    return Lock(suite, epoch, tuple(sorted(packages)))


def lock_packages(packages: Iterable[Package], archives: Path, suite: str, epoch: int) -> Lock:
    """Lock the .debs of `packages`, found in a folder that may hold others too.

    Raises:
        LockError: a package whose .deb is not in the folder.
        OSError: a file cannot be read.
    """
    files = {_parts(file): file for file in archives.glob("*.deb")}
    locked, missing = [], []
    for package in packages:
        file = files.get((package.name, package.version, package.architecture))
        if file:
            locked.append(_lock_file(file))
        else:
            missing.append(f"{package.name} {package.version} ({package.architecture})")
    if missing:
        raise LockError(
            f"{archives}: no .deb of {', '.join(missing[:10])}"
            f"{' and others' if len(missing) > 10 else ''}; they are needed for the package lock"
        )
    return Lock(suite, epoch, tuple(sorted(locked)))


def check_archives(lock: Lock, archives: Path) -> None:
    """Prove that a folder holds what the lock names.

    Raises:
        LockError: with each .deb that is missing or differs.
    """
    wrong = []
    for package in lock.packages:
        file = archives / package.filename
        if not file.is_file():
            wrong.append(f"{package.filename} is missing")
        elif file.stat().st_size != package.size or _sha256(file) != package.sha256:
            wrong.append(f"{package.filename} is not the file that was locked")
    if wrong:
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise LockError(f"{archives}: {'; '.join(wrong[:10])}{more}")


def render_lock(lock: Lock) -> bytes:
    """The lock as JSON: the same bytes for the same packages, a line for each value (for diffs)."""
    document = {
        "schema": SCHEMA,
        "suite": lock.suite,
        "epoch": lock.epoch,
        "packages": [asdict(package) for package in sorted(lock.packages)],
    }
    return json.dumps(document, indent=2, sort_keys=True).encode("ascii") + b"\n"


def parse_lock(data: bytes, where: str) -> Lock:
    """Read a lock; `where` names it in errors.

    Raises:
        FormatError: not a lock of schema 1; the message names the key.
        LockError: two versions of one package.
    """
    document = Fields.parse(data, where, ("schema", "suite", "epoch", "packages"), LENGTH_LIMIT)
    document.integer("schema", SCHEMA, SCHEMA)
    keys = ("name", "architecture", "version", "filename", "sha256", "size")
    packages = []
    for fields in document.items("packages", keys, 1, PACKAGES_LIMIT):
        package = LockedPackage(
            name=fields.text("name", _NAME, "a package's name"),
            architecture=fields.text("architecture", _ARCHITECTURE, "an architecture"),
            version=fields.text("version", _VERSION, "a package's version"),
            filename=fields.text("filename", _FILENAME.pattern, "the name of a .deb"),
            sha256=fields.text("sha256", r"[0-9a-f]{64}", "64 hexadecimal digits"),
            size=fields.integer("size", 1, DEB_LIMIT),
        )
        if _parts(Path(package.filename)) != (package.name, package.version, package.architecture):
            raise fields.error("filename", "the package's name, version and architecture")
        packages.append(package)
    _refuse_doubles(packages, where)
    suite = document.text("suite", r"[a-z][a-z0-9\-]*", "a Debian release such as trixie")
    epoch = document.integer("epoch", 0, _LAST_EPOCH)
    return Lock(suite, epoch, tuple(sorted(packages)))


def _parts(file: Path) -> tuple[str, str, str] | None:
    """Name, version and architecture, as a .deb's file name says."""
    match = _FILENAME.fullmatch(file.name)
    return (match[1], unquote(match[2]), match[3]) if match else None


def _lock_file(file: Path) -> LockedPackage:
    parts = _parts(file)
    if not parts:
        raise LockError(f"{file}: expected a name such as systemd_257.9-1_amd64.deb")
    name, version, architecture = parts
    return LockedPackage(
        name=name,
        architecture=architecture,
        version=version,
        filename=file.name,
        sha256=_sha256(file),
        size=file.stat().st_size,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_doubles(packages: Iterable[LockedPackage], where: str) -> None:
    seen: dict[tuple[str, str], str] = {}
    for package in packages:
        key = package.name, package.architecture
        if key in seen:
            raise LockError(
                f"{where}: two versions of {package.name}, {seen[key]} and {package.version}"
            )
        seen[key] = package.version
