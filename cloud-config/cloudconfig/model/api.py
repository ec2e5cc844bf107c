# ruff: noqa: D102, RUF009 (methods of Kind are documented there; `key` declares a field)
"""`bedplate.api`: who may ask this host over the network, and who it is to them.

Only the shape of certificates and keys is looked at here: what reads them whole costs a small host
seconds to import. `bedplate config validate` does, on a workstation (`builder.pki.document`).
"""

from dataclasses import dataclass

from cloudconfig.certificates import blocks, is_signed
from cloudconfig.kinds import Integer
from cloudconfig.model.endpoints import endpoint
from cloudconfig.model.machine import Certificates
from hostapi.port import PORT
from hostkit.document.kinds import Parsed, Text
from hostkit.document.schema import Kind, Reading, Section, key
from hostkit.document.source import Node

REVOCATION_LIST = "X509 CRL"
PRIVATE_KEYS = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")
_ENCRYPTED = "ENCRYPTED PRIVATE KEY"


class RevocationLists(Kind):
    """Text with revocation lists in PEM; what else stands there is never shown."""

    @property
    def label(self) -> str:
        return "revocation lists (X509 CRL) in PEM"

    @property
    def secret(self) -> bool:
        return True

    def read(self, node: Node, reading: Reading) -> str:
        text = self.text(node, reading)
        try:
            found = blocks(text)
        except ValueError as error:
            said = str(error).replace("BEGIN CERTIFICATE", f"BEGIN {REVOCATION_LIST}")
            raise reading.fail(node.place, f"{said}; expected {self.label}") from None
        for number, (label, der) in enumerate(found, 1):
            if label != REVOCATION_LIST or not is_signed(der):
                message = f"block {number} is no revocation list; expected {self.label}"
                raise reading.fail(node.place, message)
        return text

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": f"-----BEGIN {REVOCATION_LIST}-----"}


class PrivateKey(Kind):
    """Text with one private key in PEM that needs no passphrase."""

    @property
    def label(self) -> str:
        return "a private key in PEM"

    @property
    def secret(self) -> bool:
        return True

    def read(self, node: Node, reading: Reading) -> str:
        text = self.text(node, reading)
        if f"-----BEGIN {_ENCRYPTED}-----" in text:
            message = "this key is encrypted, and nobody is there to type a passphrase; "
            raise reading.fail(node.place, f"{message}bedplate pki renew NAME --snippet opens it")
        try:
            found = blocks(text)
        except ValueError:
            found = ()
        if len(found) != 1 or found[0][0] not in PRIVATE_KEYS:
            message = "no whole -----BEGIN PRIVATE KEY----- block, or more than that"
            raise reading.fail(node.place, f"{message}; expected {self.label}")
        return text

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": "-----BEGIN ([A-Z]+ )?PRIVATE KEY-----"}


def _issuer(text: str) -> str:
    found = endpoint(text.rstrip("/"))
    if found.scheme != "https" or found.everywhere:
        raise ValueError(text)
    return str(found)


@dataclass(frozen=True, slots=True)
class Enrol:
    """Where this host gets its certificate from at its first boot, and renews it."""

    url: str = key(
        Parsed(
            "an https URL of a host and a port such as https://10.0.0.5:7444", _issuer, secret=True
        ),
        "Where `bedplate pki serve` runs. One of `ca` has to vouch for it.",
    )
    token: str = key(
        Text("a token of bedplate pki token", r"[A-Za-z0-9_\-]{20,128}", secret=True),
        "What it is let in by, once. Not looked at once there is a certificate that holds.",
    )


@dataclass(frozen=True, slots=True)
class Api:
    """The host's API; without this section there is none."""

    ca: str = key(
        Certificates(),
        "Who vouches for clients, in PEM: one or more authorities. Each client whose certificate is"
        " of one of them gets in, in the role that the certificate names.",
    )
    crl: str | None = key(
        RevocationLists(),
        "Which certificates count no more, in PEM: a revocation list of each authority in `ca`."
        " Past its end a list lets nobody in: make it anew in time.",
        default=None,
    )
    certificate: str | None = key(
        Certificates(),
        "This host's own, in PEM, before the authorities between it and `ca`; with `key`.",
        default=None,
    )
    private_key: str | None = key(
        PrivateKey(), "Its key, without a passphrase.", default=None, name="key"
    )
    enrol: Enrol | None = key(
        Section(Enrol), "Where one is to be had, in place of `certificate` and `key`.", default=None
    )
    port: int = key(Integer(1, 65535), "Where it listens.", default=PORT)


def _problem(api: Api) -> str | None:
    if (api.certificate is None) != (api.private_key is None):
        return "certificate and key belong together"
    if api.certificate and api.enrol:
        return "enrol beside certificate: bring a certificate along, or have one issued, not both"
    if not api.certificate and not api.enrol:
        return (
            "one of certificate (with key) and enrol is needed: bedplate pki issue host NAME, or"
            " bedplate pki token NAME"
        )
    return None


API = Section(Api, _problem)
