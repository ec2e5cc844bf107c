"""The subnets that hosts may have, by flannel's rules for `Network`, `SubnetLen`, Min and Max.

Source: `CheckNetworkConfig` in flannel's `pkg/subnet/config.go`.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

from overlay.document import Reader

NetworkT = TypeVar("NetworkT", IPv4Network, IPv6Network)
RANGE_KEYS = ("Network", "SubnetLen", "SubnetMin", "SubnetMax")


@dataclass(frozen=True, slots=True)
class Range(Generic[NetworkT]):
    """The subnets that hosts may have of one family: from `first` to `last`, both included.

    They are counted from 0 at `first`.
    """

    network: NetworkT
    subnet_length: int
    first: NetworkT
    last: NetworkT

    @property
    def count(self) -> int:
        """How many subnets there are."""
        return self.index(self.last) + 1

    def subnet(self, index: int) -> NetworkT:
        """The subnet with this number."""
        start = int(self.first.network_address) + (index << self._shift)
        return type(self.first)((start, self.subnet_length))

    def index(self, network: NetworkT) -> int:
        """The number of the subnet in which a network begins; outside of the range: of none."""
        return self.span(network)[0]

    def span(self, network: NetworkT) -> tuple[int, int]:
        """The numbers of the first and the last subnet that a network overlaps, uncut."""
        start = int(network.network_address) - int(self.first.network_address)
        last = start + (1 << (network.max_prefixlen - network.prefixlen)) - 1
        return start >> self._shift, last >> self._shift

    def holds(self, network: NetworkT | None) -> bool:
        """Whether this is one of the subnets."""
        return (
            network is not None
            and network.prefixlen == self.subnet_length
            and 0 <= self.index(network) < self.count
        )

    def meets(self, network: IPv4Network | IPv6Network) -> bool:
        """Whether a network has an address in one of the subnets."""
        return (
            network.version == self.first.version
            and int(network.broadcast_address) >= int(self.first.network_address)
            and int(network.network_address) <= int(self.last.broadcast_address)
        )

    @property
    def _shift(self) -> int:
        return self.first.max_prefixlen - self.subnet_length


@dataclass(frozen=True, slots=True)
class Family(Generic[NetworkT]):
    """What flannel's rules say of one family; `usual` is the length for roomy networks."""

    kind: type[NetworkT]
    prefix: str
    longest: int
    usual: int
    reserved: tuple[NetworkT, ...]
    example: str


IPV4 = Family(
    kind=IPv4Network,
    prefix="",
    longest=30,
    usual=24,
    reserved=tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4"))),
    example="10.5.0.0/16",
)
IPV6 = Family(
    kind=IPv6Network,
    prefix="IPv6",
    longest=126,
    usual=64,
    reserved=tuple(map(IPv6Network, ("::/8", "fe80::/10", "ff00::/8"))),
    example="fd00:5::/48",
)


def read_range(reader: Reader, family: Family[NetworkT]) -> Range[NetworkT] | None:
    """The subnets of one family; None when something is wrong with them."""
    before = len(reader.problems)
    network = _network(reader, family)
    given = reader.number(f"{family.prefix}SubnetLen", 1, family.longest, 0)
    if network is None or len(reader.problems) > before:
        return None
    length = _length(reader, family, network, given)
    if length is None:
        return None
    size = 1 << (network.max_prefixlen - length)
    # The first subnet is left out unless asked for: its first address is that of the network.
    first = _bound(reader, family, "SubnetMin", network, length)
    last = _bound(reader, family, "SubnetMax", network, length)
    if first is None:
        first = family.kind((int(network.network_address) + size, length))
    if last is None:
        last = family.kind((int(network.broadcast_address) + 1 - size, length))
    if len(reader.problems) == before and first > last:
        reader.problems.append(
            f"{family.prefix}SubnetMin: {first.network_address} is after {family.prefix}SubnetMax "
            f"{last.network_address}; exchange them"
        )
    return Range(network, length, first, last) if len(reader.problems) == before else None


def _network(reader: Reader, family: Family[NetworkT]) -> NetworkT | None:
    key = f"{family.prefix}Network"
    text = reader.text(key)
    expected = f"a network such as {family.example}"
    try:
        network = family.kind(text, strict=False) if "/" in text else None
    except ValueError:
        network = None
    if network is None:
        reader.bad(key, expected)
        return None
    for reserved in family.reserved:
        if network.overlaps(reserved):
            reader.bad(key, f"{expected}, outside of {reserved}, which is not for hosts")
            return None
    if str(network.network_address) != text.partition("/")[0].lower():
        # Flannel cuts it in silence; to refuse it would part us from a cluster that works.
        reader.warnings.append(f"{reader.path}{key}: {text} is taken as {network}")
    return network


def _length(reader: Reader, family: Family[NetworkT], network: NetworkT, given: int) -> int | None:
    """The subnets' length, which must leave room for four of them."""
    least = network.prefixlen + 2
    if least > family.longest:
        reader.bad(
            f"{family.prefix}Network",
            f"room for four subnets of /{family.longest} each, so at most /{family.longest - 2}",
        )
        return None
    if given == 0:
        return max(family.usual, least)
    if given < least:
        reader.bad(
            f"{family.prefix}SubnetLen",
            f"from {least} to {family.longest}, so that at least four subnets fit into {network}",
        )
        return None
    return given


def _bound(
    reader: Reader, family: Family[NetworkT], name: str, network: NetworkT, length: int
) -> NetworkT | None:
    """The subnet that begins at an address; None when it is not given, or wrong."""
    key = f"{family.prefix}{name}"
    text = reader.text(key)
    if text == "":
        return None
    expected = f"the first address of one of the /{length} subnets of {network}"
    try:
        start = int(type(network.network_address)(text))
        if start == 0:
            return None  # what Go makes of an absent address
        bound = family.kind((start, length))
    except ValueError:
        bound = None
    if bound is None or not bound.subnet_of(network):
        reader.bad(key, expected)
        return None
    return bound
