"""Certificates in PEM -> what there is to know of them. Slow to import on a small host."""

import ipaddress
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import (
    PrivateKeyTypes,
)
from cryptography.hazmat.primitives.asymmetric.x448 import X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hostapi.standing import Found
from updater.errors import InputError

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_LIST = "-----BEGIN X509 CRL-----"


def found(pair: str, key: str, authorities: str, lists: str) -> Found:
    """The first certificate of `pair`, against its key, the authorities and revocation lists.

    Raises:
        InputError: something is not what it should be; it says what.
    """
    certificate = first(pair)
    private = private_key(key)
    trusted = _load(authorities, "the authorities")
    return replace(
        _told(certificate),
        fits=private.public_key() == certificate.public_key(),
        trusted=any(is_by(certificate, each) for each in trusted),
        revoked=_is_revoked(certificate, trusted, lists),
    )


def first(text: str) -> x509.Certificate:
    """The first certificate in a text.

    Raises:
        InputError: it is broken, or there is none.
    """
    start = text.find(_CERTIFICATE)
    loaded = _load(text[start:] if start >= 0 else text, "the certificate")
    return loaded[0]


def private_key(text: str) -> PrivateKeyTypes:
    """A key in PEM without a passphrase.

    Raises:
        InputError: it is none.
    """
    try:
        return load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # What the library says may show what it read.
        raise InputError("the key is no private key in PEM without a passphrase") from None


def fingerprint(certificate: x509.Certificate) -> str:
    """`SHA256:AB:CD:...`, of the certificate in DER."""
    digest = certificate.fingerprint(hashes.SHA256())
    return f"SHA256:{digest.hex(':').upper()}"


def addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """IP addresses, then names, that a certificate is for (RFC 5280, 4.2.1.6)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    numbers = extension.value.get_values_for_type(x509.IPAddress)
    names = extension.value.get_values_for_type(x509.DNSName)
    return (*(str(ipaddress.ip_address(str(each))) for each in numbers), *names)


def is_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_signed(found: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Whether a revocation list is an authority's own."""
    public = authority.public_key()
    # These two only agree on secrets, and sign nothing (RFC 8410, 3).
    if isinstance(public, X25519PublicKey | X448PublicKey):
        return False
    return found.issuer == authority.subject and found.is_signature_valid(public)


def answered(text: str, key: PrivateKeyTypes, authorities: str, now: datetime) -> Found:
    """What the issuing service sent, if it is what was asked for.

    Raises:
        InputError: it is for another key or has ended, or no authority of ours signed it.
    """
    certificate = first(text)
    if certificate.public_key() != key.public_key():
        raise InputError("the answer's certificate is for another key")
    trusted = _load(authorities, "the authorities")
    if not any(is_by(certificate, each) for each in trusted):
        raise InputError("no authority of the document signed the answer's certificate")
    if now >= certificate.not_valid_after_utc:
        raise InputError("the answer's certificate has ended")
    return _told(certificate)


def _told(certificate: x509.Certificate) -> Found:
    """What a certificate says of itself."""
    return Found(
        fingerprint=fingerprint(certificate),
        name=_subject(certificate, x509.NameOID.COMMON_NAME),
        role=_subject(certificate, x509.NameOID.ORGANIZATION_NAME),
        start=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        addresses=addresses(certificate),
    )


def _load(text: str, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise InputError(f"{what}: not to be read: {error}"[:200]) from error


def _subject(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    values = certificate.subject.get_attributes_for_oid(oid)
    return str(values[0].value) if values else ""


def _is_revoked(
    certificate: x509.Certificate, authorities: list[x509.Certificate], lists: str
) -> bool:
    parts = [_LIST + each for each in lists.split(_LIST)[1:]]
    for part in parts:
        try:
            found_list = x509.load_pem_x509_crl(part.encode())
            valid = any(is_signed(found_list, each) for each in authorities)
        except ValueError as error:
            raise InputError(f"the revocation list: not to be read: {error}"[:200]) from error
        serial = certificate.serial_number
        listed = found_list.get_revoked_certificate_by_serial_number(serial) is not None
        if valid and listed and found_list.issuer == certificate.issuer:
            return True
    return False
