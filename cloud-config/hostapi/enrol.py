"""How a host asks for a certificate: `POST /v1/enrol` with a token, `/v1/renew` with the last one.

Both carry a request (PKCS#10) in JSON, and are answered with a certificate. The service is
`bedplate pki serve`. The workstation has the names and limits from here, so nothing slow is
imported before it is needed.
"""

import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from updater.errors import BedplateError
from updater.strict import Fields, FormatError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

HOST_ROLE = "bedplate:host"  # the organisation (O) of hosts; no role of the API
ENROL_PATH = "/v1/enrol"
RENEW_PATH = "/v1/renew"
PORT = 7444
SCHEMA = 1
MAXIMUM_REQUEST = 16 * 1024  # bytes
MAXIMUM_ANSWER = 64 * 1024  # bytes
_GAP_SECONDS = 15.0
_TOTAL_SECONDS = 60.0
_SHOWN = 200  # characters of what the service says
# X509_V_FLAG_NO_CHECK_TIME, X509_VERIFY_PARAM_set_flags(3); the ssl module has no name for it.
_ANY_TIME = 0x200000


class EnrolError(BedplateError):
    """The issuing service gave no certificate."""


@dataclass(frozen=True, slots=True)
class Service:
    """The issuing service and how to know it.

    `authorities` are in PEM. `now` is the time by all that is known; `behind` says that the clock
    is not there yet, so that it is no judge of certificates.
    """

    url: str
    authorities: str
    now: datetime
    behind: bool = False
    total_seconds: float = _TOTAL_SECONDS


def new_key() -> bytes:
    """A private key in PEM, ECDSA P-256, which every TLS 1.3 knows (RFC 8446, 9.1)."""
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - slow to import
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_request(key: "PrivateKeyTypes") -> str:
    """A request (PKCS#10, RFC 2986) in PEM. Only the key in it counts, so it names nobody."""
    from cryptography import x509  # noqa: PLC0415 - slow to import
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise EnrolError("the key that is kept is of a kind that no host makes")
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def enrol(service: Service, token: str, hostname: str, request: str) -> str:
    """A first certificate and its authority's, in PEM; not looked at yet.

    Raises:
        EnrolError: the service is not to be had or not to be believed, or refuses.
    """
    return _ask(service, ENROL_PATH, {"token": token, "csr": request, "name": hostname}, None)


def renew(service: Service, request: str, present: Path) -> str:
    """The next certificate; `present` is the file with the present one and its key.

    Raises:
        EnrolError: as for `enrol`.
    """
    return _ask(service, RENEW_PATH, {"csr": request}, present)


def _ask(service: Service, path: str, question: dict[str, str], present: Path | None) -> str:
    try:
        status, data = _post(service, path, json.dumps(question).encode(), present)
    except (OSError, HTTPException, ValueError) as error:
        raise EnrolError(f"{service.url}: {_reason(error)}") from error
    where = f"{service.url}: the answer"
    try:
        if status != 200:
            raise EnrolError(f"{service.url}: refused with {status}: {_refusal(data)}")
        fields = Fields.parse(data, where, ("schema", "certificate"), MAXIMUM_ANSWER)
        fields.integer("schema", SCHEMA, SCHEMA)
        return fields.text("certificate", r"(?s:.{1,65536})", "PEM")
    except FormatError as error:
        raise EnrolError(str(error)) from error


class _Connection(HTTPSConnection):
    """A connection whose handshake can be broken off, too."""

    def __init__(self, name: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=_GAP_SECONDS, context=context)
        self._tls = context

    def connect(self) -> None:
        """Connect; the socket is in its place before the handshake begins."""
        HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(
            self.sock, server_hostname=self.host, do_handshake_on_connect=False
        )
        self.sock.do_handshake()


def _post(service: Service, path: str, body: bytes, present: Path | None) -> tuple[int, bytes]:
    parts = urlsplit(service.url)
    context = _context(service, present)
    ends = time.monotonic() + service.total_seconds
    connection = _Connection(parts.hostname or "", parts.port or PORT, context)
    # Each byte starts a socket's own time-out anew.
    timer = threading.Timer(service.total_seconds, _break_off, (connection,))
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        _check_time(connection.sock, service)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            data = _read(response)
    except OSError as error:
        # What was broken off fails in more ways than one.
        if time.monotonic() > ends:
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
        connection.close()
    # What was broken off may pass for the whole.
    if time.monotonic() > ends:
        raise TimeoutError
    return response.status, data


def _context(service: Service, present: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The document's authorities, and none that the image believes in.
    context.load_verify_locations(cadata=service.authorities)
    if service.behind:
        context.verify_flags |= _ANY_TIME
    if present is not None:
        context.load_cert_chain(present)
    return context


def _check_time(connection: ssl.SSLSocket | socket.socket | None, service: Service) -> None:
    """Where the clock is behind: what had ended by the time that is certain is not believed."""
    if not service.behind or not isinstance(connection, ssl.SSLSocket):
        return
    shown = connection.getpeercert() or {}
    if ssl.cert_time_to_seconds(str(shown.get("notAfter"))) <= service.now.timestamp():
        raise OSError(None, "the service's certificate has ended")


def _read(response: HTTPResponse) -> bytes:
    data = response.read(MAXIMUM_ANSWER + 1)
    if len(data) > MAXIMUM_ANSWER:
        raise OSError(None, f"the answer is longer than the {MAXIMUM_ANSWER} bytes allowed")
    return data


def _break_off(connection: HTTPSConnection) -> None:
    if connection.sock is not None:
        with suppress(OSError):
            # On the socket beneath TLS: its own shutdown would touch the TLS state from here.
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _refusal(data: bytes) -> str:
    """What the service says, fit to be shown."""
    try:
        message = json.loads(data)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        message = "no reason given"
    return "".join(char if char.isprintable() else "?" for char in str(message))[:_SHOWN]


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {ascii(str(error))[1:-1][:_SHOWN]}"
