"""Signing an extension that was built without a key: where the key is need not be a builder."""

import os
import shutil
import tempfile
from pathlib import Path

from builder.extension import Signer, sign
from builder.output import put
from cloudconfig.extensionimage import ExtensionError, Image, Partition, read_image
from updater import verity
from updater.manifest import BLOCK_SIZE

_PIECE = 256 * BLOCK_SIZE


def check(path: Path) -> Image:
    """The extension in `path`, every block of it proved by its root hash; signed or not.

    Raises:
        ExtensionError: it is none, or damaged.
        OSError: it cannot be read.
    """
    image = read_image(path)
    try:
        with path.open("rb") as stream:
            superblock = _read(stream.fileno(), image.verity, 0, BLOCK_SIZE)
            root = verity.read_superblock(superblock, image.root_hash)
            length = verity.tree_length(root.blocks)
            tree = verity.parse_tree(_read(stream.fileno(), image.verity, 0, length), root)
            right = bytearray(root.blocks)
            for first in range(0, root.blocks, _PIECE // BLOCK_SIZE):
                length = min(_PIECE, root.size - first * BLOCK_SIZE)
                data = _read(stream.fileno(), image.root, first * BLOCK_SIZE, length)
                tree.matching(first, data, right)
    except verity.VerityError as error:
        raise ExtensionError(f"{path}: damaged: {error}; build it anew") from error
    if wrong := right.count(0):
        raise ExtensionError(f"{path}: damaged: {wrong} blocks are not what was built")
    return image


def sign_image(path: Path, signer: Signer) -> bool:
    """Sign the extension in `path`, in its place; False if this signer has signed it already.

    Raises:
        ExtensionError: it is damaged, signed by somebody else, or of a builder that left no room
            for a signature.
        BedplateError, OSError: it cannot be written.
    """
    image = check(path)
    content = sign(image.root_hash, signer, image.note)
    if image.signer is not None:
        if image.signer.encode() in content:
            return False
        raise ExtensionError(
            f"{path}: signed by another key already (certificate with the SHA-256"
            f" {image.signer[:16]}...); build it anew with --unsigned to sign it with yours"
        )
    if image.note is None or image.signature.length < len(content):
        raise ExtensionError(f"{path}: has no room for a signature; build it anew")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        signed = Path(folder) / "signed"
        shutil.copy2(path, signed)
        with signed.open("r+b") as stream:
            stream.seek(image.signature.offset)
            stream.write(content)
        put(signed, path)
    return True


def _read(descriptor: int, partition: Partition, offset: int, length: int) -> bytes:
    """Bytes of a partition; fewer where it ends before, which is then found to be wrong."""
    length = max(0, min(length, partition.length - offset))
    return os.pread(descriptor, length, partition.offset + offset)
