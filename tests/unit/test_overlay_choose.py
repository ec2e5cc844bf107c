import time
from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.choose import Exhausted, Used, Why, fresh, remembered
from overlay.lease import Broken, Lease, Leases, Subnets, Terms, parse_subnets
from overlay.network import parse

SMALL = parse(b'{"Network":"10.5.0.0/27","SubnetLen":30}')  # seven hosts
BOTH = parse(
    b'{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/60","IPv6SubnetLen":64}'
)
US = Terms(IPv4Address("10.0.0.1"))
OTHER = Terms(IPv4Address("10.0.0.2"))


def dice(seed: int) -> Random:
    """A source of chance that a test can have again."""
    return Random(seed)  # noqa: S311 - no secret


def lease(key: str, terms: Terms = OTHER, *, etcd: int = 1, revision: int = 1) -> Lease:
    return Lease(parse_subnets(key), terms, etcd, revision)


def all_leases(*held: Lease) -> Leases:
    return Leases(9, held)


def small(number: int) -> str:
    return f"10.5.0.{4 * number}-30"


def test_our_own_lease_first_and_of_them_a_reservation() -> None:
    own, reserved = lease(small(2), US, revision=5), lease(small(3), US, etcd=0)
    chosen = remembered(SMALL, all_leases(lease(small(1)), own), US, parse_subnets(small(4)))
    assert chosen
    assert (chosen.existing, chosen.why) == (own, Why.OWN)
    chosen = remembered(SMALL, all_leases(own, reserved), US, own.subnets)
    assert chosen
    assert (chosen.existing, chosen.why) == (reserved, Why.RESERVATION)


def test_of_two_own_leases_the_previous_one() -> None:
    first, second = lease(small(2), US, revision=5), lease(small(3), US, revision=4)
    chosen = remembered(SMALL, all_leases(first, second), US, second.subnets)
    assert chosen
    assert chosen.existing == second


def test_an_own_lease_that_is_no_more_allowed_is_left() -> None:
    outside, whole = lease("10.9.0.0-30", US), lease("10.5.0.8-29", US)
    assert remembered(SMALL, all_leases(outside, whole), US, None) is None


def test_an_own_lease_under_another_hosts_is_left() -> None:
    assert (
        remembered(SMALL, all_leases(lease(small(2), US), lease("10.5.0.8-29")), US, None) is None
    )


def test_the_previous_subnet_if_nobody_has_it() -> None:
    previous = parse_subnets(small(4))
    chosen = remembered(SMALL, all_leases(lease(small(1))), US, previous)
    assert chosen
    assert (chosen.subnets, chosen.why, chosen.existing) == (previous, Why.PREVIOUS, None)
    assert remembered(SMALL, all_leases(lease("10.5.0.16-29")), US, previous) is None
    broken = Leases(9, (), (Broken(small(4), "no JSON", previous),))
    assert remembered(SMALL, broken, US, previous) is None
    assert remembered(SMALL, all_leases(), US, parse_subnets("10.5.0.0-30")) is None


def test_a_previous_pair_of_two_families_must_be_one_of_ours() -> None:
    """`A&Y` beside a host that creates `A&X` at the same time would be two keys for A."""
    pair = parse_subnets("10.5.2.0-24&fd00:0:0:2::-64")
    assert remembered(BOTH, all_leases(), US, pair)
    assert remembered(BOTH, all_leases(), US, parse_subnets("10.5.2.0-24&fd00:0:0:3::-64")) is None


def test_never_used_ones_before_used_ones() -> None:
    held = all_leases(*(lease(small(number)) for number in (1, 2)))
    history = [Used(parse_subnets(small(number)), 10 - number) for number in (3, 4, 5, 6)]
    chosen = fresh(SMALL, held, history, dice(1))
    assert (str(chosen.subnets), chosen.why) == (small(7), Why.NEVER_USED)


def test_of_the_used_ones_the_longest_expired() -> None:
    held = all_leases(*(lease(small(number)) for number in (1, 2)))
    revisions = {1: 1, 3: 7, 4: 5, 5: 8, 6: 9, 7: 6}
    history = [Used(parse_subnets(small(number)), at) for number, at in revisions.items()]
    chosen = fresh(SMALL, held, history, dice(1))
    assert (str(chosen.subnets), chosen.why) == (small(4), Why.LONGEST_EXPIRED)


def test_losers_of_a_race_for_the_longest_expired_part() -> None:
    history = [Used(parse_subnets(small(number)), number) for number in range(1, 8)]
    found = {
        str(fresh(SMALL, all_leases(), history, dice(seed), lost=1).subnets) for seed in range(99)
    }
    assert found == {small(number) for number in range(1, 8)}


def test_when_all_are_taken_the_error_says_how_many_there_are() -> None:
    held = all_leases(*(lease(small(number)) for number in range(8)))
    history = [Used(parse_subnets(small(number)), 1) for number in range(8)]
    with pytest.raises(Exhausted, match="holds 7 hosts"):
        fresh(SMALL, held, history, dice(1))
    with pytest.raises(Exhausted):
        fresh(SMALL, all_leases(lease("10.0.0.0-8")), [], dice(1))


def test_pairs_have_one_number_and_the_smaller_family_decides() -> None:
    assert BOTH.hosts == 15
    found = {str(fresh(BOTH, all_leases(), [], dice(seed)).subnets) for seed in range(200)}
    assert found == {f"10.5.{n}.0-24&fd00:0:0:{n:x}::-64" for n in range(1, 16)}
    # A pair of flannel's own choice takes both of its numbers.
    taken = all_leases(lease("10.5.3.0-24&fd00:0:0:9::-64"))
    rest = {str(fresh(BOTH, taken, [], dice(seed)).subnets) for seed in range(200)}
    assert rest == {each for each in found if not each.startswith(("10.5.3.", "10.5.9."))}


keys = st.builds(
    lambda start, bits: str(Subnets(IPv4Network((0x0A050000 + start, bits), strict=False))),
    st.integers(0, 63),
    st.integers(27, 32),
)


@given(
    st.lists(keys), st.lists(st.tuples(keys, st.integers(1, 9))), st.integers(), st.integers(0, 3)
)
def test_what_is_chosen_is_free(
    held: list[str], history: list[tuple[str, int]], seed: int, lost: int
) -> None:
    leases = all_leases(*map(lease, held))
    used = [Used(parse_subnets(key), revision) for key, revision in history]
    free = [
        number
        for number in range(1, 8)
        if not any(parse_subnets(small(number)).overlaps(each) for each in leases.taken())
    ]
    try:
        chosen = fresh(SMALL, leases, used, dice(seed), lost=lost)
    except Exhausted:
        assert not free
        return
    assert str(chosen.subnets) in {small(number) for number in free}
    assert SMALL.holds(chosen.subnets)


def test_each_free_one_is_as_likely_as_the_others() -> None:
    held = all_leases(lease(small(2)), lease(small(5)))
    random = dice(1)
    found = Counter(str(fresh(SMALL, held, [], random).subnets) for _ in range(5000))
    assert set(found) == {small(number) for number in (1, 3, 4, 6, 7)}
    assert all(850 < count < 1150 for count in found.values())


def test_a_large_network_is_chosen_from_quickly() -> None:
    """65,535 subnets, nearly all held or once held; some seconds would be an error of order."""
    large = parse(b'{"Network":"10.0.0.0/8"}')
    assert large.ipv4
    every = [Subnets(large.ipv4.subnet(number)) for number in range(large.hosts)]
    held = all_leases(*(Lease(each, OTHER, 1, 1) for each in every[: large.hosts - 1]))
    start = time.process_time()
    chosen = fresh(large, held, [Used(each, 1) for each in every], dice(1))
    assert time.process_time() - start < 10
    assert chosen.subnets == every[-1]


def test_few_of_2000_hosts_that_choose_at_once_meet() -> None:
    large = parse(b'{"Network":"10.0.0.0/8"}')
    random = dice(1)
    chosen = Counter(fresh(large, all_leases(), [], random).subnets for _ in range(2000))
    losers = sum(count - 1 for count in chosen.values())
    assert losers < 2000 * 0.05
