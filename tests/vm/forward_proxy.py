"""A proxy of this machine's own, as hosts reach the outside by one: it only tunnels (CONNECT)."""

import contextlib
import select
import socket
import socketserver
import threading
from collections.abc import Iterator

_AS_GUESTS_SEE_IT = "10.0.2.2"
_PIECE = 64 << 10  # bytes read at a time
_SECONDS = 60.0  # without a byte from either side


class Proxy(socketserver.ThreadingTCPServer):
    """Tunnels to this machine as guests see it, and nowhere else; `asked` is what was wanted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.asked: list[str] = []

    @property
    def url_for_guest(self) -> str:
        """Where a guest behind QEMU's user network reaches it."""
        return f"http://{_AS_GUESTS_SEE_IT}:{self.server_address[1]}"


class _Tunnel(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode("latin-1").split()
        while self.rfile.readline().strip():
            pass
        self.server.asked.append(f"{method} {target}")
        address, _, port = target.rpartition(":")
        if (method, address) != ("CONNECT", _AS_GUESTS_SEE_IT):
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", int(port))) as beyond:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            _carry(self.connection, beyond)


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side has no more, or hangs up."""
    ways = {one: other, other: one}
    with contextlib.suppress(OSError):
        while ready := select.select(ways, (), (), _SECONDS)[0]:
            for each in ready:
                if not (data := each.recv(_PIECE)):
                    return
                ways[each].sendall(data)


@contextlib.contextmanager
def serving() -> Iterator[Proxy]:
    """Run one."""
    with Proxy() as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
