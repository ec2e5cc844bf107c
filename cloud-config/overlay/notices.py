"""What the kernel tells when somebody changes the network: a reason to look, and nothing more."""

import errno
import select
import socket
import struct
import sys
from enum import Enum, auto
from typing import Self

from overlay.links import PROTOCOL, is_ours
from overlay.wire import Framed, attributes, split

# linux/rtnetlink.h: message types, multicast groups and attributes; linux/nfnetlink.h.
_NEWLINK, _DELLINK, _ADDRESSES, _ROUTES, _NEIGHBOURS = 16, 17, {20, 21}, {24, 25}, {28, 29}
_GROUPS = (1, 3, 5, 7, 9, 11)  # LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
_NETFILTER, _NFTABLES_GROUP = 12, 7  # NETLINK_NETFILTER, NFNLGRP_NFTABLES
_NAME, _OUT, _TABLE = 3, 4, 15  # IFLA_IFNAME, RTA_OIF, RTA_TABLE
_MAIN_TABLE = 254
_REPLACE = 0x100  # NLM_F_REPLACE
_INDEX = struct.Struct("=4xi")  # of struct ifinfomsg, ifaddrmsg and ndmsg alike
_LINK_SIZE, _ROUTE_SIZE = 16, 12  # of struct ifinfomsg, rtmsg
_DUMP = struct.pack("=IHHII", 32, 18, 0x301, 1, 0) + bytes(16)  # RTM_GETLINK of all
_BUFFER = 1 << 20


class Topic(Enum):
    """What somebody else changed."""

    OVERLAY = auto()  # our devices, what is on them, our routes
    OUTER = auto()  # the outer interface, its addresses, a default route
    FIREWALL = auto()  # nftables' rules, anyone's


class Notices:
    """The changes in the namespace that this is made in, but those made through `own_port`.

    Set `outer` to the outer interface's name; until it is known, every interface may become it.
    """

    def __init__(self, own_port: int = 0) -> None:
        self.outer: str | None = None
        self._own_port = own_port
        self._names: dict[int, str] = {}
        self._sockets: list[socket.socket] = []
        self._ready = select.epoll()  # one descriptor that stands for both sockets
        for protocol, groups in (
            (socket.NETLINK_ROUTE, _GROUPS),
            (_NETFILTER, (_NFTABLES_GROUP,)),
        ):
            self._open(protocol, sum(1 << (group - 1) for group in groups))
        self._port: int = self._sockets[0].getsockname()[0]
        self._sockets[0].sendto(_DUMP, (0, 0))  # so that devices are known by their index

    def _open(self, protocol: int, groups: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        opened = socket.socket(socket.AF_NETLINK, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        opened.bind((0, groups))
        self._sockets.append(opened)
        self._ready.register(opened, select.EPOLLIN)  # a socket can always be written to

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ready.close()
        for each in self._sockets:
            each.close()

    def wait(self, seconds: float | None = None) -> frozenset[Topic]:
        """What was changed by others, at the latest after some seconds; None: for ever."""
        self._ready.poll(seconds)
        return self.read()

    def read(self) -> frozenset[Topic]:
        """What was changed by others since the last call; it does not wait.

        Where so much happened that the kernel could not tell all, everything may have changed.
        """
        topics: set[Topic] = set()
        for each in self._sockets:
            while True:
                try:
                    data = each.recv(_BUFFER)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    topics.update(Topic)
                    continue
                if each is not self._sockets[0]:
                    topics.add(Topic.FIREWALL)
                    continue
                for message in split(data):
                    topics.update(self._topics(message))
        return frozenset(topics)

    def _topics(self, message: Framed) -> set[Topic]:
        known = message.type in {_NEWLINK, _DELLINK} and self._remember(message)
        if message.port and message.port in {self._own_port, self._port}:
            return set()
        if message.type in _ROUTES:
            return self._of_route(message)
        if known or message.type in _ADDRESSES | _NEIGHBOURS:
            name = self._names.get(_INDEX.unpack_from(message.body)[0], "")
            if message.type == _DELLINK:
                self._names.pop(_INDEX.unpack_from(message.body)[0], None)
            if is_ours(name):
                return {Topic.OVERLAY}
            if message.type not in _NEIGHBOURS and name == (self.outer or name):
                return {Topic.OUTER}
        return set()

    def _remember(self, message: Framed) -> bool:
        name = attributes(message.body, _LINK_SIZE).get(_NAME)
        if name is not None:
            self._names[_INDEX.unpack_from(message.body)[0]] = name.rstrip(b"\0").decode()
        return name is not None

    def _of_route(self, message: Framed) -> set[Topic]:
        found = attributes(message.body, _ROUTE_SIZE)
        length, protocol = message.body[1], message.body[5]
        if int.from_bytes(found.get(_TABLE, b""), sys.byteorder) != _MAIN_TABLE:
            return set()
        if length == 0:
            return {Topic.OUTER}
        name = self._names.get(int.from_bytes(found.get(_OUT, b""), sys.byteorder), "")
        # What takes another's place may have taken ours.
        if is_ours(name) or protocol == PROTOCOL or message.flags & _REPLACE:
            return {Topic.OVERLAY}
        return set()
