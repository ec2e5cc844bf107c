"""A netlink socket for many requests at once; pyroute2's own waits for the answer to each."""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Self

from overlay.messages import Request
from overlay.wire import attributes, split

# linux/netlink.h
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_ERROR = 2  # NLMSG_ERROR
_MESSAGE_ATTRIBUTE = 1  # NLMSGERR_ATTR_MSG
_ERROR_SIZE = 4 + 16  # struct nlmsgerr: the code, and the header of what it is about
# As many requests as have their acknowledgements fit into the socket's buffer at once.
_BATCH = 100
_BUFFER = 1 << 20
_SECONDS = 10.0


class Requests:
    """Sends requests, and reads whether each was fulfilled."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        # Answers without a copy of the request, and with the kernel's own words.
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.settimeout(_SECONDS)
        self.port: int = self._socket.getsockname()[0]
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def make(self, requests: Sequence[Request]) -> Iterator[tuple[Request, int, str]]:
        """Send them in order; those that failed, with errno and reason.

        Raises:
            OSError: the kernel does not answer.
        """
        for start in range(0, len(requests), _BATCH):
            waiting: dict[int, Request] = {}
            data = bytearray()
            for each in requests[start : start + _BATCH]:
                self._sequence = (self._sequence + 1) & 0xFFFFFFFF
                waiting[self._sequence] = each
                data += each.encode(self._sequence)
            self._socket.sendto(data, (0, 0))
            while waiting:
                for message in split(self._socket.recv(_BUFFER)):
                    if message.type != _ERROR or message.sequence not in waiting:
                        continue
                    request = waiting.pop(message.sequence)
                    code = -struct.unpack_from("=i", message.body)[0]
                    if code:
                        yield request, code, _words(message.body) or os.strerror(code)


def _words(body: bytes) -> str:
    """The kernel's own words in an error, if it has any; they come after `struct nlmsgerr`."""
    text = attributes(body, _ERROR_SIZE).get(_MESSAGE_ATTRIBUTE, b"")
    return text.rstrip(b"\0").decode(errors="replace")
