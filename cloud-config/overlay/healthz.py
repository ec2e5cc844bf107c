"""/healthz: 200 while this host's lease is in force, else 503 and why."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socket import AF_INET6
from threading import Thread

from overlay.settings import Healthz
from updater.errors import BedplateError

_LOG = logging.getLogger(__name__)
_REQUEST_SECONDS = 2.0

Look = Callable[[], str]


class HealthzError(BedplateError):
    """The address cannot be listened on."""


class _Server(HTTPServer):
    """One request after the other: who asks too slowly is dropped, and none is kept waiting."""

    look: Look

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_SECONDS  # of each read of the socket
    server: _Server
    server_version = "bedplate"
    sys_version = ""

    def do_GET(self) -> None:
        found = self.path.partition("?")[0] == "/healthz"
        reason = self.server.look() if found else "no such page; there is /healthz"
        failed = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.NOT_FOUND
        body = f"{reason or 'ok'}\n".encode()
        self.send_response(failed if reason else HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - likewise

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Probes come every few seconds: nothing of them is worth a line."""


def serve(where: Healthz, look: Look) -> HTTPServer:
    """Answer from a thread of its own until `shutdown()`; `look` gives the reason, or nothing.

    A connection has two seconds for each read, and requests have http.server's limits on lines and
    headers; a body is not read.

    Raises:
        HealthzError: the address is not ours, or taken.
    """
    family = AF_INET6 if where.address.version == 6 else HTTPServer.address_family
    kind = type("Server", (_Server,), {"address_family": family, "look": staticmethod(look)})
    try:
        server: HTTPServer = kind((str(where.address), where.port), _Handler)
    except OSError as error:
        raise HealthzError(
            f"cannot serve /healthz at {where.address} port {where.port}: {error.strerror}; "
            "see healthz_ip and healthz_port"
        ) from error
    Thread(target=server.serve_forever, name="healthz", daemon=True).start()
    return server
