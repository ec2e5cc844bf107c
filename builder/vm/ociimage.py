"""A container image made of a few files, by the OCI's image specification. Pure: same in, same out.

https://github.com/opencontainers/image-spec/blob/v1.1.0/spec.md
"""

import hashlib
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath

_MEDIA = "application/vnd.oci.image"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of an image, root's, at a path without a first slash; with `link` a symbolic link."""

    path: PurePosixPath
    content: bytes = b""
    mode: int = 0o644
    link: str = ""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that are known by their digest."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hexadecimal digits."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    def descriptor(self) -> dict[str, object]:
        """How others point to it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass(frozen=True, slots=True)
class Image:
    """The manifest, by whose digest an image is pinned, and what it points to."""

    manifest: Blob
    parts: tuple[Blob, ...]


def make_image(
    files: Sequence[ImageFile], command: Sequence[str], *, stop_signal: str = "SIGTERM"
) -> Image:
    """An image of one layer for x86-64, whose containers run `command` in the root directory."""
    # Uncompressed: its digest does not depend on whose zlib it is.
    layer = Blob(f"{_MEDIA}.layer.v1.tar", _layer(files))
    config = _json(
        f"{_MEDIA}.config.v1+json",
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": list(command), "StopSignal": stop_signal},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        },
    )
    return Image(manifest_of(config, layer), (config, layer))


def manifest_of(config: Blob, layer: Blob, annotations: Mapping[str, str] | None = None) -> Blob:
    """The manifest of an image of one layer; `annotations` are the layer's."""
    told = {"annotations": dict(annotations)} if annotations else {}
    media_type = f"{_MEDIA}.manifest.v1+json"
    return _json(
        media_type,
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.descriptor(),
            "layers": [layer.descriptor() | told],
        },
    )


def _json(media_type: str, document: Mapping[str, object]) -> Blob:
    return Blob(media_type, json.dumps(document, sort_keys=True).encode())


def _layer(files: Sequence[ImageFile]) -> bytes:
    """A tar archive of the files and of the folders that they are in."""
    folders = {folder for each in files for folder in each.path.parents if folder.name}
    entries = [_entry(folder, tarfile.DIRTYPE, 0o755) for folder in folders]
    contents = {str(each.path): each.content for each in files}
    for each in files:
        kind = tarfile.SYMTYPE if each.link else tarfile.REGTYPE
        entry = _entry(each.path, kind, each.mode)
        entry.linkname, entry.size = each.link, len(each.content)
        entries.append(entry)
    stream = BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(entries, key=lambda entry: entry.name):
            tar.addfile(entry, BytesIO(contents.get(entry.name, b"")))
    return stream.getvalue()


def _entry(path: PurePosixPath, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(str(path))  # root's, of 1970
    entry.type, entry.mode = kind, mode
    return entry
