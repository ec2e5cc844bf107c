"""What the issuing service does for a host: a token or a certificate in, a certificate out."""

import ipaddress
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from cryptography import x509

from builder.pki import certificate as certificates
from builder.pki import tokens
from builder.pki.certificate import BEHIND, Kind, Wanted
from builder.pki.errors import PkiInputError
from builder.pki.folder import Folder
from builder.pki.issuing import sign
from builder.pki.register import Issued, Register, Stage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes


class Refusal(Enum):
    """Why a host gets nothing; the value is the code that it is told."""

    INVALID = "invalid"
    FORBIDDEN = "forbidden"


class RefusedError(PkiInputError):
    """A host gets no certificate."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Granted:
    """A certificate and the authority's, both in PEM, and what is kept of it."""

    chain: str
    issued: Issued


class Granting:
    """Issues certificates to hosts, each for `lasts`."""

    def __init__(self, folder: Folder, lasts: timedelta) -> None:
        self._folder = folder
        self._lasts = lasts

    def enrol(self, secret: str, name: str, request: bytes, source: str) -> Granted:
        """A host's first certificate, for its name, the address it asks from, and the token's.

        Raises:
            RefusedError: the token is not good for that, or the request is broken.
        """
        public = _public_key(request)
        key = certificates.key_digest(public)
        digest = tokens.digest_of(secret)

        def step(register: Register) -> Register:
            token = next((each for each in register.tokens if each.digest == digest), None)
            refusal = tokens.refusal(token, name, key, self._folder.now())
            if refusal or token is None:
                raise RefusedError(Refusal.FORBIDDEN, refusal or "there is no such token")
            made = self._sign(register, name, public, source, token.addresses)
            # Used and issued in one write: neither is ever there without the other.
            used = tuple(
                replace(each, used_by=key) if each is token else each for each in register.tokens
            )
            return replace(register, issued=(*register.issued, made), tokens=used)

        return _granted(self._folder.change(step), name)

    def renew(self, presented: x509.Certificate, request: bytes, source: str) -> Granted:
        """The next certificate of a host that has shown its present one, which TLS has verified.

        Raises:
            RefusedError: that is none of a host, is revoked, is of an authority that is trusted no
                more, or the request is broken.
        """
        public = _public_key(request)

        def step(register: Register) -> Register:
            serial = presented.serial_number
            known = next((each for each in register.issued if each.serial == serial), None)
            if known is None or known.kind is not Kind.HOST:
                raise RefusedError(Refusal.FORBIDDEN, "the certificate shown is none of a host")
            if not known.holds(self._folder.now()):
                raise RefusedError(Refusal.FORBIDDEN, "the certificate shown is revoked or ended")
            # TLS goes on believing an authority that it has once been told of.
            if register.authority(known.authority).stage is Stage.RETIRED:
                message = "the certificate shown is of an authority that is trusted no more"
                raise RefusedError(Refusal.FORBIDDEN, message)
            latest = register.latest(known.name)
            if latest is not None and latest.filed:
                message = (
                    "the certificate shown was brought along: bedplate pki renew makes the next"
                )
                raise RefusedError(Refusal.FORBIDDEN, message)
            made = self._sign(register, known.name, public, source, known.addresses)
            return replace(register, issued=(*register.issued, made))

        names = presented.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return _granted(self._folder.change(step), str(names[0].value) if names else "")

    def _sign(
        self,
        register: Register,
        name: str,
        public: "CertificatePublicKeyTypes",
        source: str,
        addresses: tuple[str, ...],
    ) -> Issued:
        now = self._folder.now()
        # A relay on this machine asks from here; nobody else reaches the host by that.
        seen = () if ipaddress.ip_address(source).is_loopback else (source,)
        known = (certificates.check_address(name), *seen, *addresses)
        names = tuple(dict.fromkeys(known))
        wanted = Wanted(Kind.HOST, name, names, now - BEHIND, now + self._lasts)
        signer = self._folder.signer(register.issuing())
        return sign(register, signer, wanted, public, addresses=addresses, filed=False)


def _public_key(request: bytes) -> "CertificatePublicKeyTypes":
    try:
        return certificates.read_request(request)
    except PkiInputError as error:
        raise RefusedError(Refusal.INVALID, str(error)) from error


def _granted(register: Register, name: str) -> Granted:
    issued = register.latest(name)
    if issued is None:
        raise RefusedError(Refusal.FORBIDDEN, "the certificate shown is none of a host")
    return Granted(issued.certificate + register.authority(issued.authority).certificate, issued)
