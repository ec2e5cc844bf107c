"""A resolver's side of the DNS, as far as tests ask: queries over UDP, and a server to forward to.

Wire format: RFC 1035, section 4.1.
"""

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from subprocess import PIPE, Popen

from network import Namespace, NetworkError

_TYPES = {"A": 1, "AAAA": 28}
_LENGTHS = {1: 4, 28: 16}


@dataclass(frozen=True, slots=True)
class Answer:
    """NOERROR is code 0, NXDOMAIN 3; addresses in the order they came in."""

    code: int
    addresses: tuple[str, ...]


def query(name: str, kind: str = "A") -> bytes:
    """A recursive question."""
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    return (
        struct.pack("!6H", 0x4242, 0x0100, 1, 0, 0, 0)
        + labels
        + struct.pack("!BHH", 0, _TYPES[kind], 1)
    )


def read_answer(packet: bytes, question: bytes) -> Answer:
    """The addresses in an answer; its records have a name of any form."""
    _id, flags, _questions, count, _authorities, _additional = struct.unpack("!6H", packet[:12])
    at = len(question)
    found = []
    for _ in range(count):
        while packet[at] not in range(0xC0, 0x100) and packet[at]:
            at += packet[at] + 1
        at += 2 if packet[at] else 1
        kind, _class, _ttl, length = struct.unpack("!HHIH", packet[at : at + 10])
        at += 10
        if length == _LENGTHS.get(kind):
            found.append(str(ip_address(packet[at : at + length])))
        at += length
    return Answer(flags & 0xF, tuple(found))


def ask(place: Namespace, server: object, name: str, kind: str = "A") -> Answer | None:
    """What a server answers to one who asks in there; None: nothing, within its time."""
    question = query(name, kind)
    command = (sys.executable, __file__, "ask", str(server), question.hex())
    try:
        return read_answer(bytes.fromhex(place.run(*command)), question)
    except NetworkError:
        return None


@contextmanager
def answering(place: Namespace, address: object, reply: object) -> Iterator[None]:
    """A server that answers every question for an A record with `reply`."""
    command = place.argv([sys.executable, __file__, "serve", str(address), str(reply)])
    with Popen(command, stdout=PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


def _ask(server: str, question: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((server, 53))
        client.send(bytes.fromhex(question))
        sys.stdout.write(client.recv(65535).hex())


def _serve(address: str, reply: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            packet, client = server.recvfrom(4096)
            end = packet.index(0, 12) + 5
            head = packet[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0)
            record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(reply)
            server.sendto(head + packet[12:end] + record, client)


if __name__ == "__main__":
    {"ask": _ask, "serve": _serve}[sys.argv[1]](*sys.argv[2:])
