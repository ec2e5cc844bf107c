"""Certificates as this project makes them (RFC 5280, ECDSA P-256 with SHA-256).

That curve is the one which every TLS 1.3 has to know (RFC 8446, 9.1); docs/adr/0056 says more.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from builder.pki.errors import PkiError, PkiInputError
from hostapi.contract import Role
from hostapi.enrol import HOST_ROLE

BEHIND = timedelta(hours=1)  # a clock may be this much behind ours
_RSA_BITS = 2048
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?)*")


class Kind(Enum):
    """Whom a certificate is for; the value is its subject's organisation (O)."""

    READER = Role.READER.value
    OPERATOR = Role.OPERATOR.value
    HOST = HOST_ROLE
    ISSUER = "bedplate:issuer"  # the service that hosts enrol with

    @property
    def word(self) -> str:
        """The kind for people: "reader"."""
        return self.value.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a certificate is to say; `addresses` are IP addresses and names of the DNS."""

    kind: Kind
    name: str
    addresses: tuple[str, ...]
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority's certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key for any certificate of ours."""
    return ec.generate_private_key(ec.SECP256R1())


def make_authority(name: str, start: datetime, end: datetime) -> Signer:
    """A certificate authority that signs nothing but ends of chains."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Signer(certificate, key)


def make(signer: Signer, wanted: Wanted, public: CertificatePublicKeyTypes) -> x509.Certificate:
    """A certificate of `public`; it never outlives its authority."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, wanted.kind.value),
            x509.NameAttribute(NameOID.COMMON_NAME, wanted.name),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(wanted.start)
        .not_valid_after(min(wanted.end, signer.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES[wanted.kind]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_issuer_identifier(signer), critical=False)
    )
    if wanted.addresses:
        names = x509.SubjectAlternativeName(map(_general_name, wanted.addresses))
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer.key, hashes.SHA256())


def make_revocation_list(
    signer: Signer,
    revoked: Iterable[tuple[int, datetime]],
    *,
    start: datetime,
    end: datetime,
    number: int,
) -> x509.CertificateRevocationList:
    """The authority's list of serial numbers that count no more, and since when (RFC 5280, 5)."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(start)
        .next_update(end)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_issuer_identifier(signer), critical=False)
    )
    for serial, since in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(signer.key, hashes.SHA256())


def read_request(pem: bytes) -> CertificatePublicKeyTypes:
    """The public key of a request (PKCS#10), whose sender has proved to have the private one.

    Nothing else in it counts: what a certificate says is for us to choose.

    Raises:
        PkiInputError: it is none, not signed by its own key, or the key is of a weak kind.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        # By cryptography's documentation it gives False, yet some broken keys make it raise.
        signed = request.is_signature_valid
        public = request.public_key()
    except Exception as error:
        raise PkiInputError(f"csr: no certificate request in PEM: {error}"[:200]) from error
    if not signed:
        raise PkiInputError("csr: it is not signed by the key that it is for")
    curve = isinstance(public, ec.EllipticCurvePublicKey) and isinstance(
        public.curve, ec.SECP256R1 | ec.SECP384R1
    )
    strong = isinstance(public, rsa.RSAPublicKey) and _RSA_BITS <= public.key_size <= 2 * _RSA_BITS
    if not (curve or strong or isinstance(public, ed25519.Ed25519PublicKey)):
        raise PkiInputError("csr: expected a key of ECDSA P-256 or P-384, Ed25519 or RSA-2048")
    return public


def pem(certificate: x509.Certificate | x509.CertificateRevocationList) -> str:
    """A certificate or a revocation list in PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()


def key_digest(public: CertificatePublicKeyTypes) -> str:
    """What names a public key: the SHA-256 of its DER, in hexadecimal."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def check_address(text: str) -> str:
    """An IP address or a name of the DNS, as certificates have it.

    Raises:
        PkiInputError: it is neither.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    found = text.lower()
    if len(found) > 253 or not _DOMAIN.fullmatch(found):
        raise PkiInputError(f"{text[:80]!r} is no IP address and no name such as web-1.example.org")
    return found


def load(text: str) -> x509.Certificate:
    """The first certificate in a text that is our own.

    Raises:
        PkiError: it is broken.
    """
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise PkiError(f"the register holds a certificate that cannot be read: {error}") from error


_PURPOSES = {
    Kind.READER: [ExtendedKeyUsageOID.CLIENT_AUTH],
    Kind.OPERATOR: [ExtendedKeyUsageOID.CLIENT_AUTH],
    # A client to the issuing service alone: its organisation is no role of the API.
    Kind.HOST: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    Kind.ISSUER: [ExtendedKeyUsageOID.SERVER_AUTH],
}


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _issuer_identifier(signer: Signer) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
