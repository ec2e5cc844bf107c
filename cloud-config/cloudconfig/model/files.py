# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""`write_files`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from cloudconfig.kinds import BOOLEAN, HTTPS, PATH, SECRET, SECRET_LINE, SHA256
from hostkit.document.kinds import Choice, Mode, Text
from hostkit.document.schema import ListOf, MapOf, Section, key


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

    path: PurePosixPath = key(PATH, "Where it lies.")
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


WRITE_FILES = ListOf(Section(WriteFile, _problem))
