"""Signed system extensions: what is laid over /usr of a production image (systemd-sysext(8)).

An extension is a disk image of its own: EROFS, its verity tree, and the signature of the root
hash. The host looks only at those whose signer's certificate is in its image.
"""

import base64
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import (
    PKCS7Options,
    PKCS7SignatureBuilder,
)

from builder.definition.model import Definition
from builder.definition.render import laid_files, write_files
from builder.output import fixed_umask, put
from builder.report import Reporter, format_size
from builder.run import Sandbox
from builder.scratch import scratch
from builder.steps import prune, seal
from builder.steps.bootstrap import Selection, Variant, bootstrap, unpack
from builder.steps.disk import slot_uuids
from builder.steps.toolbox import tool_tree, toolbox
from builder.steps.tree import entries
from cloudconfig.extensionimage import SIGNATURE_SPACE, Fits, Note, extension_release
from updater import manifest
from updater.errors import InputError

FILES_LIST = "files.txt"
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: an RSA key and the certificate that hosts know it by."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate


def build_extension(
    definition: Definition,
    base: Path,
    output: Path,
    cache: Path,
    *,
    signer: Signer | None,
    reporter: Reporter,
) -> Path:
    """Build `output`/<name>.raw; without a signer no host accepts it until it is signed.

    Args:
        base: the folder of the build that the extension is for. What that image holds is left
            out, so that an extension adds to /usr and changes nothing in it.

    Raises:
        InputError: `base` is not the folder of a build.
        BedplateError: a step failed.
    """
    there, note = _files_of(base), note_of(definition, base)
    with fixed_umask(), scratch(cache / "work") as work:
        with reporter.step("tool tree") as step:
            tree = tool_tree(cache, definition.suite, definition.mirror, on_line=step.output)
            tools = toolbox(tree, work)
        with reporter.step("extension packages") as step:
            selection = Selection(
                definition.suite, Variant.EXTRACT, definition.packages, definition.mirror
            )
            tar = cache / "extensions" / f"{selection.key()}.tar"
            if not tar.is_file():
                bootstrap(selection, tar, archives=cache / "archives", epoch=0, on_line=step.output)
        with reporter.step("extension") as step:
            root = work / "root"
            unpack(tar, root)
            _reduce(root, definition, there, tools)
            _name(root, note)
            made = _seal(root, work, note, tools, signer)
            final = output / f"{definition.name}.raw"
            put(made, final)
            step.note(format_size(final.stat().st_size))
    return final


def read_certificate(path: Path) -> x509.Certificate:
    """The certificate in a PEM file.

    Raises:
        InputError: it is missing, or is no certificate.
    """
    if not path.is_file():
        raise InputError(f"{path}: not found; run `bedplate keygen` first")
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: expected a certificate in PEM: {error}") from error


def note_of(definition: Definition, base: Path) -> Note:
    """What an extension for the build in `base` is, and what it fits.

    Raises:
        InputError: it is for one release alone, and `base` is not the folder of a build.
    """
    if definition.fits is Fits.SUITE:
        of = definition.suite
    else:
        path = base / _MANIFEST
        if not path.is_file():
            raise InputError(f"{path}: not found; give the folder that `bedplate build` made")
        of = str(manifest.parse(path.read_bytes()).version)
    return Note(definition.name, str(definition.version), definition.fits, of)


def _files_of(base: Path) -> frozenset[str]:
    """What a build's image holds, relative to its root."""
    path = base / FILES_LIST
    if not path.is_file():
        raise InputError(f"{path}: not found; give the folder that `bedplate build` made")
    return frozenset(path.read_text().splitlines())


def _reduce(root: Path, definition: Definition, there: frozenset[str], tools: Sandbox) -> None:
    """Leave what the definition keeps and needs, without what the base has, and only /usr."""
    prune.prune(root, definition.prune, definition.keep, tools)
    for path in entries(root):
        if str(path.relative_to(root)) in there:
            path.unlink()
    for path in root.iterdir():
        if path.name != "usr":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    write_files(root, laid_files(definition, definition.trees, definition.files))


def _name(root: Path, note: Note) -> None:
    """Write what systemd-sysext(8) takes the extension by."""
    release = root / "usr/lib/extension-release.d" / f"extension-release.{note.name}"
    release.parent.mkdir(parents=True, exist_ok=True)
    release.write_text(extension_release(note))


def _seal(root: Path, work: Path, note: Note, tools: Sandbox, signer: Signer | None) -> Path:
    name = note.name
    image, verity = work / "extension.erofs", work / "extension.verity"
    sealed = seal.seal(root, image, verity, tools, name=name, epoch=0)
    root_uuid, verity_uuid = slot_uuids(sealed.root_hash)
    definitions = work / "repart.d"
    definitions.mkdir()
    # Without a signer there is room for a signature, with the note in it.
    signature = work / "extension.sig"
    signature.write_bytes(sign(sealed.root_hash, signer, note))
    parts = [
        ("10-root", "root-x86-64", image, f"UUID={root_uuid}"),
        ("20-verity", "root-x86-64-verity", verity, f"UUID={verity_uuid}"),
        ("30-sig", "root-x86-64-verity-sig", signature, f"SizeMinBytes={SIGNATURE_SPACE}"),
    ]
    for file, kind, source, extra in parts:
        (definitions / f"{file}.conf").write_text(
            f"[Partition]\nType={kind}\nCopyBlocks={source}\n{extra}\n"
        )
    disk = work / f"{name}.raw"
    tools.run(
        ["systemd-repart", "--empty=create", "--size=auto", "--offline=yes", "--dry-run=no"]
        + [f"--definitions={definitions}", f"--seed={seal.stable_uuid(name)}", str(disk)]
    )
    return disk


def sign(root_hash: str, signer: Signer | None, note: Note | None = None) -> bytes:
    """The content of a verity signature partition: JSON with a detached PKCS#7, zero-padded.

    Discoverable Partitions Specification, "The Partition Type UUIDs", verity signature. systemd
    looks only at the keys that it knows, so the note can stand beside them; without a signer it
    stands there alone, which no host takes for a signature.
    """
    document: dict[str, object] = {"rootHash": root_hash}
    if note:
        document["extension"] = note.plain()
    if signer:
        options = [PKCS7Options.DetachedSignature, PKCS7Options.NoAttributes, PKCS7Options.Binary]
        signature = (
            PKCS7SignatureBuilder()
            .set_data(root_hash.encode())
            .add_signer(signer.certificate, signer.key, hashes.SHA256())
            .sign(Encoding.DER, options)
        )
        der = signer.certificate.public_bytes(Encoding.DER)
        document["certificateFingerprint"] = hashlib.sha256(der).hexdigest()
        document["signature"] = base64.b64encode(signature).decode()
    return json.dumps(document).encode().ljust(SIGNATURE_SPACE, b"\0")


def make_extension_disk(extensions: list[Path], disk: Path, tools: Sandbox) -> None:
    """A disk that a host takes extensions from when it is attached: EROFS, with a known label."""
    with tempfile.TemporaryDirectory(dir=disk.parent) as folder:
        for extension in extensions:
            shutil.copy2(extension, Path(folder) / extension.name)
        tools.run(["mkfs.erofs", "--quiet", "--all-root", "-LBEDPLATE_EXT", str(disk), folder])
