"""The networks that a host is in, which the range of services must not meet."""

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

_ROUTES = Path("/proc/thread-self/net/route")
_SMALL_FILE = 4096
_GATEWAY = 0x2  # RTF_GATEWAY of linux/route.h
_NO_DEVICE = "*"  # of routes that refuse


def known(subnet_file: Path) -> tuple[IPv4Network, ...]:
    """The overlay's network, as far as it is known yet, and those of the host's interfaces.

    Raises:
        OSError: the kernel does not tell.
    """
    try:
        with subnet_file.open("rb") as stream:
            text = stream.read(_SMALL_FILE).decode("ascii", "replace")
    except OSError:
        text = ""
    routes = _ROUTES.read_text("ascii").splitlines()[1:]
    return (*overlay(text), *sorted(set(connected(routes))))


def overlay(text: str) -> Iterator[IPv4Network]:
    """The whole overlay's network, by the text of flannel's subnet.env."""
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "FLANNEL_NETWORK":
            with suppress(ValueError):
                yield IPv4Network(value)


def connected(routes: Iterable[str]) -> Iterator[IPv4Network]:
    """The networks that are reached without a gateway, by lines of /proc/net/route (proc(5)).

    What leads on by a gateway is not the host's own: a route for 10.0.0.0/8 refuses no range in it.
    """
    for line in routes:
        device, destination, _, flags, _, _, _, mask, *_ = line.split()
        if device != _NO_DEVICE and not int(flags, 16) & _GATEWAY and int(mask, 16):
            yield IPv4Network(f"{_address(destination)}/{_address(mask)}")


def _address(word: str) -> str:
    """A number in the machine's own order, as the kernel prints it."""
    return socket.inet_ntoa(struct.pack("=I", int(word, 16)))
