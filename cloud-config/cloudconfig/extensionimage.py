"""What the image of a system extension says of itself: read without mounting it or believing it.

The image is a GPT disk of a root, its verity tree and the signature of its root hash
(Discoverable Partitions Specification). Beside the signature stands a note of ours: the name, the
version, and what the extension fits. The note is there to tell people why an extension is
refused; who refuses it is systemd-sysext(8), by the signed `extension-release` in the image.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from uuid import UUID

from updater import gpt
from updater.errors import InputError
from updater.strict import Fields, FormatError, unique_keys

SIGNATURE_SPACE = 16384  # bytes of the partition
NAME = r"[a-z0-9]([a-z0-9.\-]{0,61}[a-z0-9])?"
_ROOT = UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
_VERITY = UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5")
_SIGNATURE = UUID("41092b05-9fc8-4523-994f-2def0408b176")
_SIGNATURE_LIMIT = 1 << 16  # bytes that are read of it
_WORD = r"[A-Za-z0-9][A-Za-z0-9.+~\-]{0,63}"
_HASH = r"[0-9a-f]{64}"


class ExtensionError(InputError):
    """A file is no extension as `bedplate extension build` makes it."""


class Fits(Enum):
    """Which releases an extension may be laid over."""

    SUITE = "suite"  # all that are of one release of Debian: SYSEXT_LEVEL of os-release(5)
    RELEASE = "release"  # the one that it was built for: VERSION_ID


@dataclass(frozen=True, slots=True)
class Note:
    """An extension's word for itself; `of` is the suite or the version of the release it fits."""

    name: str
    version: str
    fits: Fits
    of: str

    def plain(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "name": self.name,
            "version": self.version,
            "fits": {"kind": self.fits.value, "of": self.of},
        }


@dataclass(frozen=True, slots=True)
class Partition:
    """Where bytes are in a file, in bytes."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Image:
    """An extension; `signer` is the SHA-256 of its signer's certificate, None if it is unsigned.

    Images of earlier releases of the builder have no note.
    """

    root_hash: str
    signer: str | None
    note: Note | None
    root: Partition
    verity: Partition
    signature: Partition


def extension_release(note: Note) -> str:
    """`extension-release`, by which systemd-sysext(8) takes an extension or leaves it.

    A SYSEXT_LEVEL must be the host's; without one VERSION_ID must be.
    """
    field = {Fits.SUITE: "SYSEXT_LEVEL", Fits.RELEASE: "VERSION_ID"}[note.fits]
    return (
        f"ID=bedplate\n{field}={note.of}\nARCHITECTURE=x86-64\n"
        f"SYSEXT_ID={note.name}\nSYSEXT_VERSION_ID={note.version}\n"
    )


def read_note(value: object, where: str) -> Note:
    """A note in JSON.

    Raises:
        FormatError: it is none; the message names the key.
    """
    fields = Fields.of(value, where, ("name", "version", "fits"))
    fits = fields.fields("fits", ("kind", "of"))
    kinds = "|".join(each.value for each in Fits)
    return Note(
        name=fields.text("name", NAME, "an extension's name"),
        version=fields.text("version", _WORD, "a version"),
        fits=Fits(fits.text("kind", kinds, f"one of {kinds}")),
        of=fits.text("of", _WORD, "a Debian release, or a version"),
    )


def read_image(path: Path) -> Image:
    """What the extension in `path` says; no signature is verified, and no block of it read.

    Raises:
        ExtensionError: it is none, or damaged.
        OSError: it cannot be read.
    """
    try:
        table = gpt.read(path)
    except gpt.GptError as error:
        raise ExtensionError(f"{path}: no image of an extension, or damaged: {error}") from error
    entries = {entry.type: entry for entry in table.entries}
    found = []
    for kind, name in ((_ROOT, "root"), (_VERITY, "verity tree"), (_SIGNATURE, "signature")):
        if kind not in entries:
            raise ExtensionError(f"{path}: has no partition for the {name}; build it anew")
        entry = entries[kind]
        length = (entry.last + 1 - entry.first) * table.sector
        found.append(Partition(entry.first * table.sector, length))
    root_hash = entries[_ROOT].unique.hex + entries[_VERITY].unique.hex
    document = _signature_of(path, found[-1])
    if document.get("rootHash") != root_hash:
        raise ExtensionError(f"{path}: damaged: the signature is of another root hash")
    try:
        note = read_note(document["extension"], "its note") if "extension" in document else None
    except FormatError as error:
        raise ExtensionError(f"{path}: damaged: {error}") from error
    signed = "signature" in document
    return Image(root_hash, _signer(document, path) if signed else None, note, *found)


def _signature_of(path: Path, partition: Partition) -> Mapping[str, object]:
    with path.open("rb") as stream:
        stream.seek(partition.offset)
        data = stream.read(min(partition.length, _SIGNATURE_LIMIT))
    try:
        document = json.loads(data.rstrip(b"\0").decode(), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError):
        raise ExtensionError(f"{path}: damaged: its signature is no JSON") from None
    if not isinstance(document, dict):
        raise ExtensionError(f"{path}: damaged: its signature is no object")
    return document


def _signer(document: Mapping[str, object], path: Path) -> str:
    try:
        found = Fields(dict(document), "its signature")
        return found.text("certificateFingerprint", _HASH, "a SHA-256")
    except (FormatError, KeyError):
        raise ExtensionError(f"{path}: damaged: its signature names no certificate") from None
