"""A host's API on this machine: TLS with certificates of its own, and answers that tests give."""

import asyncio
import ipaddress
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from builder.host import access
from builder.host.client import Client, Limits
from builder.host.target import Target
from builder.trust.pkcs8 import ScryptCost, encrypt
from hostapi.contract import BY_NAME, Answer

PASSPHRASE = "correct horse battery"  # noqa: S105 - a test's
NAMES = ("127.0.0.1", "web-1")
QUICK = Limits(connect_seconds=5, call_seconds=5, act_seconds=5, gap_seconds=5, stream_seconds=10)
STATUS: dict[str, Any] = {
    "schema": 1,
    "host": {
        "name": "web-1",
        "image": "bedplate",
        "version": "7",
        "slot": "a",
        "boot_id": "b1",
        "booted_at": "2026-11-23T02:00:00Z",
        "addresses": ["192.0.2.7", "2001:db8::7"],
    },
    "health": {"state": "good", "detail": ""},
    "agents": {
        "update": {"state": "idle", "decision": "7 is the newest", "pending": None},
        "config": {"in_force": "document", "source": "nocloud", "faults": []},
        "overlay": {
            "state": "ready",
            "backend": "vxlan",
            "lease": {"subnets": ["10.5.1.0/24"]},
            "peers": [{}, {}],
        },
        "pods": {"pods": [{"id": "web-0", "ready": True}, {"id": "web-1", "ready": False}]},
    },
    "certificate": {"fingerprint": "SHA256:AB", "not_after": "2027-01-01T00:00:00Z", "source": "x"},
    "last_error": "",
}


# --- Certificates ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def authority(name: str = "test CA") -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    built = _builder(name, None, key, days=30).issuer_name(_subject(name, None))
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    built = built.add_extension(constraints, critical=True)
    return Authority(built.sign(key, hashes.SHA256()), key)


def leaf(
    signer: Authority,
    name: str,
    *,
    role: str | None = None,
    names: tuple[str, ...] = (),
    days: int = 30,
) -> tuple[bytes, ec.EllipticCurvePrivateKey]:
    """A certificate in PEM, and its key; of negative days it has ended."""
    key = ec.generate_private_key(ec.SECP256R1())
    built = _builder(name, role, key, days=days).issuer_name(signer.certificate.subject)
    if names:
        general = x509.SubjectAlternativeName(list(map(_general, names)))
        built = built.add_extension(general, critical=False)
    return built.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.PEM), key


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _subject(name: str, role: str | None) -> x509.Name:
    found = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]
    if role is not None:
        found.insert(0, x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, role))
    return x509.Name(found)


def _builder(
    name: str, role: str | None, key: ec.EllipticCurvePrivateKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name, role))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
    )


def clear(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Site:
    """A folder `ops` with an operator's identity, whose key is encrypted, and the CA's files."""

    folder: Path
    ca: Authority

    @property
    def identity(self) -> Path:
        return self.folder / "ops" / "ops.pem"

    def issue(self, name: str, signer: Authority | None = None, days: int = 30) -> Path:
        """Another identity; its key is in the clear."""
        folder = self.folder / name
        folder.mkdir()
        pem, key = leaf(signer or self.ca, name, role="bedplate:operator", days=days)
        (folder / f"{name}.pem").write_bytes(pem)
        (folder / f"{name}.key").write_bytes(clear(key))
        (folder / "ca.pem").write_bytes(self.ca.pem)
        return folder / f"{name}.pem"

    def load(self, identity: Path | None = None) -> access.Identity:
        given = access.Given(identity=identity or self.identity)
        return access.load(access.find(given, {}, self.folder), lambda _: PASSPHRASE)


def make_site(folder: Path) -> Site:
    ca = authority()
    (folder / "ops").mkdir()
    pem, key = leaf(ca, "ops", role="bedplate:operator")
    (folder / "ops/ops.pem").write_bytes(pem)
    (folder / "ops/ops.key").write_bytes(encrypt(key, PASSPHRASE, ScryptCost(n=16, p=1)))
    (folder / "ops/ca.pem").write_bytes(ca.pem)
    (folder / "passphrase").write_text(f"{PASSPHRASE}\n")
    return Site(folder, ca)


# --- The host -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A request, and who sent it."""

    method: str
    target: str
    body: bytes
    who: str


# What to send, byte by byte; the connection is closed after it.
Script = Callable[[Seen], AsyncIterator[bytes]]


@dataclass
class FakeHost:
    """Answers by endpoint's name; what is not given is 404."""

    port: int = 0
    scripts: dict[str, Script] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def says(self, name: str, document: object, status: int = 200, media: str = "") -> None:
        """Answer with JSON, or with bytes as they are."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.scripts[name] = sending(answer(body, status, media or _media(name, status)))

    def streams(self, name: str, *lines: object, whole: bool = True) -> None:
        """Answer with a line each; not `whole`, the stream breaks off after them."""
        self.scripts[name] = sending(lined(*lines, whole=whole))

    def refuses(self, name: str, status: int, code: str, message: str) -> None:
        error = {"schema": 1, "error": {"code": code, "message": message}}
        self.scripts[name] = sending(answer(json.dumps(error).encode(), status))

    def does(self, name: str) -> list[Seen]:
        """The requests for an endpoint."""
        method, path = BY_NAME[name].method, f"/v1{BY_NAME[name].path}".partition("{")[0]
        found = [each for each in self.seen if each.method == method]
        return [each for each in found if each.target.partition("?")[0].startswith(path)]


def sending(*pieces: bytes) -> Script:
    async def script(_: Seen) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return script


def in_turn(*scripts: Script) -> Script:
    """One for each request; the last for all that follow."""
    left = list(scripts)

    def script(seen: Seen) -> AsyncIterator[bytes]:
        return (left.pop(0) if len(left) > 1 else left[0])(seen)

    return script


def answer(body: bytes, status: int = 200, media: str = "application/json") -> bytes:
    length = len(body)
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n"
    return head.encode() + body


def lined(*lines: object, whole: bool = True) -> bytes:
    """A chunked answer of a line each."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {Answer.LINES.value}\r\n"
    data = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()
    for line in lines:
        text = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
        data += f"{len(text):x}\r\n".encode() + text + b"\r\n"
    return data + (b"0\r\n\r\n" if whole else b"")


def entry(second: int, message: str, **more: object) -> dict[str, object]:
    """An entry of the journal."""
    return {
        "time": f"2026-11-23T02:00:{second:02}.000000Z",
        "priority": 6,
        "unit": "web.service",
        "identifier": "web",
        "pid": 7,
        "message": message,
        "boot": "b1",
        **more,
    }


def _media(name: str, status: int) -> str:
    return BY_NAME[name].answer.value if status == 200 else "application/json"


def _endpoint(method: str, target: str) -> str:
    path = target.partition("?")[0].removeprefix("/v1")
    for each in BY_NAME.values():
        start, brace, _ = each.path.partition("{")
        matches = path.startswith(start) and path != start if brace else path == each.path
        if each.method == method and matches:
            return each.name
    return ""


async def _serve(
    host: FakeHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *headers = head.split("\r\n")
        method, target, _ = first.split(" ")
        named = dict(line.lower().split(": ", 1) for line in headers if line)
        body = await reader.readexactly(int(named.get("content-length", "0")))
        certificate: Mapping[str, Any] = writer.get_extra_info("peercert")
        who = dict(pair for group in certificate["subject"] for pair in group)["commonName"]
        seen = Seen(method, target, body, who)
        host.seen.append(seen)
        missing = {"schema": 1, "error": {"code": "missing", "message": "no such thing here"}}
        otherwise = sending(answer(json.dumps(missing).encode(), 404))
        script = host.scripts.get(_endpoint(method, target), otherwise)
        async for piece in script(seen):
            writer.write(piece)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # the client is gone
    finally:
        writer.close()


def server_context(
    site: Site, *, names: tuple[str, ...] = NAMES, signer: Authority | None = None
) -> ssl.SSLContext:
    """TLS of a host that trusts the site's CA, with a certificate for `names`."""
    pem, key = leaf(signer or site.ca, "host", names=names)
    path = site.folder / f"host-{len(list(site.folder.iterdir()))}.pem"
    path.write_bytes(pem + clear(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=site.ca.pem.decode())
    context.load_cert_chain(path)
    return context


@contextmanager
def running(
    site: Site, *, names: tuple[str, ...] = NAMES, signer: Authority | None = None
) -> Iterator[FakeHost]:
    """A host that trusts the site's CA, with a certificate for `names`."""
    context = server_context(site, names=names, signer=signer)
    host, loop = FakeHost(), asyncio.new_event_loop()
    # A client that was refused leaves connections behind: nobody need hear of it.
    loop.set_exception_handler(lambda *_: None)

    async def start() -> asyncio.Server:
        return await asyncio.start_server(
            lambda reader, writer: _serve(host, reader, writer), "127.0.0.1", 0, ssl=context
        )

    server = loop.run_until_complete(start())
    host.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def client(
    site: Site,
    host: FakeHost,
    *,
    name: str | None = None,
    identity: Path | None = None,
    limits: Limits = QUICK,
) -> Iterator[Client]:
    target = Target.parse(f"127.0.0.1:{host.port}", name)
    with closing(Client(target, site.load(identity), limits)) as found:
        yield found
