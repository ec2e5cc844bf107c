"""A server of the API on the loopback, its certificates, and a root's side that plays."""

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hostapi import tls
from hostapi.acting import Result, Root, Word
from hostapi.api import Api
from hostapi.contract import ENDPOINTS, Answer, Role, Value
from hostapi.limits import Limits
from hostapi.routing import Asked
from hostapi.server import Server
from hostapi.sources import Sources, Whole

SECONDS = 30
"""A limit of each wait; no test waits for it."""
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
_DAY = timedelta(days=1)
_CERTIFIES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A CA of one test run."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(
            x509.CertificateBuilder()
            .subject_name(self._name)
            .public_key(self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_CERTIFIES, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
        )

    def _sign(
        self, builder: x509.CertificateBuilder, starts: timedelta = -_DAY, ends: timedelta = _DAY
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        # Python 3.13 holds certificates to RFC 5280: they name the key that signed them.
        signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            builder.issuer_name(self._name)
            .add_extension(signed_by, critical=False)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + ends)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self,
        path: Path,
        subject: Mapping[x509.ObjectIdentifier, str],
        use: x509.ObjectIdentifier = CLIENT,
        *,
        ends: timedelta = _DAY,
    ) -> x509.Certificate:
        """Write a certificate, and its key beside it."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(*each) for each in subject.items()]))
            .public_key(key.public_key())
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        )
        if use == SERVER:
            names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
            builder = builder.add_extension(names, critical=False)
        certificate = self._sign(builder, starts=-2 * _DAY, ends=ends)
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        path.with_suffix(".key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def revocations(self, *revoked: x509.Certificate, ends: timedelta = _DAY) -> bytes:
        """A list of those."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - 2 * _DAY)
            .next_update(now + ends)
        )
        for each in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(each.serial_number)
                .revocation_date(now - _DAY)
                .build()
            )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def subject(name: str, organisation: str = "") -> dict[x509.ObjectIdentifier, str]:
    found = {NameOID.COMMON_NAME: name}
    return found | ({NameOID.ORGANIZATION_NAME: organisation} if organisation else {})


class Certificates:
    """The files of a host and of its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = folder / "host"
        self.host.mkdir()
        self.ours, self.others = Authority("ours"), Authority("others")
        self.ours.issue(self.host / tls.HOST, subject("host"), SERVER)
        (self.host / tls.CLIENTS).write_bytes(self.ours.pem())
        (folder / "ca.pem").write_bytes(self.ours.pem())
        for name, role in (("olga", Role.OPERATOR), ("rita", Role.READER), ("rolf", Role.READER)):
            self.ours.issue(folder / f"{name}.pem", subject(name, role.value))
        self.ours.issue(folder / "nobody.pem", subject("nobody", "Example Ltd."))
        self.ours.issue(folder / "unnamed.pem", {NameOID.ORGANIZATION_NAME: Role.OPERATOR.value})
        operator = Role.OPERATOR.value
        self.ours.issue(folder / "old.pem", subject("old", operator), ends=-_DAY)
        self.ours.issue(folder / "server.pem", subject("server", operator), SERVER)
        self.others.issue(folder / "foreign.pem", subject("foreign", operator))

    def client(self, name: str | None) -> ssl.SSLContext:
        """What a client of that name connects with."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if name is not None:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def session(self, name: str) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.folder / "ca.pem")
        session.cert = (str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key"))
        return session


@dataclass(slots=True)
class PlayedRoot:
    """A root's side that says what a test wants; `asked` is what came."""

    words: Mapping[str, Callable[[Asked], AsyncIterator[Word]]] = field(default_factory=dict)
    asked: list[tuple[str, Asked]] = field(default_factory=list)

    async def act(self, who: str, asked: Asked) -> AsyncGenerator[Word, None]:
        self.asked.append((who, asked))
        if (played := self.words.get(asked.endpoint.name)) is None:
            yield Result({"done": f"{asked.endpoint.name} was done."})
            return
        async for word in played(asked):
            yield word


async def ticks(count: int = 3, pause: float = 0.0) -> AsyncGenerator[Mapping[str, object], None]:
    """Lines of a journal."""
    for number in range(count):
        if pause:
            await asyncio.sleep(pause)
        yield {"time": "2026-11-23T00:00:00.000000Z", "message": f"line {number}", "priority": 6}


def sources(lines: Callable[[Mapping[str, Value]], Any] | None = None, **whole: Whole) -> Sources:
    """Sources that give little objects, but for those that a test gives."""

    def little(name: str) -> Callable[[], Mapping[str, object]]:
        return lambda: {"schema": 1, "name": name}

    known = {
        each.name: little(each.name)
        for each in ENDPOINTS
        if not each.act and each.answer is Answer.JSON
    }
    return Sources(
        whole={**known, "metrics": lambda: "up 1\n", **whole},
        lines={"logs": lines or (lambda _: ticks())},
    )


class Running:
    """A server in a thread of its own; leaving the context ends it as SIGTERM does."""

    def __init__(
        self,
        certificates: Certificates,
        found: Sources | None = None,
        root: Root | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.certificates = certificates
        # Without the rate, of which one test alone is.
        self.limits = limits or replace(Limits(), rate=1e6, burst=1e6, grace=1.0)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}/v1"
        self._found, self._root = found or sources(), root or PlayedRoot()
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends = asyncio.Event()
        self.api = Api(self._found, self._root, self.limits)
        server = Server(self.api, tls.context(self.certificates.host))
        server.open([self.listener])
        self._up.set()
        await self._ends.wait()
        await server.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()
        self.wait()
        self.listener.close()

    def terminate(self) -> None:
        """What the signal does."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ends.set)

    def wait(self) -> None:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def ask(self, name: str, path: str, method: str = "GET", **more: object) -> requests.Response:
        """One request of a client."""
        with self.certificates.session(name) as session:
            options: dict[str, Any] = dict(more)
            return session.request(method, f"{self.url}{path}", timeout=SECONDS, **options)

    @contextmanager
    def connected(
        self, name: str | None, source: str = "127.0.0.1", receive: int = 0
    ) -> Iterator[ssl.SSLSocket]:
        """A connection after its handshake; a `receive` buffer of so many bytes."""
        plain = socket.socket()
        if receive:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        plain.settimeout(SECONDS)
        plain.bind((source, 0))
        plain.connect(("127.0.0.1", self.port))
        context = self.certificates.client(name)
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            yield secure


def get(path: str, headers: str = "") -> bytes:
    """A request as bytes."""
    return f"GET /v1{path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


def read_all(connection: ssl.SSLSocket) -> bytes:
    """What comes until the other side closes, or breaks off."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except (ConnectionError, ssl.SSLError):
        pass
    return found


def until(true: Callable[[], object]) -> None:
    """Wait for what comes soon."""
    ends = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def lines_of(answer: requests.Response) -> list[Any]:
    return [json.loads(line) for line in answer.iter_lines()]
