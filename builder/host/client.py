"""One host's API: requests by name, answers bounded in length and in time."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import BinaryIO

import requests

from builder.fleet.safe import clean
from builder.host.access import Identity
from builder.host.asking import Asked
from builder.host.errors import DistrustError, HostError, RefusedError, UnreachableError
from builder.host.target import Target
from hostapi.contract import SCHEMA, Answer, Role
from hostapi.refusal import STATUS
from hostkit.exchange import FAULTS, LATE, Guard, GuardedAdapter, chain, reason

Json = Mapping[str, object]

_READ_SIZE = 64 * 1024
_ERROR_BYTES = 64 * 1024
# What a TLS alert about our certificate is called by OpenSSL (RFC 8446, section 6.2), and what to
# do about it.
_ALERTS = {
    "CERTIFICATE_EXPIRED": "it has expired: `bedplate pki renew`",
    "CERTIFICATE_REVOKED": "it is revoked: ask for another",
    "UNKNOWN_CA": "its CA is not in the host's bedplate.api.ca",
    "CERTIFICATE_REQUIRED": "it got none: --identity names one",
    "CERTIFICATE": "its CA is not in the host's bedplate.api.ca, or it is for something else",
    "ACCESS_DENIED": "it is refused",
    "HANDSHAKE_FAILURE": "the host takes TLS 1.3 with a client certificate only",
}
# What to do about an answer, by its HTTP status, where the host does not say it itself; what it
# says comes before it.
_ADVICE: Mapping[int, str] = {
    HTTPStatus.FORBIDDEN: "this takes an operator's certificate (`bedplate pki issue operator`)",
    HTTPStatus.METHOD_NOT_ALLOWED: "the host's release does not know this yet: update it",
    HTTPStatus.CONFLICT: "try again when that is done",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "send less",
    HTTPStatus.TOO_MANY_REQUESTS: "try again in a minute, and less often",
}
# What the status would have been of a stream that failed after it began.
_STATUSES: Mapping[str, int] = {fault.value: status for fault, status in STATUS.items()}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long is waited, and for how much."""

    connect_seconds: float = 10
    call_seconds: float = 60  # until an answer is whole, or a stream begins
    act_seconds: float = 1800  # likewise of what an operator asks for: a slot is read, say
    gap_seconds: float = 300  # without a byte of a stream that ends
    stream_seconds: float = 3 * 3600  # until a stream that ends has ended
    save_seconds: float = 2 * 3600  # until a file is whole
    answer_bytes: int = 16 * 1024**2
    line_bytes: int = 1024**2
    save_bytes: int = 8 * 1024**3


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow nothing: requests would read a redirect's body first, however long."""


class Client:
    """A host, for one thread: one request at a time, each by a connection of its own."""

    def __init__(self, target: Target, identity: Identity, limits: Limits = Limits()) -> None:
        self.target = target
        self._limits = limits
        self._closed = threading.Event()
        self._guard = Guard()
        self._session = _Session()
        # No proxy, no netrc, no bundle of certificates from the environment.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        # Without this requests would add the public CAs to the context.
        self._session.verify = str(identity.files.ca)
        adapter = GuardedAdapter(
            self._guard, ssl_context=identity.context, server_hostname=target.name
        )
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Ask nothing more; what another thread is reading ends. May be called by any thread."""
        self._closed.set()
        self._guard.disarm()
        self._guard.cut()
        self._session.close()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until this is closed."""
        self._closed.wait(seconds)

    def json(self, asked: Asked) -> Json:
        """The object that answers a request of `Answer.JSON`.

        Raises:
            HostError: see errors.py.
        """
        with closing(self._send(asked)) as response:
            document = self._object(self._whole(response, self._limits.answer_bytes))
        if document.get("schema") != SCHEMA:
            raise self._nonsense(
                f"its answer is of schema {clean(str(document.get('schema')))[:20]}, and "
                f"this program reads {SCHEMA}: take the one of the host's release"
            )
        return document

    def text(self, asked: Asked) -> str:
        """The text that answers a request of `Answer.TEXT`.

        Raises:
            HostError: see errors.py.
        """
        with closing(self._send(asked)) as response:
            body = self._whole(response, self._limits.answer_bytes)
        return body.decode("utf-8", errors="replace")

    def lines(self, asked: Asked, *, endless: bool = False) -> Iterator[Json]:
        """The objects that answer a request of `Answer.LINES`, as they come.

        `endless` is a stream that may be quiet for as long as the host is there.

        Raises:
            HostError: here, or between lines; see errors.py.
        """
        response = self._send(asked, None if endless else self._limits.gap_seconds)
        if endless:
            self._guard.disarm()
        else:
            self._guard.arm(self._limits.stream_seconds)
        return self._objects(response)

    def _objects(self, response: requests.Response) -> Iterator[Json]:
        with closing(response):
            for line in self._split(response):
                document = self._object(line)
                if "error" in document:
                    raise self._refusal(document, _status_of(document["error"]))
                yield document
        self._guard.disarm()

    def save(self, asked: Asked, sink: BinaryIO) -> int:
        """Write what answers a request of `Answer.BYTES` to `sink`; gives its length in bytes.

        What is in `sink` after an error is nobody's file.

        Raises:
            HostError: see errors.py.
            OSError: `sink` cannot be written.
        """
        length = 0
        with closing(self._send(asked)) as response:
            self._guard.arm(self._limits.save_seconds)
            while piece := self._piece(response):
                length += len(piece)
                self._check_length(length, self._limits.save_bytes)
                sink.write(piece)
        self._guard.disarm()
        return length

    def _send(self, asked: Asked, gap: float | None = None) -> requests.Response:
        """An answer of 200 and the right type, with its body unread, and the guard armed.

        `gap` (seconds) is how long the body may pause.
        """
        if self._closed.is_set():
            raise self._ended()
        slow = asked.endpoint.act and asked.endpoint.role is Role.OPERATOR
        seconds = self._limits.act_seconds if slow else self._limits.call_seconds
        self._guard.sent = False
        self._guard.arm(seconds)
        # A connection that is kept may be closed by the host while something is sent by it, and
        # then nobody knows whether that was done.
        self._session.close()
        headers = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "bedplate"}
        if asked.media:
            headers["Content-Type"] = asked.media
        try:
            response = self._session.request(
                asked.endpoint.method,
                f"{self.target.url}{asked.path}",
                data=asked.body,
                headers=headers,
                stream=True,
                allow_redirects=False,
                timeout=(self._limits.connect_seconds, gap),  # the guard has the whole
            )
        except FAULTS as error:
            raise self._fault(error, "no valid answer") from error
        if self._guard.expired:
            # http.client takes headers that break off for whole ones.
            response.close()
            raise UnreachableError(f"{self.target.name}: {LATE}")
        try:
            self._check(response, asked.endpoint.answer)
        except BaseException:
            response.close()
            raise
        return response

    def _check(self, response: requests.Response, answer: Answer) -> None:
        if response.status_code != HTTPStatus.OK:
            body = self._whole(response, _ERROR_BYTES)
            raise self._refusal(self._object(body, response.status_code), response.status_code)
        media = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if media != answer.value.partition(";")[0]:
            raise self._nonsense(f"it answered with {clean(media)[:60] or 'no type'}")

    def _whole(self, response: requests.Response, limit: int) -> bytes:
        body = bytearray()
        while piece := self._piece(response):
            body += piece
            self._check_length(len(body), limit)
        self._guard.disarm()
        return bytes(body)

    def _split(self, response: requests.Response) -> Iterator[bytes]:
        rest = bytearray()
        while piece := self._piece(response):
            rest += piece
            if b"\n" in piece:
                *lines, last = bytes(rest).split(b"\n")
                for line in filter(None, lines):
                    self._check_length(len(line), self._limits.line_bytes)
                    yield line
                rest = bytearray(last)
            self._check_length(len(rest), self._limits.line_bytes)
        if rest:
            raise UnreachableError(f"{self.target.name}: its answer broke off within a line")

    def _piece(self, response: requests.Response) -> bytes:
        """The next bytes of a body, as they come; empty at its end."""
        try:
            piece: bytes = response.raw.read1(_READ_SIZE, decode_content=False)
        except FAULTS as error:
            raise self._fault(error, "its answer broke off") from error
        if not piece and self._closed.is_set():
            raise self._ended()
        if not piece and self._guard.expired:
            raise UnreachableError(f"{self.target.name}: {LATE}")
        return piece

    def _check_length(self, length: int, limit: int) -> None:
        if length > limit:
            self._guard.disarm()
            raise self._nonsense(f"an answer longer than the {limit} bytes allowed")

    def _object(self, body: bytes, status: int = HTTPStatus.OK) -> Json:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            told = "" if status == HTTPStatus.OK else f"HTTP status {status} and "
            raise self._nonsense(f"it answered with {told}no object of JSON")
        return document

    def _ended(self) -> HostError:
        return HostError(f"{self.target.name}: interrupted; what it was asked for may go on there")

    def _nonsense(self, what: str) -> HostError:
        return HostError(f"{self.target.name}: {what}; is bedplate-api at {self.target.url}?")

    def _refusal(self, document: Json, status: int) -> RefusedError:
        error = document.get("error")
        told = error.get("message") if isinstance(error, dict) else None
        message = clean(str(told))[:1000] if told else f"HTTP status {status}"
        advice = _ADVICE.get(status)
        if advice and advice not in message:
            message += f"; {advice}"
        return RefusedError(f"{self.target.name}: {message}", status)

    def _fault(self, error: BaseException, otherwise: str) -> HostError:
        """What ended an exchange, whose time ends with it."""
        self._guard.disarm()
        name = self.target.name
        if self._closed.is_set():
            return self._ended()
        if self._guard.expired:
            return UnreachableError(f"{name}: {LATE}")
        for link in chain(error):
            if isinstance(link, ssl.SSLCertVerificationError):
                return DistrustError(
                    f"{name}: its certificate is not trusted: {clean(link.verify_message)}; check "
                    "the CA (--ca-file), and that the name is in it, or give the one that is by "
                    "--name"
                )
            alert = (link.reason or "") if isinstance(link, ssl.SSLError) else ""
            for word, advice in _ALERTS.items():
                if "ALERT" in alert and word in alert:
                    return DistrustError(f"{name}: it refuses our certificate: {advice}")
        told = reason(error, otherwise)
        links = tuple(chain(error))
        lost = self._guard.sent and any(isinstance(each, ConnectionError) for each in links)
        if lost or any(isinstance(each, ssl.SSLEOFError) for each in links):
            # The alert that would say so may be lost with the connection.
            told = (
                "it closed the connection without an answer; if it always does, it refuses our "
                "certificate (`bedplate pki show`)"
            )
        return UnreachableError(f"{name}: {told}")


def _status_of(error: object) -> int:
    code = error.get("code") if isinstance(error, dict) else None
    return _STATUSES.get(str(code), HTTPStatus.INTERNAL_SERVER_ERROR)
