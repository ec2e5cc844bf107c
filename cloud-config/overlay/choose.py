"""Which subnets a host takes. Pure; what is chosen is only had once etcd has agreed.

The order: the host's own lease (a reservation first); what it had before, if nobody has it now;
one that nobody ever had, at random; the one whose last holder has been gone for longest. Flannel
picks among the first hundred free ones, so hosts that join at once meet often: here all the
never-used ones are as likely as each other, and two of 2,000 hosts rarely meet in 65,535.

Subnets of both families are paired by their number in their range. So the key of one pair is the
key of both its subnets, and one create-if-absent keeps two hosts apart in both families; were the
two chosen freely, as flannel does, `A&X` and `A&Y` would be two keys, and both would be absent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from overlay.lease import Lease, Leases, Subnets, Terms
from overlay.network import NetworkConfig
from updater.errors import BedplateError

# Among how many of the longest-expired the next try picks, after this many lost races: all who
# join at once see the same oldest one, and one at a time would win it.
_SPREAD = 8


class Exhausted(BedplateError):  # noqa: N818 - flannel's word is "out of subnets"
    """Every subnet of the network has a holder."""


class Why(StrEnum):
    """What a choice rests on."""

    RESERVATION = "reservation"
    OWN = "own lease"
    PREVIOUS = "previous subnet"
    NEVER_USED = "never used"
    LONGEST_EXPIRED = "longest expired"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to take; `existing` is our own lease that has it already."""

    subnets: Subnets
    why: Why
    existing: Lease | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """Subnets that someone had; at `revision` of etcd they were last known to be held."""

    subnets: Subnets
    revision: int


def remembered(
    config: NetworkConfig, leases: Leases, terms: Terms, previous: Subnets | None
) -> Choice | None:
    """What this host has or had, if the network's configuration still allows it.

    Args:
        terms: the host's own; its public address is what its lease is known by.
        previous: what `subnet.env` has.
    """
    own = [
        lease
        for lease in leases.leases
        if lease.terms.same_host(terms)
        and config.holds(lease.subnets)
        and not _contested(lease, leases)
    ]
    if own:
        best = max(
            own, key=lambda each: (each.reservation, each.subnets == previous, each.revision)
        )
        return Choice(best.subnets, Why.RESERVATION if best.reservation else Why.OWN, best)
    if previous is None or _number(config, previous) is None:
        return None
    if any(previous.overlaps(taken) for taken in leases.taken()):
        return None
    return Choice(previous, Why.PREVIOUS)


def _contested(lease: Lease, leases: Leases) -> bool:
    """Whether another key has some of the same addresses, such as one of another `SubnetLen`."""
    return any(lease.subnets.overlaps(taken) for taken in leases.taken() if taken != lease.subnets)


def fresh(
    config: NetworkConfig,
    leases: Leases,
    history: Iterable[Used],
    random: Random,
    *,
    lost: int = 0,
) -> Choice:
    """Subnets that nobody has.

    Args:
        history: who had what; what was had under another `SubnetLen` counts where it fits.
        lost: how many races for subnets of this choice were lost just now.

    Raises:
        Exhausted: there are none.
    """
    taken = [span for subnets in leases.taken() for span in _spans(config, subnets)]
    used: dict[int, int] = {}
    for each in history:
        for first, last in _spans(config, each.subnets):
            if first == last and 0 <= first < config.hosts:
                used[first] = max(each.revision, used.get(first, 0))
    number = _pick(config.hosts, [*taken, *((each, each) for each in used)], random)
    why = Why.NEVER_USED
    if number is None:
        number = _longest_expired(taken, used, random, _SPREAD**lost)
        why = Why.LONGEST_EXPIRED
    if number is None:
        held = " and ".join(str(each.network) for each in (config.ipv4, config.ipv6) if each)
        raise Exhausted(
            f"the network {held} holds {config.hosts} hosts and each subnet has its holder; "
            "delete the lease of a host that is gone, or make the network larger"
        )
    return Choice(_subnets(config, number), why)


def _subnets(config: NetworkConfig, number: int) -> Subnets:
    return Subnets(
        config.ipv4.subnet(number) if config.ipv4 else None,
        config.ipv6.subnet(number) if config.ipv6 else None,
    )


def _number(config: NetworkConfig, subnets: Subnets) -> int | None:
    """The number of a pair; None if the network has no such pair."""
    if not config.holds(subnets):
        return None
    spans = {*_spans(config, subnets)}
    return spans.pop()[0] if len(spans) == 1 else None


def _spans(config: NetworkConfig, subnets: Subnets) -> Iterator[tuple[int, int]]:
    """The numbers, first and last, that these subnets overlap in each family."""
    if config.ipv4 and subnets.ipv4:
        yield config.ipv4.span(subnets.ipv4)
    if config.ipv6 and subnets.ipv6:
        yield config.ipv6.span(subnets.ipv6)


def _gaps(count: int, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is left of 0 to count - 1, as the first number and the one after the last."""
    start = 0
    for first, last in sorted(spans):
        if first >= count:
            break
        if first > start:
            yield start, first
        start = max(start, last + 1)
    if start < count:
        yield start, count


def _pick(count: int, spans: Iterable[tuple[int, int]], random: Random) -> int | None:
    """One of the numbers that are left, each as likely as the others; None if none is left."""
    gaps = list(_gaps(count, spans))
    left = sum(end - start for start, end in gaps)
    if left == 0:
        return None
    place = random.randrange(left)
    for start, end in gaps:
        if place < end - start:
            return start + place
        place -= end - start
    raise AssertionError("unreachable: place is below the sum of the gaps")


def _longest_expired(
    taken: Iterable[tuple[int, int]], used: dict[int, int], random: Random, among: int
) -> int | None:
    """One of the `among` longest expired that nobody has; None when all are held."""
    free = [
        number
        for start, end in _gaps(max(used, default=-1) + 1, taken)
        for number in range(start, end)
        if number in used
    ]
    oldest = sorted(free, key=lambda number: used[number])[:among]
    return random.choice(oldest) if oldest else None
