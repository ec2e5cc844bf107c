"""The kernel's network state: looked at, and changed as planned. It decides nothing."""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from itertools import groupby
from typing import Any, Self, TypeVar

from pyroute2 import IPRoute  # type: ignore[import-untyped] # ships none; see messages.py
from pyroute2.netlink.exceptions import (  # type: ignore[import-untyped]
    NetlinkDumpInterrupted,
)
from pyroute2.netlink.exceptions import NetlinkError as _NetlinkError

from overlay.links import Entry, State, WireguardLink, WireguardPeer, is_ours
from overlay.messages import (
    Message,
    Request,
    clearing,
    read_addresses,
    read_device,
    read_forwards,
    read_neighbours,
    read_routes,
    request,
)
from overlay.outer import DefaultRoute, Interface, Surroundings
from overlay.plan import Change, Put, Remove, RemoveDevice, describe
from overlay.rtnetlink import Requests
from overlay.wireguard import Tunnels
from updater.errors import BedplateError

_LOOKS = 3  # until a dump comes out whole: the kernel says when something changed meanwhile
_SHOWN = 3  # failures in one message
_GONE = frozenset((errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL))
# What an interface may be for tunnels to start from, and an address (linux/if.h, if_addr.h).
_UP, _LOOPBACK = 0x1, 0x8
_TEMPORARY = 0x1
_PASSING = 0x8 | 0x20 | 0x40  # IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE
_MAIN_TABLE = 254
T = TypeVar("T")


class NetlinkError(BedplateError):
    """The kernel refused some changes; the others are made. The message names the first few."""


class Kernel:
    """The network state of the namespace that this is made in."""

    def __init__(self) -> None:
        with ExitStack() as stack:
            self._route = stack.enter_context(IPRoute())
            self._changes = stack.enter_context(Requests())
            self._tunnels = stack.enter_context(Tunnels())
            self._close = stack.pop_all().close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def port(self) -> int:
        """The netlink port that notices of our own changes carry."""
        return self._changes.port

    def observe(self) -> State:
        """All devices of ours and what is on them, and our routes on others.

        Raises:
            NetlinkError: the kernel does not tell.
        """
        return _told(self._observe)

    def surroundings(self) -> Surroundings:
        """The interfaces that tunnels may start from.

        Raises:
            NetlinkError: the kernel does not tell.
        """
        return _told(self._surroundings)

    def apply(self, changes: Iterable[Change]) -> None:
        """Make the changes in order; what is as it should be already is no failure.

        Raises:
            NetlinkError: some failed; the rest is made all the same.
        """
        indexes = _Indexes(self._route)
        failures: list[str] = []
        # A device is waited for, because what follows needs its index; entries go out together.
        for together, group in groupby(changes, key=_goes_out_together):
            if together:
                failures += self._entries(group, indexes)
            else:
                failures += [failed for change in group for failed in self._one(change, indexes)]
        if failures:
            more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
            raise NetlinkError("; ".join(failures[:_SHOWN]) + more)

    def _entries(self, changes: Iterable[Change], indexes: "_Indexes") -> Iterator[str]:
        """Make changes of entries; what failed."""
        requests = []
        for change in changes:
            try:
                requests.append(request(change, indexes.of))
            except (OSError, _NetlinkError) as error:
                yield from _failure(change, *_reason(error))
        try:
            yield from self._make(requests)
        except OSError as error:
            yield f"the kernel does not answer: {error}"

    def _make(self, requests: list[Request]) -> Iterator[str]:
        refused: list[Request] = []
        for made, code, reason in self._changes.make(requests):
            if isinstance(made.change, Put) and (clear := clearing(made.change)):
                refused += [clear, made]
            else:
                yield from _failure(made.change, code, reason)
        for made, code, reason in self._changes.make(refused):
            yield from _failure(made.change, code, reason)

    def _one(self, change: Change, indexes: "_Indexes") -> Iterator[str]:
        """Make a change of a device or of a WireGuard peer; what failed."""
        try:
            if isinstance(change, Put | Remove):
                self._tunnels.apply(change)
                return
            for _, code, reason in self._changes.make([request(change, indexes.of)]):
                yield from _failure(change, code, reason)
                return
            indexes.forget(change.device.name)
            link = change.device.link
            if not isinstance(change, RemoveDevice) and isinstance(link, WireguardLink):
                self._tunnels.configure(change.device.name, link)
        except (OSError, _NetlinkError) as error:
            yield from _failure(change, *_reason(error))

    def _observe(self) -> State:
        links = {message["index"]: message for message in self._route.get_links()}
        names = {index: message.get("IFLA_IFNAME") for index, message in links.items()}
        ours = {index: name for index, name in names.items() if is_ours(name)}
        entries: set[Entry] = set()
        for family in (socket.AF_INET, socket.AF_INET6):
            entries.update(read_routes(self._route.get_routes(family=family), ours, names))
        devices = [read_device(links[index]) for index in ours]
        if ours:
            entries.update(read_addresses(self._route.get_addr(), ours))
            for family in (socket.AF_INET, socket.AF_INET6):
                entries.update(read_neighbours(self._route.get_neighbours(family=family), ours))
        for index, name in ours.items():
            entries.update(read_forwards(self._route.fdb("dump", ifindex=index), {index: name}))
        tunnels = [self._tunnels.observe(device) for device in devices]
        for _, peers in tunnels:
            entries.update(peers)
        return State(frozenset(device for device, _ in tunnels), frozenset(entries))

    def _surroundings(self) -> Surroundings:
        addresses: dict[int, list[IPv4Interface | IPv6Interface]] = {}
        for message in self._route.get_addr():
            own = ip_interface(
                f"{message.get('IFA_LOCAL') or message.get('IFA_ADDRESS')}/{message['prefixlen']}"
            )
            flags = message.get("IFA_FLAGS") or message["flags"]
            # To IPv4 the flag means a second address of one subnet, which is as good.
            passing = _PASSING if own.version == 4 else _PASSING | _TEMPORARY
            if not own.is_link_local and not flags & passing:
                addresses.setdefault(message["index"], []).append(own)
        interfaces = tuple(
            Interface(
                message.get("IFLA_IFNAME"),
                message["index"],
                message.get("IFLA_MTU"),
                tuple(addresses.get(message["index"], ())),
            )
            for message in self._route.get_links()
            if message["flags"] & (_UP | _LOOPBACK) == _UP
            and not is_ours(message.get("IFLA_IFNAME"))
        )
        names = {each.index: each.name for each in interfaces}
        routes = [
            DefaultRoute(version, names[index], message.get("RTA_PRIORITY") or 0)
            for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6))
            for message in self._route.get_default_routes(family=family, table=_MAIN_TABLE)
            if (index := _out(message)) in names
        ]
        return Surroundings(interfaces, tuple(routes))


def _out(message: Message) -> int | None:
    """A route's interface; of several gateways the first one's."""
    several = message.get("RTA_MULTIPATH") or ()
    found: int | None = message.get("RTA_OIF") or next((hop["oif"] for hop in several), None)
    return found


def _told(look: Callable[[], T]) -> T:
    for attempt in range(1, _LOOKS + 1):
        try:
            return look()
        except NetlinkDumpInterrupted:
            if attempt == _LOOKS:
                raise NetlinkError("the kernel's tables change faster than they are read") from None
        except (OSError, _NetlinkError) as error:
            raise NetlinkError(f"cannot read the kernel's tables: {_reason(error)[1]}") from error
    raise AssertionError


class _Indexes:
    """Devices' indexes by name, asked for once."""

    def __init__(self, route: Any) -> None:  # noqa: ANN401 - pyroute2 has no types
        self._route = route
        self._known: dict[str, int] = {}

    def of(self, name: str) -> int:
        """A device's index; ENODEV if there is none."""
        if name not in self._known:
            self._known[name] = self._route.link("get", ifname=name)[0]["index"]
        return self._known[name]

    def forget(self, name: str) -> None:
        self._known.pop(name, None)


def _goes_out_together(change: Change) -> bool:
    return isinstance(change, Put | Remove) and not isinstance(change.entry, WireguardPeer)


def _failure(change: Change, code: int, reason: str) -> Iterator[str]:
    """What to say of an error; nothing if somebody was faster: all is as it should be."""
    gone = isinstance(change, Remove | RemoveDevice) and code in _GONE
    if not gone and not (isinstance(change, Put) and code == errno.EEXIST):
        yield f"cannot {describe(change)}: {reason}"


def _reason(error: OSError | _NetlinkError) -> tuple[int, str]:
    """The number and the words of an error of the system's or of pyroute2's."""
    code = (error.errno if isinstance(error, OSError) else error.code) or 0
    words = error.strerror if isinstance(error, OSError) else None
    return code, words or (os.strerror(code) if code else str(error))
