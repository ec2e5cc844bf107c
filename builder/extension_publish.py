"""A folder of extensions that any web server can serve, with an index of what is in it.

A file's name holds a part of its SHA-256, and no file is ever changed: what a cloud-config names
stays what it is. The index is for people and tools that look for one; nobody has signed it, and
a host takes an extension by the hash in its cloud-config and the signature in the image.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.extension_sign import check
from builder.output import put
from cloudconfig.desired import FETCH_LIMIT
from cloudconfig.extensionimage import Fits, Note, read_note
from updater.errors import InputError
from updater.files import write_atomic
from updater.strict import Fields, FormatError, render_json
from updater.version import Version, VersionError

INDEX = "extensions.json"
INDEX_LIMIT = 1 << 20  # bytes
_SCHEMA = 1
_ENTRIES = 4096
_DIGITS = 16  # of the hash, in a file's name


@dataclass(frozen=True, slots=True)
class Published:
    """One extension of an index; `signer` is the SHA-256 of its signer's certificate."""

    note: Note
    file: str
    size: int
    sha256: str
    signer: str

    def plain(self) -> dict[str, object]:
        """As the index has it."""
        return self.note.plain() | {
            "file": self.file,
            "size": self.size,
            "sha256": self.sha256,
            "signer": self.signer,
        }


def parse_index(data: bytes, where: str) -> tuple[Published, ...]:
    """The extensions in an index, in its order.

    Raises:
        InputError: it is none; the message names the key.
    """
    try:
        fields = Fields.parse(data, where, ("schema", "extensions"), INDEX_LIMIT)
        fields.integer("schema", _SCHEMA, _SCHEMA)
        keys = ("name", "version", "fits", "file", "size", "sha256", "signer")
        return tuple(map(_entry, fields.items("extensions", keys, 0, _ENTRIES)))
    except FormatError as error:
        raise InputError(str(error)) from error


def _entry(fields: Fields) -> Published:
    own = {name: fields.values[name] for name in ("name", "version", "fits")}
    return Published(
        note=read_note(own, fields.where),
        file=fields.text("file", r"[a-z0-9][A-Za-z0-9._+~\-]{0,250}", "a plain file name"),
        size=fields.integer("size", 1, FETCH_LIMIT),
        sha256=fields.text("sha256", "[0-9a-f]{64}", "a SHA-256"),
        signer=fields.text("signer", "[0-9a-f]{64}", "a SHA-256"),
    )


def read_folder(folder: Path) -> tuple[Published, ...]:
    """The index of a folder; nothing if it has none yet.

    Raises:
        InputError: the index is damaged.
    """
    path = folder / INDEX
    return parse_index(path.read_bytes(), str(path)) if path.is_file() else ()


def publish(folder: Path, files: Iterable[Path]) -> tuple[Published, ...]:
    """Put signed extensions into `folder`, each before the index that names it; those that are new.

    Raises:
        InputError: one is unsigned, damaged, or larger than hosts take; nothing is published.
        OSError: the folder cannot be written.
    """
    offered = {file: _offer(file) for file in files}
    before = read_folder(folder)
    there = {each.file for each in before}
    new = {each.file: (file, each) for file, each in offered.items() if each.file not in there}
    folder.mkdir(parents=True, exist_ok=True)
    for file, each in new.values():
        with tempfile.TemporaryDirectory(dir=folder, prefix=".publish-") as work:
            copy = Path(work) / each.file
            shutil.copyfile(file, copy)
            copy.chmod(0o644)
            put(copy, folder / each.file)
    # In the order of publishing, so that the last of a name and version is the newest.
    every = (*before, *(each for _, each in new.values()))
    document = {"schema": _SCHEMA, "extensions": [each.plain() for each in every]}
    write_atomic(folder / INDEX, render_json(document))
    return tuple(each for _, each in new.values())


def _offer(file: Path) -> Published:
    if not file.is_file():
        raise InputError(f"{file}: not found; `bedplate extension build` makes one")
    image = check(file)
    if image.signer is None or image.note is None:
        raise InputError(f"{file}: not signed, so no host takes it; `bedplate extension sign` it")
    size = file.stat().st_size
    if size > FETCH_LIMIT:
        raise InputError(
            f"{file}: {size} bytes, and a host fetches {FETCH_LIMIT} at most; leave something out"
        )
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    name = f"{image.note.name}_{image.note.version}_{sha256[:_DIGITS]}.raw"
    return Published(image.note, name, size, sha256, image.signer)


def newest(found: Iterable[Published], release: str | None = None) -> tuple[Published, ...]:
    """Of each name the one of the highest version that was published last.

    With `release` those that are for another one alone are passed over. A version that is none of
    ours counts as the lowest.
    """
    best: dict[str, Published] = {}
    for each in found:
        if release and each.note.fits is Fits.RELEASE and each.note.of != release:
            continue
        kept = best.get(each.note.name)
        if kept is None or _parts(each) >= _parts(kept):
            best[each.note.name] = each
    return tuple(best[name] for name in sorted(best))


def _parts(each: Published) -> tuple[int, ...]:
    try:
        return Version.parse(each.note.version).parts
    except VersionError:
        return ()


def cloud_config(found: Iterable[Published], base: str) -> str:
    """The lines of a cloud-config that ask for these extensions, served at the URL `base`."""
    lines = ["bedplate:", "  extensions:"]
    for each in found:
        lines += [
            f"    - name: {each.note.name}",
            f"      url: {base.rstrip('/')}/{each.file}",
            f"      sha256: {each.sha256}",
        ]
    return "\n".join(lines) + "\n"
