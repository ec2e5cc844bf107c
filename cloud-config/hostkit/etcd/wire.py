"""One HTTP connection's worth of talk with one endpoint, bounded in length and in time."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.cookiejar import DefaultCookiePolicy

import requests

from hostkit.etcd.access import Access, Limits
from hostkit.etcd.errors import EndpointError
from hostkit.etcd.gateway import Json
from hostkit.exchange import FAULTS, LATE, Guard, GuardedAdapter, chain, reason

_READ_SIZE = 64 * 1024
# etcd then ends or refuses what would wait on a member that has lost its leader.
_HEADERS = {"Accept-Encoding": "identity", "Grpc-Metadata-hasleader": "true"}
# What a TLS alert about our certificate is called by OpenSSL (RFC 8446, section 6.2).
_ALERTS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")


class Wire:
    """A `requests.Session` for one exchange at a time; connections are kept between them."""

    def __init__(self, access: Access, limits: Limits) -> None:
        self._access = access
        self._limits = limits
        self._guard = Guard()
        self._session = requests.Session()
        # No proxy, no netrc, no bundle of certificates from the environment.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        if access.ca is not None:
            self._session.verify = str(access.ca)
        if access.certificate is not None and access.key is not None:
            self._session.cert = (str(access.certificate), str(access.key))
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, GuardedAdapter(self._guard))

    def post(self, url: str, document: Json, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """The HTTP status and the whole body that a request gives, within `call_seconds`.

        Raises:
            EndpointError: no whole answer, or one longer than `answer_bytes`.
        """
        body = bytearray()
        with closing(self._request(url, document, headers)) as response:
            while piece := self._piece(response):
                body += piece
                self._check_length(body)
        self._guard.disarm()
        return response.status_code, bytes(body)

    def stream(
        self, url: str, document: Json, headers: Mapping[str, str]
    ) -> tuple[int, Iterator[bytes]]:
        """The HTTP status and the lines of an answer that does not end by itself.

        The first line is there within `call_seconds`, each further one within `watch_gap_seconds`,
        or the lines end without an error.

        Raises:
            EndpointError: here or between lines: the answer broke off, or a line is longer than
                `answer_bytes`.
        """
        response = self._request(url, document, headers)
        return response.status_code, self._lines(response)

    def close(self) -> None:
        """Close the connections; what another thread is reading from one ends."""
        self._guard.disarm()
        self._guard.cut()
        self._session.close()

    def _request(self, url: str, document: Json, headers: Mapping[str, str]) -> requests.Response:
        self._guard.sent = False
        self._guard.arm(self._limits.call_seconds)
        try:
            return self._session.post(
                url,
                data=json.dumps(document, separators=(",", ":")).encode("ascii"),
                headers={**_HEADERS, **headers},
                stream=True,
                allow_redirects=False,
                timeout=(self._limits.connect_seconds, None),  # the guard has the whole
            )
        except FAULTS as error:
            distrust = _distrust(error)
            if url.startswith("https:"):
                distrust = _unusable(self._access) or distrust
            raise self._fault(distrust, reason(error)) from error

    def _piece(self, response: requests.Response) -> bytes:
        """The next bytes of a body, as they come; empty at its end."""
        try:
            piece: bytes = response.raw.read1(_READ_SIZE, decode_content=False)
        except FAULTS as error:
            raise self._fault(_distrust(error), reason(error, "its answer broke off")) from error
        if not piece and self._guard.expired:
            raise self._fault(None, LATE)
        return piece

    def _fault(self, distrust: str | None, why: str) -> EndpointError:
        """What ended an exchange, whose time ends with it."""
        guard = self._guard
        guard.disarm()
        if guard.expired:
            return EndpointError(LATE, applied=guard.sent)
        if distrust:
            return EndpointError(distrust, applied=False, refused=True)
        return EndpointError(why, applied=guard.sent)

    def _lines(self, response: requests.Response) -> Iterator[bytes]:
        rest = bytearray()
        told = False
        with closing(response):
            try:
                while piece := self._piece(response):
                    rest += piece
                    if b"\n" in piece:
                        # How long the caller takes for the lines does not count.
                        self._guard.disarm()
                        *lines, last = bytes(rest).split(b"\n")
                        yield from filter(None, lines)
                        told, rest = True, bytearray(last)
                        self._guard.arm(self._limits.watch_gap_seconds)
                    self._check_length(rest)
            except EndpointError:
                if told and not rest and self._guard.expired:
                    return  # it was quiet
                raise
            if rest:
                yield bytes(rest)
        raise self._fault(None, "it ended its answer")

    def _check_length(self, body: bytearray) -> None:
        limit = self._limits.answer_bytes
        if len(body) > limit:
            raise self._fault(None, f"an answer longer than the {limit} bytes allowed")


def _unusable(access: Access) -> str | None:
    """Which of our own files TLS cannot work with, and why."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    files = str(access.ca)
    try:
        if access.ca is not None:
            context.load_verify_locations(access.ca)
        if access.certificate is not None:
            files = f"{access.certificate} with {access.key}"
            # With a password nobody is asked for one.
            context.load_cert_chain(access.certificate, access.key, password="")
    except OSError as error:
        return f"cannot use {files}: {reason(error)}"
    return None


def _distrust(error: BaseException) -> str | None:
    """Who does not trust whom, if that is it."""
    for link in chain(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted: {link.verify_message}; check the CA that is "
                "configured here, and that the endpoint's name is in the certificate"
            )
        alert = link.reason or "" if isinstance(link, ssl.SSLError) else ""
        if "ALERT" in alert and any(word in alert for word in _ALERTS):
            return (
                f"it refuses our certificate ({alert}); configure a certificate and a key that "
                "its CA has signed"
            )
    return None
