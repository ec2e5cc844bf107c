"""A registry of container images that can be pulled, on this machine's loopback, over https.

The part of the OCI's distribution specification that pulls need is a few static answers:
https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pull
"""

import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from builder.vm.certificate import self_signed
from builder.vm.ociimage import Blob, Image

_GAP_SECONDS = 60.0  # without a byte to or from a client; a guest may be slow
_API = Blob("application/json", b"{}")


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that runs."""

    port: int
    certificate: str  # PEM, what clients have to trust


def answers(images: Mapping[str, Image]) -> Mapping[str, Blob]:
    """What is answered to a path, for images by names such as "team/app:1"."""
    found = {"/v2/": _API}
    for name, image in images.items():
        repository, _, tag = name.rpartition(":")
        for reference in (tag, image.manifest.digest):
            found[f"/v2/{repository}/manifests/{reference}"] = image.manifest
        for each in image.parts:
            found[f"/v2/{repository}/blobs/{each.digest}"] = each
    return found


@contextmanager
def serving(images: Mapping[str, Image], address: str) -> Iterator[Registry]:
    """Serve images from threads while the block runs; clients know this machine as `address`."""
    certificate, key = self_signed(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as pem:  # it is read from files alone
        Path(pem.name).write_bytes(key + certificate)
        context.load_cert_chain(pem.name)
    with _Server(answers(images), context) as server:
        thread = threading.Thread(target=server.serve_forever, name="registry", daemon=True)
        thread.start()
        try:
            yield Registry(server.server_port, certificate.decode())
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    """A thread for each connection; none keeps the program from ending."""

    def __init__(self, contents: Mapping[str, Blob], tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents = contents
        # Each thread shakes hands for itself, so that nobody keeps the others waiting.
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or does not trust us, says so itself."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _GAP_SECONDS
    server: _Server

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        found = self.server.contents.get(self.path.partition("?")[0])
        self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
        sent = found or Blob("application/json", b'{"errors": []}')
        self.send_header("Content-Type", sent.media_type)
        self.send_header("Content-Length", str(len(sent.data)))
        if found:
            self.send_header("Docker-Content-Digest", sent.digest)
        self.end_headers()
        if body:
            self.wfile.write(sent.data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
        """Nobody reads it."""
