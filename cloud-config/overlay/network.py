"""The network's configuration: flannel's JSON at `<prefix>/config`, parsed and judged.

Sources: flannel's `Documentation/configuration.md` and `Documentation/backends.md`, and what its
`pkg/subnet/config.go` does: the same document must mean the same to both, or two hosts of one
cluster would disagree.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from overlay.document import Reader, named, read_object
from overlay.lease import Subnets
from overlay.options import (
    BackendConfig,
    HostGwConfig,
    VxlanConfig,
    WireguardConfig,
    WireguardMode,
    read_backend,
)
from overlay.ranges import IPV4, IPV6, RANGE_KEYS, Range, read_range
from updater.errors import InputError

__all__ = [
    "BackendConfig",
    "HostGwConfig",
    "NetworkConfig",
    "NetworkConfigError",
    "Range",
    "VxlanConfig",
    "WireguardConfig",
    "WireguardMode",
    "parse",
]
_LONGEST = 64 * 1024
_KEYS = (
    *("EnableIPv4", "EnableIPv6", "EnableNFTables", "Backend", *RANGE_KEYS),
    *(f"IPv6{name}" for name in RANGE_KEYS),
)


class NetworkConfigError(InputError):
    """The document cannot be used; the message names every key, what it should be, what to do."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What all hosts of the network agree on; `warnings` tells what was ignored, and why."""

    ipv4: Range[IPv4Network] | None
    ipv6: Range[IPv6Network] | None
    backend: BackendConfig
    nftables: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def hosts(self) -> int:
        """How many hosts the network holds: of two families, the smaller one decides."""
        return min(each.count for each in (self.ipv4, self.ipv6) if each)

    def holds(self, subnets: Subnets) -> bool:
        """Whether a host may have these: of the families and lengths that are configured."""
        ipv4 = self.ipv4.holds(subnets.ipv4) if self.ipv4 else subnets.ipv4 is None
        ipv6 = self.ipv6.holds(subnets.ipv6) if self.ipv6 else subnets.ipv6 is None
        return ipv4 and ipv6

    def contains(self, subnets: Subnets) -> bool:
        """Whether they lie in the network, so that a route to them takes nothing else along."""
        return not (
            (subnets.ipv4 and not (self.ipv4 and subnets.ipv4.subnet_of(self.ipv4.network)))
            or (subnets.ipv6 and not (self.ipv6 and subnets.ipv6.subnet_of(self.ipv6.network)))
        )

    def clashes(self, addresses: Iterable[IPv4Interface | IPv6Interface]) -> tuple[str, ...]:
        """What is wrong with this network on a host whose own networks are these.

        Only the subnets that hosts may have count: flannel's own example has the hosts in a part
        of `Network` that `SubnetMin` leaves out.
        """
        return tuple(
            f"{key}: its subnets from {ours.first} to {ours.last} overlap this host's own network "
            f"{address.network}; choose another network, or leave that part out by SubnetMin and "
            "SubnetMax"
            for address in addresses
            for key, ours in (("Network", self.ipv4), ("IPv6Network", self.ipv6))
            if ours and ours.meets(address.network)
        )


def parse(text: bytes, source: str = "the network's configuration") -> NetworkConfig:
    """Read and judge the document; `source` says in messages where it is.

    Raises:
        NetworkConfigError: with all that is wrong.
    """
    try:
        document = read_object(text, _LONGEST)
    except ValueError as error:
        raise NetworkConfigError(f"{source}: {error}") from None
    reader = Reader(named(document, _KEYS))
    reader.warn_of_unknown(document, _KEYS)
    with_ipv4, with_ipv6 = reader.flag("EnableIPv4", default=True), reader.flag("EnableIPv6")
    ipv4 = read_range(reader, IPV4) if with_ipv4 else None
    ipv6 = read_range(reader, IPV6) if with_ipv6 else None
    backend = read_backend(reader, with_ipv6=with_ipv6)
    nftables = reader.flag("EnableNFTables")
    if not (ipv4 or ipv6 or reader.problems):
        reader.problems.append("EnableIPv4, EnableIPv6: at least one must be true")
    if reader.problems:
        raise NetworkConfigError(f"{source}: {'; '.join(reader.problems)}")
    return NetworkConfig(ipv4, ipv6, backend, nftables, tuple(reader.warnings))
