"""The outer interface: which of the host's own carries the overlay's packets, and its addresses."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address
from typing import TypeVar

from updater.errors import BedplateError

InterfaceT = TypeVar("InterfaceT", IPv4Interface, IPv6Interface)


class OuterError(BedplateError):
    """There is no such interface, or it has no address; the message says what is there."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One of the host's interfaces; addresses in the kernel's order, no link-local ones."""

    name: str
    index: int
    mtu: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()

    def has(self, address: IPv4Address | IPv6Address | None) -> bool:
        """Whether the address is its own."""
        return any(each.ip == address for each in self.addresses)

    def __str__(self) -> str:
        """As errors show it: `eth0 (10.0.0.1/24, fd00::1/64)`."""
        return f"{self.name} ({', '.join(map(str, self.addresses)) or 'no address'})"


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    """A way out: of family 4 or 6, through an interface; the lowest metric is taken."""

    version: int
    interface: str
    metric: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The interfaces that are up, and the default routes."""

    interfaces: tuple[Interface, ...] = ()
    default_routes: tuple[DefaultRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the settings say.

    `interface` is a name or an address; `interface_regex` fits a part of an address or a name;
    the public addresses are told to peers in place of the interface's own (behind a NAT, say).
    """

    interface: str | None = None
    interface_regex: str | None = None
    public_ipv4: IPv4Address | None = None
    public_ipv6: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Outer:
    """The interface taken; the public addresses are what peers are told. MTU in bytes."""

    name: str
    index: int
    mtu: int
    ipv4: IPv4Interface | None = None
    ipv6: IPv6Interface | None = None
    public_ipv4: IPv4Address | None = None
    public_ipv6: IPv6Address | None = None


def choose(around: Surroundings, wish: Wish, *, ipv4: bool, ipv6: bool) -> Outer:
    """The outer interface, in flannel's order: as told, else the one with the default route.

    `ipv4` and `ipv6` say of which families it must have an address. Source: `LookupExtIface` in
    flannel's pkg/ipmatch/match.go.

    Raises:
        OuterError: no interface fits, or it lacks an address.
    """
    asked = _address(wish.interface)
    found = _interface(around, wish, asked, 4 if ipv4 else 6)
    own_ipv4 = _own(found, asked, IPv4Interface) if ipv4 else None
    own_ipv6 = _own(found, asked, IPv6Interface) if ipv6 else None
    for needed, own, name in ((ipv4, own_ipv4, "IPv4"), (ipv6, own_ipv6, "IPv6")):
        if needed and own is None:
            raise OuterError(f"the outer interface has no {name} address: {found}")
    return Outer(
        found.name,
        found.index,
        found.mtu,
        own_ipv4,
        own_ipv6,
        (wish.public_ipv4 or own_ipv4.ip) if own_ipv4 else None,
        (wish.public_ipv6 or own_ipv6.ip) if own_ipv6 else None,
    )


def _address(text: str | None) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text or "")
    except ValueError:
        return None


def _interface(
    around: Surroundings, wish: Wish, asked: IPv4Address | IPv6Address | None, version: int
) -> Interface:
    interfaces = around.interfaces
    if wish.interface is not None:
        return _first(
            interfaces,
            (lambda each: each.name == wish.interface, lambda each: each.has(asked)),
            f"no interface has the name or address {wish.interface}, as settings ask",
        )
    if wish.interface_regex is not None:
        pattern = re.compile(wish.interface_regex)
        return _first(
            interfaces,
            (
                lambda each: any(pattern.search(str(own.ip)) for own in each.addresses),
                lambda each: pattern.search(each.name) is not None,
            ),
            f"no interface has an address or a name that fits {wish.interface_regex!r}",
        )
    routes = [each for each in around.default_routes if each.version == version]
    name = min(routes, key=lambda each: each.metric).interface if routes else None
    return _first(
        interfaces,
        (lambda each: each.name == name,),
        f"no interface has a default route of IPv{version}; set one, or name the interface",
    )


def _first(
    interfaces: Iterable[Interface], tests: Iterable[Callable[[Interface], bool]], failure: str
) -> Interface:
    """The first that passes the first test that any passes."""
    for test in tests:
        for each in interfaces:
            if test(each):
                return each
    there = "; ".join(map(str, interfaces)) or "none that is up"
    raise OuterError(f"{failure}; there are: {there}")


def _own(
    interface: Interface, asked: IPv4Address | IPv6Address | None, kind: type[InterfaceT]
) -> InterfaceT | None:
    """The address that was asked for, or else the first of the family."""
    of_family = [each for each in interface.addresses if isinstance(each, kind)]
    return next((each for each in of_family if each.ip == asked), next(iter(of_family), None))
