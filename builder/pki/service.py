"""The issuing service: hosts ask it for their certificates, over TLS 1.3 (`hostapi.enrol`).

What anybody on the network may send it is bounded: the size of a request, the time that a
connection may take in all, how many there are, and how often one address may ask.
"""

import asyncio
import ipaddress
import logging
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from cryptography import x509

from builder.pki import certificate as certificates
from builder.pki.certificate import BEHIND, Kind, Wanted
from builder.pki.errors import PkiError
from builder.pki.folder import Folder, unencrypted
from builder.pki.granting import Granted, Granting, Refusal, RefusedError
from builder.pki.issuing import DAYS
from builder.pki.rates import Rates
from hostapi.enrol import ENROL_PATH, MAXIMUM_REQUEST, RENEW_PATH, SCHEMA
from updater.errors import BedplateError
from updater.strict import Fields, FormatError

if TYPE_CHECKING:
    from builder.pki.register import Authority

_LOG = logging.getLogger(__name__)
_CONNECTION_SECONDS = 20.0  # from the handshake to the answer's last byte
_HANDSHAKE_SECONDS = 10.0
_CONNECTIONS = 256
_LOOK_SECONDS = 60.0  # between two looks at the authorities
_STOP_GRACE = 1.0
_STATUS = {Refusal.INVALID: 400, Refusal.FORBIDDEN: 403}
_TOKEN = r"[A-Za-z0-9_\-]{20,128}"  # noqa: S105 - a pattern, no token
_NAME = r"[A-Za-z0-9.\-]{1,64}"
_REQUEST = r"(?s:-----BEGIN [A-Z ]{1,40}-----.{1,8192})"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How often one address may ask: so many at once, and so many a second after that."""

    burst: int = 20
    per_second: float = 0.5


class Service:
    """Issues certificates out of `folder`; `names` are what hosts call this service by."""

    def __init__(
        self,
        folder: Folder,
        names: tuple[str, ...],
        *,
        lasts: timedelta,
        limits: Limits = Limits(),
    ) -> None:
        self._folder = folder
        self._names = names
        self._granting = Granting(folder, lasts)
        self._rates = Rates(limits.burst, limits.per_second)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        # Hosts that enrol have no certificate yet.
        self._tls.verify_mode = ssl.CERT_OPTIONAL
        self._shown: tuple[tuple[Authority, ...], x509.Certificate] | None = None
        self._one_at_a_time = asyncio.Lock()

    def look(self) -> None:
        """Follow the folder's authorities, and show a certificate that holds.

        Raises:
            BedplateError: the folder cannot be read, or its key not be opened.
        """
        register, now = self._folder.read(), self._folder.now()
        trusted = register.trusted()
        if self._shown:
            known, own = self._shown
            life = own.not_valid_after_utc - own.not_valid_before_utc
            if known == trusted and now < own.not_valid_after_utc - life / 3:
                return
        signer = self._folder.signer(register.issuing())
        key = certificates.new_key()
        end = now + timedelta(days=DAYS[Kind.ISSUER])
        wanted = Wanted(Kind.ISSUER, "bedplate-pki", self._names, now - BEHIND, end)
        made = certificates.make(signer, wanted, key.public_key())
        with tempfile.TemporaryDirectory() as name:
            # The ssl module takes a chain from a file alone; the folder is ours alone.
            pair = Path(name) / "pair.pem"
            pair.touch(mode=0o600)
            chain = certificates.pem(made) + certificates.pem(signer.certificate)
            pair.write_bytes(unencrypted(key) + chain.encode())
            self._tls.load_cert_chain(pair)
        self._tls.load_verify_locations(cadata="".join(each.certificate for each in trusted))
        self._shown = (trusted, made)

    async def run(self, address: str, port: int, ready: Callable[[int], None]) -> None:
        """Serve until cancelled; `ready` is told the port.

        Raises:
            PkiError: the address cannot be bound.
        """
        self.look()
        application = web.Application(middlewares=[self._bounded], client_max_size=MAXIMUM_REQUEST)
        application.router.add_post(ENROL_PATH, self._enrol)
        application.router.add_post(RENEW_PATH, self._renew)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_STOP_GRACE)
        await runner.setup()
        try:
            loop = asyncio.get_running_loop()
            listening = await loop.create_server(
                lambda: _connection(runner.server, loop),
                address,
                port,
                ssl=self._tls,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except OSError as error:
            await runner.cleanup()
            raise PkiError(f"cannot serve on {address} port {port}: {error.strerror}") from error
        try:
            ready(listening.sockets[0].getsockname()[1])
            await self._follow()
        finally:
            listening.close()
            await runner.cleanup()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                self.look()
            except (BedplateError, OSError) as error:
                # What was read last goes on.
                _LOG.warning("%s", error)

    @web.middleware
    async def _bounded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        source = _source(request)
        try:
            if not self._rates.allows(source, time.monotonic()):
                return _refused(429, "busy", "too many requests from this address")
            return await handler(request)
        except web.HTTPException as error:
            _LOG.info("%s %s: %d", source, request.path[:40], error.status)
            return _refused(error.status, "invalid", error.reason)
        except RefusedError as error:
            _LOG.info("%s %s: refused: %s", source, request.path, error)
            return _refused(_STATUS[error.refusal], error.refusal.value, str(error))
        except FormatError as error:
            _LOG.info("%s %s: not understood", source, request.path)
            return _refused(400, "invalid", str(error).partition(", got ")[0])
        except (BedplateError, OSError) as error:
            _LOG.error("%s %s: failed: %s", source, request.path, error)
            return _refused(500, "failed", "the service cannot issue now; its log says why")

    async def _enrol(self, request: web.Request) -> web.StreamResponse:
        fields = Fields.parse(
            await request.read(), "request", ("token", "csr", "name"), MAXIMUM_REQUEST
        )
        token = fields.text("token", _TOKEN, "a token")
        name = fields.text("name", _NAME, "a host's name")
        csr = fields.text("csr", _REQUEST, "a certificate request in PEM").encode()
        source = _source(request)
        return await self._answer(request, lambda: self._granting.enrol(token, name, csr, source))

    async def _renew(self, request: web.Request) -> web.StreamResponse:
        fields = Fields.parse(await request.read(), "request", ("csr",), MAXIMUM_REQUEST)
        csr = fields.text("csr", _REQUEST, "a certificate request in PEM").encode()
        connection = request.transport.get_extra_info("ssl_object") if request.transport else None
        shown = connection.getpeercert(binary_form=True) if connection else None
        if shown is None:
            raise RefusedError(Refusal.FORBIDDEN, "a renewal needs the present certificate")
        presented, source = x509.load_der_x509_certificate(shown), _source(request)
        return await self._answer(request, lambda: self._granting.renew(presented, csr, source))

    async def _answer(
        self, request: web.Request, grant: Callable[[], Granted]
    ) -> web.StreamResponse:
        async with self._one_at_a_time:
            # It waits for the folder's lock and for the disk.
            granted = await asyncio.to_thread(grant)
        issued = granted.issued
        _LOG.info(
            "%s %s: %s has %X until %s",
            *(_source(request), request.path, issued.name, issued.serial),
            f"{issued.ends:%Y-%m-%d}",
        )
        return web.json_response({"schema": SCHEMA, "certificate": granted.chain})


class _Full(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _connection(server: web.Server | None, loop: asyncio.AbstractEventLoop) -> asyncio.Protocol:
    """What answers a connection, for a time that nothing makes longer."""
    if server is None or len(server.connections) >= _CONNECTIONS:
        return _Full()
    handler = server()
    loop.call_later(_CONNECTION_SECONDS, handler.force_close)
    return handler


def _source(request: web.Request) -> str:
    """The address that a request comes from."""
    address = ipaddress.ip_address((request.remote or "::").partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _refused(status: int, code: str, message: str) -> web.Response:
    error = {"schema": SCHEMA, "error": {"code": code, "message": message}}
    return web.json_response(error, status=status)
