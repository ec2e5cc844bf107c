"""Stable addresses, balanced by nftables: text for what is to be, and what of it is in place.

A new connection to a service's address goes to one of its ready replicas, each as likely as the
others; conntrack keeps it there. Connections of containers pass `prerouting`, those of the host
`output`. What still has a service's address after that is for a port that it does not have, or has
no ready replica: it is refused at once. Source: nft(8); kube-proxy's proxy/nftables for the reasons
to masquerade.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from hostkit import nftables
from overlay.handover import BRIDGE
from podagent.types import ServicePort
from updater.files import write_atomic
from updater.programs import run

_FAMILY, _NAME = "inet", "bedplate_services"
_TABLE = f"{_FAMILY} {_NAME}"
_PROTOCOLS = ("tcp", "udp")
# The first chain that decides on a connection decides: before podman's, and for sources (100 is
# srcnat) before the overlay's too, which is at 90 and keeps every source of its network.
_TO = "dstnat - 10"
_FROM = "80"
# A reply must come back through this host to be given the service's address again. That is so
# where a container answers another host's, and else only if it sees an address of this host: for
# connections of the host itself, and for two containers of one bridge (or a container that meets
# itself), which would answer each other directly.
_MASQUERADED = ("fib saddr type local", f'iifname "{BRIDGE}" oifname "{BRIDGE}"')
_BALANCE = "ip daddr @addresses jump balance"
_REFUSE = "ip daddr @addresses reject with icmp port-unreachable"


@dataclass(frozen=True, slots=True)
class Balanced:
    """A service, and the addresses of the ready replicas that are behind it now."""

    address: IPv4Address
    ports: tuple[ServicePort, ...]
    replicas: tuple[IPv4Address, ...]


def make_table(services: Iterable[Balanced]) -> str:
    """The table as `nft -s list table` tells it, so that texts can be compared; empty for none.

    Raises:
        ValueError: two services have one address, or a protocol is none of tcp and udp.
    """
    every = sorted(services, key=lambda each: each.address)
    addresses = [each.address for each in every]
    if len(set(addresses)) != len(addresses):
        raise ValueError(f"two services with one address among {sorted(addresses)}")
    if not every:
        return ""
    sources = [f"ct original ip daddr @addresses {which} masquerade" for which in _MASQUERADED]
    chains = (
        _chain("balance", [rule for each in every for rule in _rules(each)]),
        _chain("prerouting", [_hook("nat", "prerouting", _TO), _BALANCE]),
        _chain("output", [_hook("nat", "output", _TO), _BALANCE]),
        _chain("postrouting", [_hook("nat", "postrouting", _FROM), *sources]),
        _chain("forwarded", [_hook("filter", "forward", "filter"), _REFUSE]),
        _chain("sent", [_hook("filter", "output", "filter"), _REFUSE]),
    )
    return f"table {_TABLE} {{\n{_set(addresses)}{''.join(chains)}}}\n"


def _set(addresses: Sequence[IPv4Address]) -> str:
    """The set of all addresses, two in a line, as nft has it."""
    pairs = [", ".join(map(str, addresses[at : at + 2])) for at in range(0, len(addresses), 2)]
    elements = ",\n\t\t\t     ".join(pairs)
    return f"\tset addresses {{\n\t\ttype ipv4_addr\n\t\telements = {{ {elements} }}\n\t}}\n"


def _chain(name: str, lines: Iterable[str]) -> str:
    body = "".join(f"\t\t{line}\n" for line in lines)
    return f"\n\tchain {name} {{\n{body}\t}}\n"


def _hook(kind: str, hook: str, priority: str) -> str:
    return f"type {kind} hook {hook} priority {priority}; policy accept;"


def _rules(service: Balanced) -> Iterable[str]:
    replicas = sorted(set(service.replicas))
    for port in sorted(service.ports, key=lambda each: (each.protocol, each.port)):
        if port.protocol not in _PROTOCOLS:
            raise ValueError(f"a service's protocol is tcp or udp, not {port.protocol!r}")
        if not replicas:
            continue
        ways = ", ".join(f"{n} : {each} . {port.target:d}" for n, each in enumerate(replicas))
        yield (
            f"ip daddr {service.address} {port.protocol} dport {port.port:d} "
            f"dnat ip to numgen random mod {len(replicas)} map {{ {ways} }}"
        )


def observe() -> str:
    """The table as it is, empty if there is none.

    Raises:
        ProgramError: nft cannot tell.
    """
    return nftables.observe(_FAMILY, _NAME)


def put(table: str, path: Path) -> None:
    """Let the table be this one, in one transaction; connections are kept.

    Args:
        table: what `make_table` gave; empty: there shall be none.
        path: where the text is written for nft, as it may be longer than an argument can be.

    Raises:
        ProgramError: nft refuses it.
        OSError: the file cannot be written.
    """
    write_atomic(path, f"destroy table {_TABLE}\n{table}".encode())
    run(("nft", "-f", str(path)))
