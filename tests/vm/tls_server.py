"""Files by https, with a certificate that an authority of the test's own vouches for."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.vm.certificate import self_signed
from metadata_servers import Server, files


@dataclass(frozen=True, slots=True)
class Https:
    """A server, and the certificate that clients have to trust."""

    port: int
    certificate: str  # PEM


@contextmanager
def serving(contents: Mapping[str, bytes], address: str, folder: Path) -> Iterator[Https]:
    """Serve contents by their names; clients know this server as `address`."""
    certificate, key = self_signed(address)
    pem = folder / "server.pem"
    pem.write_bytes(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with Server(files(contents), tls=context) as server:
        yield Https(server.port, certificate.decode())
