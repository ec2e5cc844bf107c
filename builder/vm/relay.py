"""Carries bytes between stdin and stdout and a port of this machine's loopback.

QEMU starts it for each connection that a guest makes to its metadata server's address
(qemu(1), guestfwd=...-cmd:). It runs without the rest of the project.
"""

import os
import socket
import sys
import threading

_SIZE = 64 * 1024


def _to_server(server: socket.socket) -> None:
    while data := os.read(0, _SIZE):
        server.sendall(data)
    server.shutdown(socket.SHUT_WR)


def main() -> None:
    """Carry until both sides have ended."""
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
        threading.Thread(target=_to_server, args=(server,), daemon=True).start()
        while data := server.recv(_SIZE):
            os.write(1, data)


if __name__ == "__main__":
    main()
