"""`$private_ipv4` and its like in a document (coreos-cloudinit, "Substitutions")."""

import re
import socket
from collections.abc import Iterable, Mapping

NAMES = ("public_ipv4", "private_ipv4", "public_ipv6", "private_ipv6")
# A variable, or one that a backslash keeps as it is.
_VARIABLE = re.compile(rf"(\\?)\$({'|'.join(NAMES)})\b")
# Addresses for documentation (RFC 5737, RFC 3849): nothing is sent there, see below.
_ELSEWHERE = {
    "private_ipv4": (socket.AF_INET, "192.0.2.1"),
    "private_ipv6": (socket.AF_INET6, "2001:db8::1"),
}


def substitute(text: str, values: Mapping[str, str]) -> str:
    r"""Put in what is known of `$private_ipv4` and its like; `\$` keeps one as it is."""

    def value(match: re.Match[str]) -> str:
        backslash, name = match.groups()
        return f"${name}" if backslash else values.get(name, "")

    return _VARIABLE.sub(value, text)


def wanted(document: bytes) -> frozenset[str]:
    """The variables that a document has; one that is packed has none."""
    found = _VARIABLE.findall(document.decode("utf-8", "replace"))
    return frozenset(name for backslash, name in found if not backslash)


def own_addresses(names: Iterable[str]) -> dict[str, str]:
    """The addresses with which this host speaks to others; those that it has not are left out."""
    found = {}
    for name in set(names) & _ELSEWHERE.keys():
        family, elsewhere = _ELSEWHERE[name]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                # This looks up the route and sends nothing (udp(7)).
                probe.connect((elsewhere, 9))
            except OSError:
                continue
            found[name] = str(probe.getsockname()[0])
    return found
