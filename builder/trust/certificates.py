"""Key and certificate pairs for what is not TUF's: system extensions and secure boot.

A certificate here only names a public key: the kernel's keyring and a firmware's db look the
signer's key up and do not weigh dates. So the dates are fixed, and a host whose clock is wrong is
not locked out. Both ends fit X.509's two-digit UTCTime, which every firmware can read.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from builder.trust.errors import KeyStoreError
from builder.trust.keys import check_passphrase, prepare_folder
from builder.trust.newfile import write_new
from builder.trust.passphrase import check_strength
from builder.trust.pkcs8 import ScryptCost, encrypt

NOT_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CertificateKind:
    """One pair: files `<name>.pem` and `<name>.crt`, and whom the certificate names."""

    name: str
    common_name: str
    bits: int


# RSA-2048 is the one size that all UEFI firmware verifies (UEFI 2.10, 32.4.1).
SECURE_BOOT = CertificateKind("secureboot", "Bedplate secure boot", 2048)
EXTENSIONS = CertificateKind("extensions", "Bedplate system extensions", 3072)
KINDS = (EXTENSIONS, SECURE_BOOT)


def generate_pair(
    folder: Path, kind: CertificateKind, passphrase: str, cost: ScryptCost | None = None
) -> x509.Certificate:
    """Make the RSA key (encrypted, 0600) and its self-signed certificate; replaces no file.

    Raises:
        KeyStoreError: one of the two files exists.
        PassphraseError: the passphrase is too short, or not that of the keys already there.
    """
    check_strength(passphrase)
    private_path, certificate_path = pair_files(folder, kind)
    for path in (private_path, certificate_path):
        if path.exists():
            raise KeyStoreError(f"{path}: exists already; keys are never overwritten")
    prepare_folder(folder)
    check_passphrase(folder, passphrase)
    private = rsa.generate_private_key(public_exponent=65537, key_size=kind.bits)
    certificate = _self_signed(kind, private)
    # The certificate goes last: where it is, the pair is whole.
    write_new(private_path, encrypt(private, passphrase, cost), 0o600)
    write_new(certificate_path, certificate.public_bytes(Encoding.PEM), 0o644)
    return certificate


def complete_pair(folder: Path, kind: CertificateKind, private: object) -> x509.Certificate:
    """Write the certificate of a pair whose making was interrupted before it."""
    private_path, certificate_path = pair_files(folder, kind)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise KeyStoreError(f"{private_path}: expected an RSA key")
    certificate = _self_signed(kind, private)
    write_new(certificate_path, certificate.public_bytes(Encoding.PEM), 0o644)
    return certificate


def pair_files(folder: Path, kind: CertificateKind) -> tuple[Path, Path]:
    """The private key's file and the certificate's."""
    return folder / f"{kind.name}.pem", folder / f"{kind.name}.crt"


def _self_signed(kind: CertificateKind, private: rsa.RSAPrivateKey) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kind.common_name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(private, hashes.SHA256())
    )
