"""Who a client is, by its certificate, and what it may ask for. Pure."""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from hostapi.contract import Role

_NAME, _ORGANISATION = "commonName", "organizationName"
# What a log can show; at most ub-common-name (RFC 5280, appendix A.1). Root's side wants the same.
_NAMES = r"[ -~]{1,64}"


@dataclass(frozen=True, slots=True)
class Client:
    """The subject of a certificate that the TLS library has verified.

    `name` is its CN; `role` the highest that an O of it names, or None. Who has several
    certificates of one name is one client.
    """

    name: str
    role: Role | None

    def may(self, role: Role) -> bool:
        """Whether this client has `role`; an operator is a reader as well."""
        return self.role is Role.OPERATOR or (self.role is not None and self.role is role)


def client_of(certificate: Mapping[str, object]) -> Client:
    """The client, from `ssl.SSLSocket.getpeercert()`.

    One without a name of 1 to 64 printable ASCII characters, or with several, has no role: nobody
    could say who it was.
    """
    found: dict[str, list[str]] = {_NAME: [], _ORGANISATION: []}
    subject = certificate.get("subject", ())
    for relative in subject if isinstance(subject, tuple) else ():
        for kind, value in relative:
            if kind in found:
                found[kind].append(value)
    names = found[_NAME]
    if len(names) != 1 or not re.fullmatch(_NAMES, names[0]):
        return Client("", None)
    roles = [each for each in Role if each.value in found[_ORGANISATION]]
    return Client(names[0], max(roles, key=list(Role).index, default=None))


def end_of(certificate: Mapping[str, object]) -> float:
    """When it ends, in Unix seconds, from `ssl.SSLSocket.getpeercert()`.

    Raises:
        ValueError: it does not say so.
    """
    return ssl.cert_time_to_seconds(str(certificate.get("notAfter")))


def origin(address: str) -> str:
    """An address as it is shown: IPv4 as such where it came by an IPv6 socket, without a zone."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def network(shown: str) -> str:
    """Whom connections without a certificate are counted for: an IPv4 address, or an IPv6 /64."""
    if ":" not in shown:
        return shown
    return str(ipaddress.IPv6Network((shown, 64), strict=False))
