import base64
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from build_kit import names, plant, readelf, tools
from builder import extension
from builder.definition.load import load
from builder.extension import Signer, make_extension_disk, sign
from builder.extension_cli import read_signer
from builder.trust.certificates import EXTENSIONS, SECURE_BOOT, generate_pair
from cloudconfig.extensionimage import Fits, Note
from storage_samples import image_of, make_release
from trust_kit import CHEAP, PASSPHRASE
from updater.errors import InputError

ROOT_HASH = "ab" * 32


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    generate_pair(folder, EXTENSIONS, PASSPHRASE, CHEAP)
    generate_pair(folder, SECURE_BOOT, PASSPHRASE, CHEAP)
    return folder


@pytest.fixture
def signer(keys: Path, monkeypatch: pytest.MonkeyPatch) -> Signer:
    monkeypatch.setenv("BEDPLATE_PASSPHRASE", PASSPHRASE)
    return read_signer(keys, None)


def elements(data: bytes) -> list[tuple[int, bytes]]:
    """The (tag, content) of each DER element in `data` (X.690, 8.1)."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        found.append((tag, data[at : at + length]))
        at += length
    return found


def parts(content: bytes) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
    """SignedData and its one SignerInfo (RFC 5652, 5.1 and 5.3), as their elements."""
    [(_, content_info)] = elements(content)
    _kind, (_, explicit) = elements(content_info)
    [(_, signed_data)] = elements(explicit)
    fields = elements(signed_data)
    [(_, signer_info)] = elements(fields[-1][1])
    return fields, elements(signer_info)


def document(root_hash: str, signer: Signer) -> dict[str, str]:
    content = sign(root_hash, signer)
    assert len(content) == 16384
    loaded = json.loads(content.rstrip(b"\0"))
    assert isinstance(loaded, dict)
    return loaded


def verify(signature: bytes, root_hash: str, certificate: x509.Certificate) -> None:
    """What the kernel does with it: the hash, under the one key that it trusts."""
    _, info = parts(signature)
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    tag, value = info[-1]
    assert tag == 0x04  # OCTET STRING; no unsigned attributes follow it
    public.verify(value, root_hash.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_the_document_says_which_hash_and_who_signed(signer: Signer) -> None:
    found = document(ROOT_HASH, signer)
    der = signer.certificate.public_bytes(Encoding.DER)
    assert set(found) == {"rootHash", "certificateFingerprint", "signature"}
    assert found["rootHash"] == ROOT_HASH
    assert found["certificateFingerprint"] == hashlib.sha256(der).hexdigest()


def test_the_signature_is_detached_and_names_its_signer(signer: Signer) -> None:
    signature = base64.b64decode(document(ROOT_HASH, signer)["signature"])
    assert pkcs7.load_der_pkcs7_certificates(signature) == [signer.certificate]
    fields, info = parts(signature)
    encapsulated = elements(fields[2][1])
    assert len(encapsulated) == 1  # its type alone: the hash is not in it
    assert ROOT_HASH.encode() not in signature
    # No signed attributes (tag A0), so that it is the hash itself that is signed.
    assert 0xA0 not in [tag for tag, _ in info]


def test_the_signature_is_the_keys_and_no_others(signer: Signer, keys: Path) -> None:
    signature = base64.b64decode(document(ROOT_HASH, signer)["signature"])
    verify(signature, ROOT_HASH, signer.certificate)
    other = extension.read_certificate(keys / "secureboot.crt")
    with pytest.raises(InvalidSignature):
        verify(signature, ROOT_HASH, other)


def test_another_image_is_not_what_was_signed(signer: Signer) -> None:
    signature = base64.b64decode(document(ROOT_HASH, signer)["signature"])
    with pytest.raises(InvalidSignature):
        verify(signature, "ac" + ROOT_HASH[2:], signer.certificate)
    garbled = signature[:-1] + bytes([signature[-1] ^ 1])
    with pytest.raises(InvalidSignature):
        verify(garbled, ROOT_HASH, signer.certificate)


def test_a_certificate_of_another_key_is_refused(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEDPLATE_PASSPHRASE", PASSPHRASE)
    shutil.copy(keys / "extensions.pem", tmp_path)
    (tmp_path / "extensions.crt").write_bytes((keys / "secureboot.crt").read_bytes())
    with pytest.raises(InputError, match="is not of the key in"):
        read_signer(tmp_path, None)


@pytest.mark.parametrize("garbled", [b"", b"-----BEGIN CERTIFICATE-----\nxx\n", b"\0\xff"])
def test_a_garbled_certificate_is_named(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garbled: bytes
) -> None:
    monkeypatch.setenv("BEDPLATE_PASSPHRASE", PASSPHRASE)
    shutil.copy(keys / "extensions.pem", tmp_path)
    (tmp_path / "extensions.crt").write_bytes(garbled)
    with pytest.raises(InputError, match=r"extensions\.crt: expected a certificate in PEM"):
        read_signer(tmp_path, None)


def test_missing_keys_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"extensions\.crt: not found; run `bedplate keygen`"):
        read_signer(tmp_path, None)


def test_an_extension_holds_only_what_the_base_has_not(tmp_path: Path) -> None:
    (tmp_path / "developer.yaml").write_text(
        "name: developer\nversion: 1\nprune: ['usr/share/**']\n"
        "files:\n  - {path: /usr/lib/systemd/system/sshd.service, content: '[Service]'}\n"
    )
    root = plant(
        tmp_path / "root",
        {
            "usr/bin/bash": "new",
            "usr/bin/mount": "as in the base",
            "usr/share/doc/bash": "",
            "etc/passwd": "",
            "bin": "-> usr/bin",
        },
    )
    definition = load(tmp_path / "developer.yaml")
    extension._reduce(root, definition, frozenset({"usr/bin/mount", "bin"}), tools(readelf))
    extension._name(root, extension.note_of(definition, tmp_path))
    release = "usr/lib/extension-release.d/extension-release.developer"
    assert names(root) == {"usr/bin/bash", "usr/lib/systemd/system/sshd.service", release}
    assert (root / release).read_text() == (
        "ID=bedplate\nSYSEXT_LEVEL=trixie\nARCHITECTURE=x86-64\n"
        "SYSEXT_ID=developer\nSYSEXT_VERSION_ID=1\n"
    )


def test_an_extension_for_one_release_names_it(tmp_path: Path) -> None:
    (tmp_path / "drivers.yaml").write_text("name: drivers\nversion: 1.2\nfits: release\n")
    definition = load(tmp_path / "drivers.yaml")
    with pytest.raises(InputError, match=r"manifest\.json: not found; give the folder"):
        extension.note_of(definition, tmp_path)
    made = make_release(tmp_path, image_of([1, 2]), version="2026.11.1")
    (tmp_path / "manifest.json").write_bytes(made.manifest.render())
    note = extension.note_of(definition, tmp_path)
    assert note == Note("drivers", "1.2", Fits.RELEASE, "2026.11.1")
    extension._name(tmp_path / "root", note)
    text = (tmp_path / "root/usr/lib/extension-release.d/extension-release.drivers").read_text()
    # With a level systemd would not look at the version at all.
    assert "VERSION_ID=2026.11.1\n" in text
    assert "SYSEXT_LEVEL" not in text


def test_the_note_stands_beside_the_signature(signer: Signer) -> None:
    note = Note("drivers", "1.2", Fits.RELEASE, "2026.11.1")
    loaded = json.loads(sign(ROOT_HASH, signer, note).rstrip(b"\0"))
    assert loaded["extension"] == note.plain()
    assert loaded["signature"] == document(ROOT_HASH, signer)["signature"]
    # What systemd needs of a signature is not there without a signer.
    unsigned = json.loads(sign(ROOT_HASH, None, note).rstrip(b"\0"))
    assert set(unsigned) == {"rootHash", "extension"}


def test_a_base_that_is_no_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"files\.txt: not found; give the folder"):
        extension._files_of(tmp_path)


def test_the_disk_of_extensions_holds_each_under_its_name(tmp_path: Path) -> None:
    plant(tmp_path, {"a/developer.raw": "1", "b/other.raw": "2"})
    seen: dict[str, str] = {}

    def answer(command: object) -> str:
        assert isinstance(command, list)
        seen.update({path.name: path.read_text() for path in Path(command[-1]).iterdir()})
        assert command[-2] == str(tmp_path / "disk.raw")
        return ""

    extensions = [tmp_path / "a/developer.raw", tmp_path / "b/other.raw"]
    make_extension_disk(extensions, tmp_path / "disk.raw", tools(answer))
    assert seen == {"developer.raw": "1", "other.raw": "2"}
