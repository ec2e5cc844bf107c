# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""`write_files`."""

import base64
import binascii
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from cloudconfig.kinds import BOOLEAN, HTTPS, PATH, SECRET, SECRET_LINE, SHA256, own_at
from hostkit.document.kinds import Choice, Mode, Text
from hostkit.document.schema import Fault, ListOf, MapOf, Section, key

_UNPACKED_LIMIT = 16 << 20  # bytes of one file
_MACHINE_ID = PurePosixPath("/etc/machine-id")


class Encoding(Enum):
    """How `content` is written down; CoreOS's and cloud-init's names."""

    PLAIN = "text/plain"
    BASE64 = "base64"
    B64 = "b64"
    GZIP = "gzip"
    GZ = "gz"
    GZIP_BASE64 = "gzip+base64"
    GZ_BASE64 = "gz+base64"
    GZIP_B64 = "gzip+b64"
    GZ_B64 = "gz+b64"


_BASE64 = {
    *(Encoding.BASE64, Encoding.B64),
    *(Encoding.GZIP_BASE64, Encoding.GZ_BASE64, Encoding.GZIP_B64, Encoding.GZ_B64),
}
_GZIP = {
    *(Encoding.GZIP, Encoding.GZ),
    *(Encoding.GZIP_BASE64, Encoding.GZ_BASE64, Encoding.GZIP_B64, Encoding.GZ_B64),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file's content is fetched from."""

    uri: str = key(HTTPS, "An https URL.")
    sha256: str = key(SHA256, "What the content must hash to.")
    headers: Mapping[str, str] = key(
        MapOf(r"[A-Za-z0-9\-]+", SECRET_LINE), "Headers of the request.", default={}
    )


@dataclass(frozen=True, slots=True)
class WriteFile:
    """One file below `/etc`, `/run`, `/var` or `/tmp`."""

    path: PurePosixPath = key(
        PATH,
        "Where it lies; not at `/etc/machine-id`, nor where the host keeps its own, such as in"
        " `/var/lib/bedplate` and `/run/systemd`.",
    )
    content: str = key(SECRET, "What is in it.", default="")
    encoding: Encoding = key(
        Choice(Encoding), "How `content` is written here.", default=Encoding.PLAIN
    )
    owner: str = key(
        Text("a user, or user:group", r"[a-z_0-9][a-z0-9_\-]*(:[a-z_0-9][a-z0-9_\-]*)?"),
        "Whose it is: `user` or `user:group`.",
        default="root:root",
    )
    permissions: int = key(Mode(), "Its permissions, in octal.", default=0o644)
    append: bool = key(BOOLEAN, "Add to what is there already.", default=False)
    defer: bool = key(BOOLEAN, "Write it after users and units.", default=False)
    source: Source | None = key(
        Section(Source), "Fetch the content instead of giving it.", default=None
    )


def _problem(file: WriteFile) -> str | None:
    if file.source and file.content:
        return f"{file.path}: content and source; expected one of them"
    if file.source and file.append:
        return f"{file.path}: what is fetched cannot be appended"
    return None


def _problems(file: WriteFile) -> Iterator[Fault]:
    if file.path == _MACHINE_ID:
        yield Fault(f"{file.path} is the host's own", ("path",))
    elif own := own_at(file.path):
        yield Fault(f"{file.path} would cover {own}, the host's own", ("path",))
    if file.source:
        return
    try:
        decoded(file)
    except ValueError as error:
        yield Fault(f"{file.path}: {error}", ("content",))


def decoded(file: WriteFile) -> bytes:
    """The bytes of a file's content.

    Raises:
        ValueError: the content is not what its encoding says, or unpacks to more than 16 MiB.
    """
    data = file.content.encode()
    if file.encoding is Encoding.PLAIN:
        return data
    try:
        if file.encoding in _BASE64:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        return _unpacked(data) if file.encoding in _GZIP else data
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"the content is not {file.encoding.value}: {error}") from None


def _unpacked(data: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    plain = stream.decompress(data, _UNPACKED_LIMIT + 1)
    if len(plain) > _UNPACKED_LIMIT:
        raise ValueError("more than 16 MiB once unpacked")
    if not stream.eof:
        raise zlib.error("it is cut short")
    return plain


def _clashes(files: tuple[WriteFile, ...]) -> Iterator[Fault]:
    """One path is one file, which can be appended to; and no file is another one's folder."""
    above = folders(file.path for file in files)
    before: dict[PurePosixPath, WriteFile] = {}
    for at, file in sorted(enumerate(files), key=lambda each: each[1].defer):
        first = before.setdefault(file.path, file)
        if first is not file and not file.append:
            yield Fault(f"'{file.path}' stands twice in this list", (at, "path"))
        elif first.source and file.append:
            yield Fault(f"{file.path}: what is fetched cannot be appended to", (at, "append"))
        if file.path in above:
            yield Fault(f"{file.path} is a folder of other files in this list", (at, "path"))


def folders(paths: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """All folders that files at these paths are in."""
    found: set[PurePosixPath] = set()
    for path in paths:
        folder = path.parent
        while folder not in found:  # the root is its own folder
            found.add(folder)
            folder = folder.parent
    return found


WRITE_FILES = ListOf(Section(WriteFile, _problem, problems=_problems), problems=_clashes)
