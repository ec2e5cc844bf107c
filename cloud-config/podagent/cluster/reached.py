"""By which of its own addresses other hosts reach this one."""

import socket
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

# Of a network that nobody has (RFC 5737, RFC 3849): the default route decides.
_ANYWHERE = ("192.0.2.1", "2001:db8::1")
_PORT = 9


def own_addresses(endpoints: Iterable[str]) -> tuple[str, ...]:
    """The address that this host takes on the way to etcd, or to anywhere; none without a way.

    The kernel is asked for the route; nothing is sent, and no name is looked up.
    """
    hosts = [urlsplit(each).hostname or "" for each in endpoints]
    for host in (*filter(_is_address, hosts), *_ANYWHERE):
        found = _source(host)
        if found and not ip_address(found).is_loopback:
            return (found,)
    return ()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _source(host: str) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, _PORT))
            return str(probe.getsockname()[0])
        except OSError:
            return ""
