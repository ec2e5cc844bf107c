"""nftables rules: containers reach what is outside of the network by their host's address.

Sources: flannel's pkg/trafficmngr/nftables, but for two of its rules. Its accepts in `forward` are
left out: in nftables an accept ends the one chain that it is in, so that none can undo what
another table drops (nft(8), VERDICT STATEMENT). And it masquerades what comes from outside of the
network to a container of another host, which is not traffic that leaves the network.
"""

from ipaddress import IPv4Network, IPv6Network

from hostkit import nftables
from updater.programs import run

_FAMILY, _NAME = "inet", "bedplate-overlay"
_TABLE = f"{_FAMILY} {_NAME}"
# Before the chains of others, `srcnat`: the first that decides on a connection decides.
_CHAIN = "type nat hook postrouting priority srcnat - 10; policy accept;"


def make_table(ipv4: IPv4Network | None, ipv6: IPv6Network | None, *, masquerade: bool) -> str:
    """The table for a network, as `nft -s list table` tells it, so that texts can be compared.

    Inside of the network every packet keeps its source address: podman's own rules masquerade all
    that leaves a container's subnet, and peers would see the host in place of the container.
    """
    rules: list[str] = []
    for family, network, multicast in (
        ("ip", ipv4, "224.0.0.0/4"),
        ("ip6", ipv6, "ff00::/8"),
    ):
        if network is None:
            continue
        source = f"{family} saddr {network} {family} daddr"
        rules.append(f"{source} {network} snat {family} to {family} saddr")
        if masquerade:
            rules.append(f"{source} != {multicast} masquerade fully-random")
    lines = "".join(f"\t\t{line}\n" for line in (_CHAIN, *rules))
    return f"table {_TABLE} {{\n\tchain postrouting {{\n{lines}\t}}\n}}\n"


def observe() -> str:
    """The table as it is, empty if there is none.

    Raises:
        ProgramError: nft cannot tell.
    """
    return nftables.observe(_FAMILY, _NAME)


def put(table: str) -> None:
    """Let the table be this one, in one transaction; connections are kept.

    Raises:
        ProgramError: nft refuses it.
    """
    run(("nft", f"destroy table {_TABLE}\n{table}"))


def remove() -> None:
    """Take the table away, if there is one.

    Raises:
        ProgramError: nft refuses that.
    """
    run(("nft", f"destroy table {_TABLE}"))
