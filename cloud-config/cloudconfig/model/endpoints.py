"""Where etcd's members listen and are reached: URLs of a scheme, a host and a port."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from cloudconfig.kinds import Either
from hostkit.document.kinds import Parsed, Text
from hostkit.document.schema import ListOf

_HOST = Text("a host's name", r"[a-z0-9_]([a-z0-9_.\-]*[a-z0-9])?", limit=253)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One such URL; `host` is a name in lower case, or an address."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def numeric(self) -> bool:
        """Whether the host is an address and no name."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def bindable(self) -> bool:
        """Whether etcd would listen there: it looks up no names for that."""
        return self.numeric or self.host == "localhost"

    @property
    def local(self) -> bool:
        """Whether only this host reaches it."""
        return self.host == "localhost" or (self.numeric and ip_address(self.host).is_loopback)

    @property
    def everywhere(self) -> bool:
        """Whether it stands for all addresses of a host, so it is none to tell others."""
        return self.numeric and ip_address(self.host).is_unspecified


Endpoints = tuple[Endpoint, ...]


def endpoint(text: str) -> Endpoint:
    """A URL that etcd would take (its client/pkg/types, NewURLs).

    Raises:
        ValueError: it has no host or no port, or something after them.
    """
    parts = urlsplit(text)
    found = Endpoint(parts.scheme, parts.hostname or "", parts.port or 0)
    if parts.scheme not in ("http", "https") or not found.port:
        raise ValueError(text)
    if "@" in parts.netloc or not (found.numeric or _HOST.matches(found.host)):
        raise ValueError(text)
    # Whatever else it says is not in what was found.
    if str(found).casefold() != text.casefold():
        raise ValueError(text)
    return found


def reached(text: str) -> Endpoint:
    """A URL to tell others.

    Raises:
        ValueError: it is none, or stands for all addresses of a host.
    """
    found = endpoint(text)
    if found.everywhere:
        raise ValueError(text)
    return found


def _listening(text: str) -> Endpoint:
    found = endpoint(text)
    if not found.bindable:
        raise ValueError(text)
    return found


def _several(what: str, read: Callable[[str], Endpoint]) -> Either:
    def read_all(text: str) -> Endpoints:
        return tuple(read(word.strip()) for word in text.split(","))

    return Either(
        scalar=Parsed(f"{what}, or more with commas between", read_all),
        sequence=ListOf(Parsed(what, read)),
    )


REACHED = _several("scheme, host and port such as http://10.0.0.1:2380", reached)
LISTENING = _several("scheme, address and port such as http://10.0.0.1:2380", _listening)
