"""What is wrong with the certificates of a cloud-config, as far as a host does not look itself.

A host keeps to their shape (`cloudconfig.model.api`): what reads them whole is slow to import.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from cloudconfig.certificates import blocks, in_pem
from cloudconfig.model.api import REVOCATION_LIST, Api
from hostapi.examine import is_by, is_signed
from hostkit.document.schema import Fault

_SOON = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, and what to be warned of: what time does is never wrong."""

    problems: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def examine(api: Api, now: datetime) -> Findings:
    """All that there is to say of the certificates in `bedplate.api`."""
    problems: list[str] = []
    warnings: list[str] = []
    authorities = _certificates(api.ca, "ca", problems)
    for each in authorities:
        if not _is_authority(each):
            problems.append(f"ca: {_name(each)} is no certificate authority")
        _told_by_time(f"ca: {_name(each)}", each, now, warnings)
    if api.crl:
        _lists(api.crl, authorities, now, problems, warnings)
    if api.certificate and api.private_key:
        chain = _certificates(api.certificate, "certificate", problems)
        if chain:
            _own(chain[0], api.private_key, problems)
            _told_by_time("certificate", chain[0], now, warnings)
            if not any(is_by(each, ca) for each in chain for ca in authorities):
                warnings.append(
                    "certificate: no authority in ca signed it, so clients with that ca alone do"
                    " not believe this host"
                )
    return Findings(
        tuple(map(_of_document, problems)),
        tuple(map(_of_document, warnings)),
    )


def _of_document(said: str) -> Fault:
    """What is said of a key of `bedplate.api`, which it begins with."""
    what, path = f"bedplate.api.{said}", ("bedplate", "api", said.partition(":")[0])
    return Fault(what, path)


def _certificates(text: str, key: str, problems: list[str]) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for each in found:
            # What it says is read when it is first asked for.
            _ = (each.extensions, each.public_key(), each.subject)
    except ValueError as error:
        problems.append(f"{key}: a certificate that cannot be read: {error}"[:200])
        return []
    return found


def _lists(
    text: str,
    authorities: list[x509.Certificate],
    now: datetime,
    problems: list[str],
    warnings: list[str],
) -> None:
    without = list(authorities)
    for label, der in blocks(text):
        try:
            found = x509.load_pem_x509_crl(in_pem(der, label).encode())
            ends = found.next_update_utc
            signers = [each for each in authorities if is_signed(found, each)]
        except ValueError as error:
            problems.append(f"crl: a revocation list that cannot be read: {error}"[:200])
            return
        if not signers:
            problems.append(f"crl: the list of {found.issuer.rfc4514_string()} is none of ca's")
        without = [each for each in without if each not in signers]
        if ends and now >= ends:
            warnings.append(
                f"crl: it ended on {ends:%Y-%m-%d}, and a host with it lets nobody in: bedplate pki"
                " crl makes a new one"
            )
        elif ends and now >= ends - _SOON:
            warnings.append(f"crl: it ends on {ends:%Y-%m-%d}: bedplate pki crl makes a new one")
    problems += [
        f"crl: {_name(each)} has no {REVOCATION_LIST} here, so none of its clients would get in"
        for each in without
    ]


def _own(certificate: x509.Certificate, key: str, problems: list[str]) -> None:
    try:
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        # What the library says may show what it read.
        problems.append("key: it cannot be read, or has a passphrase")
        return
    if private.public_key() != certificate.public_key():
        problems.append("key: it is not the key of certificate")
    extensions = certificate.extensions
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.SERVER_AUTH not in purposes:
            problems.append("certificate: it is not for servers (extended key usage serverAuth)")
    except x509.ExtensionNotFound:
        pass
    try:
        extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        problems.append("certificate: it has no subject alternative name, and clients look at that")


def _told_by_time(what: str, each: x509.Certificate, now: datetime, warnings: list[str]) -> None:
    if now >= each.not_valid_after_utc:
        warnings.append(f"{what}: it ended on {each.not_valid_after_utc:%Y-%m-%d}")
    elif now < each.not_valid_before_utc:
        warnings.append(f"{what}: it is not valid before {each.not_valid_before_utc:%Y-%m-%d}")
    elif now >= each.not_valid_after_utc - _SOON:
        warnings.append(f"{what}: it ends on {each.not_valid_after_utc:%Y-%m-%d}")


def _is_authority(each: x509.Certificate) -> bool:
    try:
        return each.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _name(each: x509.Certificate) -> str:
    return each.subject.rfc4514_string() or "a certificate without a name"
