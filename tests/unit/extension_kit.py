"""Images of system extensions as the builder makes them, but small, and hosts that take them."""

import json
import struct
from pathlib import Path
from uuid import UUID

from builder.extension import Signer, sign
from cloudconfig.extensionimage import SIGNATURE_SPACE, Fits, Note
from storage_samples import build_tree, image_of
from updater import gpt
from updater.slots import ROOT, ROOT_VERITY

SIGNATURE = UUID("41092b05-9fc8-4523-994f-2def0408b176")
NOTE = Note("greeting", "1", Fits.SUITE, "trixie")
SECTOR = 512
_FIRST = 2048


def extension(
    path: Path, signer: Signer | None, note: Note | None = NOTE, *, room: int = SIGNATURE_SPACE
) -> Path:
    """Write an extension's image to `path`; `room` are the bytes for its signature."""
    root = image_of([1, 2, 3, 0])
    tree, root_hash = build_tree(root, bytes(32))
    signature = sign(root_hash, signer, note)[:room].ljust(room, b"\0")
    return disk(path, [(ROOT, root), (ROOT_VERITY, tree), (SIGNATURE, signature)], root_hash)


def disk(path: Path, parts: list[tuple[UUID, bytes]], root_hash: str) -> Path:
    """A GPT disk of partitions; the first two have the halves of the root hash as their ids."""
    uniques = [UUID(root_hash[:32]), UUID(root_hash[32:]), UUID(int=3)]
    array, at = b"", _FIRST
    found: list[tuple[int, bytes]] = []
    for (kind, data), unique in zip(parts, uniques, strict=False):
        last = at + -(-len(data) // SECTOR) - 1
        array += struct.pack("<16s16sQQQ72s", kind.bytes_le, unique.bytes_le, at, last, 0, b"")
        found.append((at, data))
        at = last + 1
    end = at + 34
    table = gpt.Table(
        sector=SECTOR,
        disk=UUID(int=9),
        first_usable=34,
        last_usable=end - 34,
        primary=gpt.Place(1, 2),
        backup=gpt.Place(end, end - 32),
        array=array.ljust(128 * 128, b"\0"),
        damaged=None,
    )
    content = bytearray((end + 1) * SECTOR)
    for write in (write for batch in gpt.plan_writes(table) for write in batch):
        content[write.offset : write.offset + len(write.data)] = write.data
    for first, data in found:
        content[first * SECTOR : first * SECTOR + len(data)] = data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def release(root: Path, certificate: bytes, *, version: str = "2", suite: str = "trixie") -> None:
    """What a host's image says of itself, and whom it trusts."""
    library = root / "usr/lib"
    (library / "verity.d").mkdir(parents=True)
    (library / "verity.d/bedplate-extensions.crt").write_bytes(certificate)
    text = f'ID="bedplate"\nVERSION_ID="{version}"\nSYSEXT_LEVEL="{suite}"\n'
    (library / "os-release").write_text(text)


def merged(root: Path, *names: str) -> None:
    """What systemd-sysext leaves in the merged tree."""
    folder = root / "usr/.systemd-sysext"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "extensions").write_text("\n".join(names))
    releases = root / "usr/lib/extension-release.d"
    releases.mkdir(parents=True, exist_ok=True)
    for name in names:
        (releases / f"extension-release.{name}").write_text("ID=bedplate\nSYSEXT_VERSION_ID=7\n")


def signature(path: Path, **changes: object) -> None:
    """Change keys of the signature in an image; None takes one away."""
    found = next(each for each in gpt.read(path).entries if each.type == SIGNATURE)
    data = bytearray(path.read_bytes())
    at = found.first * SECTOR
    document = json.loads(bytes(data[at : at + SIGNATURE_SPACE]).rstrip(b"\0")) | changes
    text = json.dumps({key: value for key, value in document.items() if value is not None})
    data[at : at + SIGNATURE_SPACE] = text.encode().ljust(SIGNATURE_SPACE, b"\0")
    path.write_bytes(data)
