"""The packages of an unpacked Debian tree, read from dpkg's own database (dpkg(1), FILES).

Read it before pruning: the database is the first thing that goes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from updater.errors import BedplateError

STATUS = Path("var/lib/dpkg/status")
INFO = Path("var/lib/dpkg/info")
# Debian moved these into /usr, but many packages still name them as they were (usrmerge).
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32")
# As dpkg(1) lists them under "Package states".
_GONE = ("not-installed", "config-files")
_BROKEN = ("half-installed", "half-configured")
_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")


class PackageDatabaseError(BedplateError):
    """The tree's package database is missing or damaged."""


@dataclass(frozen=True, slots=True)
class Package:
    """One installed binary package; `files` are paths relative to the root, folders included."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    installed_size: int  # bytes, as the packager estimated
    maintainer: str
    homepage: str | None
    summary: str
    files: frozenset[str]
    md5sums: tuple[tuple[str, str], ...]  # (path, hex MD5), what dpkg itself checks

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def read_packages(root: Path) -> tuple[Package, ...]:
    """The packages installed in the tree at `root`, by name and architecture.

    Raises:
        PackageDatabaseError: no database, a damaged one, or a package that is half installed.
    """
    status = root / STATUS
    try:
        text = status.read_text()
    except FileNotFoundError:
        raise PackageDatabaseError(
            f"{status}: no package database; packages are read before the tree is pruned"
        ) from None
    except UnicodeDecodeError:
        raise PackageDatabaseError(f"{status}: not UTF-8, the database is damaged") from None
    packages = []
    for fields in paragraphs(text):
        name = _field(fields, "package", status)
        state = _field(fields, "status", status).split()
        if state[-1] in _GONE:
            continue
        if state[-1] in _BROKEN:
            raise PackageDatabaseError(
                f"{status}: {name} is {state[-1]}; expected every package to be installed"
            )
        packages.append(_package(root, fields))
    if not packages:
        raise PackageDatabaseError(f"{status}: lists no installed package")
    return tuple(sorted(packages, key=lambda package: (package.name, package.architecture)))


def merged(path: str) -> str:
    """A path of a package as it is in a usrmerged tree, without the leading slash.

    "/bin/sh" -> "usr/bin/sh"; "/." -> "".
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if parts and parts[0] in _MERGED:
        parts.insert(0, "usr")
    return "/".join(parts)


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Each paragraph of a control file (deb822(5)): lower-case field -> value, lines kept."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            if name:
                fields[name] += "\n" + line.rstrip()
        elif not line.startswith("#"):
            before, colon, value = line.partition(":")
            name = before.strip().lower() if colon else ""
            if name:
                fields[name] = value.strip()
    if fields:
        yield fields


def _package(root: Path, fields: dict[str, str]) -> Package:
    status = root / STATUS
    name = _field(fields, "package", status)
    version = _field(fields, "version", status)
    architecture = _field(fields, "architecture", status)
    source, source_version = _source(fields.get("source", ""), name, version)
    size = fields.get("installed-size", "0")
    info = _info(root, name, architecture)
    return Package(
        name=name,
        version=version,
        architecture=architecture,
        source=source,
        source_version=source_version,
        installed_size=int(size) * 1024 if size.isdecimal() else 0,
        maintainer=fields.get("maintainer", ""),
        homepage=fields.get("homepage") or None,
        summary=fields.get("description", "").partition("\n")[0],
        files=frozenset(merged(line) for line in _lines(info.with_name(f"{info.name}.list"))),
        md5sums=_md5sums(info.with_name(f"{info.name}.md5sums")),
    )


def _field(fields: dict[str, str], name: str, status: Path) -> str:
    value = fields.get(name)
    if not value:
        which = fields.get("package", "a package without a name")
        raise PackageDatabaseError(f"{status}: {which} lacks the field {name.capitalize()}")
    return value


def _source(field: str, name: str, version: str) -> tuple[str, str]:
    """The source package; the field is there only when it differs (deb-control(5), Source)."""
    match = _SOURCE.fullmatch(field)
    if not match:
        return name, version
    return match.group(1), match.group(2) or version


def _info(root: Path, name: str, architecture: str) -> Path:
    """Where dpkg keeps a package's files; those of Multi-Arch: same carry the architecture."""
    qualified = root / INFO / f"{name}:{architecture}"
    if qualified.with_name(f"{qualified.name}.list").exists():
        return qualified
    return root / INFO / name


def _lines(path: Path) -> list[str]:
    """Lines of an info file; a package without files may have none."""
    try:
        text = path.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return []
    return [line for line in text.split("\n") if line]


def _md5sums(path: Path) -> tuple[tuple[str, str], ...]:
    sums = []
    for line in _lines(path):
        digest, space, name = line.partition("  ")
        if space:
            sums.append((merged(name), digest))
    return tuple(sorted(sums))
