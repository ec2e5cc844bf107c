"""The release manifest: the one signed document that says what a release's bytes are."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from updater.strict import Fields, FormatError, render_json, render_time
from updater.version import Version

MAXIMUM_LENGTH = 64 * 1024
BLOCK_SIZE = 4096
# 2 GiB. The host holds 32 bytes a block of two trees within 96 MiB.
MAXIMUM_BLOCKS = 512 * 1024
MAXIMUM_CHUNK_BLOCKS = 1024
_MAXIMUM_UKI = 256 * 1024 * 1024
_SCHEMA = 1


class Architecture(StrEnum):
    """The processors that an image can be for, in systemd's spelling."""

    X86_64 = "x86-64"
    ARM64 = "arm64"


@dataclass(frozen=True, slots=True)
class Root:
    """The root file system as dm-verity sees it; `hash` and `salt` are lower-case hex."""

    hash: str
    salt: str
    block_size: int
    blocks: int
    chunk_blocks: int

    @property
    def size(self) -> int:
        """Bytes of the image."""
        return self.blocks * self.block_size

    @property
    def chunks(self) -> int:
        """How many wire chunks the image has; the last one may be shorter."""
        return -(-self.blocks // self.chunk_blocks)


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file beside the manifest: `path` is a plain name, `length` is in bytes."""

    path: str
    sha256: str
    length: int


@dataclass(frozen=True, slots=True)
class ReleaseManifest:
    """One release; the artefacts are under their own names: tree, index, wire, uki."""

    image: str
    version: Version
    architecture: Architecture
    built: datetime
    minimum_version: Version
    root: Root
    tree: Artefact
    index: Artefact
    wire: Artefact
    uki: Artefact

    def render(self) -> bytes:
        """The manifest as canonical JSON; `parse` gives it back."""
        return render_json(
            {
                "schema": _SCHEMA,
                "image": self.image,
                "version": str(self.version),
                "architecture": self.architecture.value,
                "built": render_time(self.built),
                "minimum_version": str(self.minimum_version),
                "root": asdict(self.root),
                "artefacts": {
                    "tree": asdict(self.tree),
                    "index": asdict(self.index),
                    "wire": asdict(self.wire),
                    "uki": asdict(self.uki),
                },
            }
        )


def _root(fields: Fields) -> Root:
    return Root(
        hash=fields.text("hash", "[0-9a-f]{64}", "64 lower-case hex digits"),
        # veritysetup(8) allows a salt of up to 256 bytes.
        salt=fields.text("salt", "([0-9a-f]{2}){0,256}", "0 to 256 bytes in lower-case hex"),
        block_size=fields.integer("block_size", BLOCK_SIZE, BLOCK_SIZE),
        blocks=fields.integer("blocks", 2, MAXIMUM_BLOCKS),
        chunk_blocks=fields.integer("chunk_blocks", 1, MAXIMUM_CHUNK_BLOCKS),
    )


def _artefact(fields: Fields, maximum: int) -> Artefact:
    return Artefact(
        path=fields.text("path", "[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", "a plain file name"),
        sha256=fields.text("sha256", "[0-9a-f]{64}", "64 lower-case hex digits"),
        length=fields.integer("length", 1, maximum),
    )


def parse(data: bytes) -> ReleaseManifest:
    """Read a manifest strictly.

    Raises:
        FormatError: an unknown, missing or double key, a wrong type, an absurd size; the message
            says which key.
    """
    fields = Fields.parse(
        data,
        "release manifest",
        (
            *("schema", "image", "version", "architecture", "built"),
            *("minimum_version", "root", "artefacts"),
        ),
        MAXIMUM_LENGTH,
    )
    fields.integer("schema", _SCHEMA, _SCHEMA)
    root = _root(fields.fields("root", ("hash", "salt", "block_size", "blocks", "chunk_blocks")))
    artefacts = fields.fields("artefacts", ("tree", "index", "wire", "uki"))
    # A tree is 32/4096 of the image and a little; a frame that cannot be packed grows a little.
    limits = {
        "tree": root.size // 64 + 4 * BLOCK_SIZE,
        "index": 4 * root.chunks,
        "wire": root.size + root.size // 64 + 1024 * root.chunks,
        "uki": _MAXIMUM_UKI,
    }
    parts = {
        name: _artefact(artefacts.fields(name, ("path", "sha256", "length")), limit)
        for name, limit in limits.items()
    }
    if len({part.path for part in parts.values()}) != len(parts):
        raise FormatError("release manifest: artefacts: two artefacts have the same path")
    if parts["index"].length != 4 * root.chunks:
        raise FormatError(
            f"release manifest: artefacts: index: key 'length': expected {4 * root.chunks} "
            f"(4 bytes for each of {root.chunks} chunks), got {parts['index'].length}"
        )
    version = fields.version("version")
    minimum = fields.version("minimum_version")
    if minimum > version:
        raise fields.error("minimum_version", f"at most the version itself, {version}")
    architectures = "|".join(architecture.value for architecture in Architecture)
    return ReleaseManifest(
        image=fields.text("image", "[a-z][a-z0-9-]{0,31}", "a name in lower case"),
        version=version,
        architecture=Architecture(
            fields.text("architecture", architectures, "one of " + architectures)
        ),
        built=fields.time("built"),
        minimum_version=minimum,
        root=root,
        tree=parts["tree"],
        index=parts["index"],
        wire=parts["wire"],
        uki=parts["uki"],
    )
