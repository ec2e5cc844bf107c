"""Which host is meant: an address, and the name that its certificate must have. Pure."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from hostapi.port import PORT
from updater.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.\-]{0,251}[A-Za-z0-9_.])?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """A host: `address` is an IP address or a DNS name; `name` is in its certificate."""

    address: str
    port: int
    name: str

    @classmethod
    def parse(cls, text: str, name: str | None = None) -> Self:
        """Read "192.0.2.7", "web-1.example.org:7443", "[2001:db8::7]:7443" or "2001:db8::7".

        Args:
            text: as above.
            name: what the certificate is for, if that is not the address.

        Raises:
            InputError: it is none of these.
        """
        address, port = _split(text)
        if not _is_host(address) or not 0 < port < 65536:
            raise InputError(
                f"{text[:80]!r} is no host: expected an address or a name, with a port or without: "
                f"192.0.2.7, web-1.example.org:{PORT}, [2001:db8::7]:{PORT}"
            )
        if name is not None and not _is_host(name):
            raise InputError(f"{name[:80]!r} is no name of a host: expected such as web-1")
        return cls(address, port, name or address)

    @property
    def url(self) -> str:
        """Where its API is."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{host}:{self.port}"


def _split(text: str) -> tuple[str, int]:
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in address:
            return "", 0
    elif text.count(":") == 1:
        address, _, rest = text.partition(":")
        rest = f":{rest}"
    else:
        address, rest = text, ""
    if not rest:
        return address, PORT
    digits = rest[1:]
    return address, int(digits) if rest[0] == ":" and _PORT.fullmatch(digits) else 0


def _is_host(text: str) -> bool:
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            return False
        return "%" not in text
    return _NAME.fullmatch(text) is not None
