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
from builder.steps import prune, seal
from builder.steps.bootstrap import Selection, Variant, bootstrap, unpack
from builder.steps.disk import slot_uuids
from builder.steps.toolbox import tool_tree, toolbox
from builder.steps.tree import entries
from updater.errors import InputError

FILES_LIST = "files.txt"
_SIGNATURE_SPACE = 16384


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
    """Build `output`/<name>.raw; without a signer it is one that no host accepts.

    Args:
        base: the folder of the build that the extension is for. What that image holds is left
            out, so that an extension adds to /usr and changes nothing in it.

    Raises:
        InputError: `base` is not the folder of a build.
        BedplateError: a step failed.
    """
    there = _files_of(base)
    (cache / "work").mkdir(parents=True, exist_ok=True)
    with fixed_umask(), tempfile.TemporaryDirectory(dir=cache / "work") as folder:
        work = Path(folder).resolve()
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
            made = _seal(root, work, definition.name, tools, signer)
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
    release = root / "usr/lib/extension-release.d" / f"extension-release.{definition.name}"
    release.parent.mkdir(parents=True, exist_ok=True)
    release.write_text(f"ID=bedplate\nSYSEXT_LEVEL={definition.suite}\n")


def _seal(root: Path, work: Path, name: str, tools: Sandbox, signer: Signer | None) -> Path:
    image, verity = work / "extension.erofs", work / "extension.verity"
    sealed = seal.seal(root, image, verity, tools, name=name, epoch=0)
    root_uuid, verity_uuid = slot_uuids(sealed.root_hash)
    definitions = work / "repart.d"
    definitions.mkdir()
    parts = [
        ("10-root", "root-x86-64", image, f"UUID={root_uuid}"),
        ("20-verity", "root-x86-64-verity", verity, f"UUID={verity_uuid}"),
    ]
    if signer:
        signature = work / "extension.sig"
        signature.write_bytes(sign(sealed.root_hash, signer))
        parts.append(("30-sig", "root-x86-64-verity-sig", signature, "SizeMinBytes=16K"))
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


def sign(root_hash: str, signer: Signer) -> bytes:
    """The content of a verity signature partition: JSON with a detached PKCS#7, zero-padded.

    Discoverable Partitions Specification, "The Partition Type UUIDs", verity signature.
    """
    options = [PKCS7Options.DetachedSignature, PKCS7Options.NoAttributes, PKCS7Options.Binary]
    signature = (
        PKCS7SignatureBuilder()
        .set_data(root_hash.encode())
        .add_signer(signer.certificate, signer.key, hashes.SHA256())
        .sign(Encoding.DER, options)
    )
    fingerprint = hashlib.sha256(signer.certificate.public_bytes(Encoding.DER)).hexdigest()
    document = {
        "rootHash": root_hash,
        "certificateFingerprint": fingerprint,
        "signature": base64.b64encode(signature).decode(),
    }
    return json.dumps(document).encode().ljust(_SIGNATURE_SPACE, b"\0")


def make_extension_disk(extensions: list[Path], disk: Path, tools: Sandbox) -> None:
    """A disk that a host takes extensions from when it is attached: EROFS, with a known label."""
    with tempfile.TemporaryDirectory(dir=disk.parent) as folder:
        for extension in extensions:
            shutil.copy2(extension, Path(folder) / extension.name)
        tools.run(["mkfs.erofs", "--quiet", "--all-root", "-LBEDPLATE_EXT", str(disk), folder])
