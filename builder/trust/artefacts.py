"""The files of a release: checked against their manifest, and put into the repository whole."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from builder.trust.errors import ReleaseInputError, TrustError
from updater.files import sync_directory
from updater.manifest import MAXIMUM_LENGTH, Artefact, ReleaseManifest, parse
from updater.strict import FormatError

_PIECE = 1 << 20  # bytes read at a time


def read_manifest(build: Path) -> tuple[ReleaseManifest, bytes]:
    """The manifest of a build's folder, and the bytes that are to be signed.

    Raises:
        ReleaseInputError: there is none, or it is not what its format says.
    """
    path = build / "manifest.json"
    try:
        with path.open("rb") as stream:
            data = stream.read(MAXIMUM_LENGTH + 1)
        return parse(data), data
    except OSError as error:
        raise ReleaseInputError(
            f"{path}: cannot be read ({error.strerror}); give the folder that bedplate build made"
        ) from error
    except FormatError as error:
        raise ReleaseInputError(f"{path}: {error}") from error


def artefacts_of(manifest: ReleaseManifest) -> tuple[Artefact, ...]:
    """All files that a release consists of, besides its manifest."""
    return (manifest.tree, manifest.index, manifest.wire, manifest.uki)


def verify(folder: Path, manifest: ReleaseManifest) -> None:
    """Read every artefact in `folder` and compare it with the manifest.

    Raises:
        TrustError: a file is missing, or its length or hash differs.
    """
    for artefact in artefacts_of(manifest):
        _copy_checked(folder, artefact, None)


def place(build: Path, manifest: ReleaseManifest, folder: Path) -> None:
    """Copy a release's artefacts into `folder`, which appears whole or not at all.

    What is compared with the manifest is what was copied. A `folder` left by an interrupted run is
    replaced; the caller knows that nothing refers to it.

    Raises:
        TrustError: a file of `build` is missing, or is not what the manifest says.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(leftover)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for artefact in artefacts_of(manifest):
            with (staging / artefact.path).open("wb") as output:
                _copy_checked(build, artefact, output)
                output.flush()
                os.fsync(output.fileno())
        staging.chmod(0o755)
        sync_directory(staging)
        if folder.exists():
            shutil.rmtree(folder)
        staging.replace(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_directory(folder.parent)


def _copy_checked(folder: Path, artefact: Artefact, output: BinaryIO | None) -> None:
    path = folder / artefact.path
    digest, length = hashlib.sha256(), 0
    for piece in _pieces(path):
        digest.update(piece)
        length += len(piece)
        if output is not None:
            output.write(piece)
    if length != artefact.length:
        raise TrustError(f"{path}: has {length} bytes, the manifest says {artefact.length}")
    if digest.hexdigest() != artefact.sha256:
        raise TrustError(
            f"{path}: SHA-256 is {digest.hexdigest()}, the manifest says {artefact.sha256}"
        )


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                yield piece
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror}") from error
