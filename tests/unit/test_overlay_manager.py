import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

import pytest

from etcd_model import EtcdModel
from hostkit.etcd import Client, Compare, Operation, Outcome, Unavailable
from hostkit.timing import Timing
from overlay import holding as life
from overlay.choose import Exhausted, Why
from overlay.holding import Holding, Task
from overlay.lease import Lease, Terms, parse_subnets
from overlay.manager import (
    ConfigurationChanged,
    ConfigurationMissing,
    Contended,
    Lost,
    Manager,
    Store,
)
from overlay.network import NetworkConfigError
from overlay.tend import tend
from overlay_hosts import PREFIX, dice

CONFIG = f"{PREFIX}/config"
SMALL = b'{"Network":"10.5.0.0/28"}'  # three subnets
LARGE = b'{"Network":"10.0.0.0/8"}'
USED = f"{PREFIX}/bedplate/used/"


def key(number: int) -> str:
    return f"{PREFIX}/subnets/10.5.0.{4 * number}-30"


def terms(number: int, mac: str = "") -> Terms:
    data = {"VtepMAC": mac} if mac else {}
    return Terms(IPv4Address(0x0A000000 + number), backend="vxlan", data=data)


class Before:
    """An etcd in which something happens just before a transaction."""

    def __init__(self, etcd: EtcdModel, *happens: Callable[[], object]) -> None:
        self._etcd = etcd
        self._happens = list(happens)
        self.get, self.list = etcd.get, etcd.list
        self.grant, self.keep_alive, self.revoke = etcd.grant, etcd.keep_alive, etcd.revoke

    def transact(
        self,
        compare: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
    ) -> Outcome:
        if self._happens:
            self._happens.pop(0)()
        return self._etcd.transact(compare, then, otherwise)


@pytest.fixture
def etcd() -> EtcdModel:
    made = EtcdModel(now=100.0)
    made.put(CONFIG, SMALL)
    return made


def manager(store: Store, etcd: EtcdModel, random: Random | None = None) -> Manager:
    return Manager(store, PREFIX, 60, random=random or dice(1), now=lambda: etcd.now)


def join(etcd: EtcdModel, number: int, previous: str | None = None) -> Lease:
    member = manager(etcd, etcd)
    subnets = parse_subnets(previous) if previous else None
    return member.acquire(member.configuration(), terms(number), subnets).lease


def fails() -> None:
    raise Unavailable("silent", applied=True)


def test_the_client_is_a_store() -> None:
    store: type[Store] = Client
    assert store


def test_a_join_is_one_transaction(etcd: EtcdModel) -> None:
    member = manager(etcd, etcd)
    configuration = member.configuration()
    before, reads = etcd.transactions, etcd.reads
    acquired = member.acquire(configuration, terms(1))
    assert etcd.transactions - before == acquired.transactions == 1
    assert etcd.reads - reads == 2
    assert (acquired.sent, acquired.seconds, acquired.why) == (100.0, 60, Why.NEVER_USED)
    lease = acquired.lease
    item = etcd.keys[f"{PREFIX}/subnets/{lease.subnets}"]
    assert (item.value, item.lease) == (terms(1).encode(), lease.lease)
    assert item.mod_revision == lease.revision
    used = etcd.keys[f"{USED}{lease.subnets}"]
    assert (used.value, used.lease, used.mod_revision) == (b"10.0.0.1", 0, lease.revision)
    assert member.leases().leases == (lease,)


def test_a_second_join_of_the_same_host_keeps_the_subnet(etcd: EtcdModel) -> None:
    first = join(etcd, 1)
    etcd.now = 110.0
    again = join(etcd, 1)
    assert again.subnets == first.subnets
    assert again.lease != first.lease
    etcd.move(161.0)  # the first etcd lease ends, and takes nothing along
    assert etcd.keys[f"{PREFIX}/subnets/{first.subnets}"].lease == again.lease


def test_the_previous_subnet_is_taken_without_reading_history(etcd: EtcdModel) -> None:
    reads = etcd.reads
    assert str(join(etcd, 1, "10.5.0.12-30").subnets) == "10.5.0.12-30"
    assert etcd.reads - reads == 2  # the configuration and the leases


def test_never_used_first_then_the_longest_expired(etcd: EtcdModel) -> None:
    one, two = join(etcd, 1), join(etcd, 2)
    etcd.move(130.0)
    manager(etcd, etcd).renew(one)  # so the second is gone for longer
    etcd.move(300.0)
    three = join(etcd, 3)
    assert three.subnets not in (one.subnets, two.subnets)
    assert join(etcd, 4).subnets == two.subnets
    assert join(etcd, 5).subnets == one.subnets


def test_a_lost_race_picks_again_with_the_same_etcd_lease(etcd: EtcdModel) -> None:
    """Another host takes just what this one has chosen."""
    chosen = join(EtcdModel(keys=dict(etcd.keys)), 1)
    rival = Before(etcd, lambda: join(etcd, 2, str(chosen.subnets)))
    member = manager(rival, etcd)
    acquired = member.acquire(member.configuration(), terms(1))
    assert acquired.transactions == 2
    assert acquired.lease.subnets != chosen.subnets
    assert len(etcd.ends) == 2


def test_when_all_are_taken_what_was_granted_is_given_back(etcd: EtcdModel) -> None:
    join(etcd, 1), join(etcd, 2)
    rival = Before(etcd, lambda: join(etcd, 3))
    member = manager(rival, etcd)
    with pytest.raises(Exhausted, match="holds 3 hosts"):
        member.acquire(member.configuration(), terms(4))
    assert len(etcd.ends) == 3


def test_a_broken_lease_is_told_and_not_taken(etcd: EtcdModel) -> None:
    etcd.put(key(1), b"\xff")
    etcd.put(f"{PREFIX}/subnets/nonsense", b"{}")
    subnets = {str(join(etcd, number).subnets) for number in (2, 3)}
    assert subnets == {"10.5.0.8-30", "10.5.0.12-30"}
    assert len(manager(etcd, etcd).leases().broken) == 2
    with pytest.raises(Exhausted):
        join(etcd, 4)


def test_a_configuration_that_changes_meanwhile_is_read_again(etcd: EtcdModel) -> None:
    member = manager(Before(etcd, lambda: etcd.put(CONFIG, LARGE)), etcd)
    with pytest.raises(ConfigurationChanged, match=CONFIG):
        member.acquire(member.configuration(), terms(1))
    assert not etcd.ends
    assert member.leases().leases == ()


def test_a_missing_or_wrong_configuration_is_told(etcd: EtcdModel) -> None:
    etcd.put(CONFIG, b'{"Network":"x"}')
    with pytest.raises(NetworkConfigError, match=f"{CONFIG}: Network: expected"):
        manager(etcd, etcd).configuration()
    etcd.delete(CONFIG)
    with pytest.raises(ConfigurationMissing, match=CONFIG):
        manager(etcd, etcd).configuration()


def test_a_first_configuration_is_written_once(etcd: EtcdModel) -> None:
    first = Manager(etcd, PREFIX, 60, first=LARGE)
    assert first.configuration().network.hosts == 3
    etcd.delete(CONFIG)
    assert first.configuration().network.hosts == 65535
    assert etcd.keys[CONFIG].value == LARGE


def test_an_unanswered_join_is_found_again(etcd: EtcdModel) -> None:
    def lose(compare: Sequence[Compare], *operations: Sequence[Operation]) -> Outcome:
        EtcdModel.transact(etcd, compare, *operations)
        raise Unavailable("silent", applied=True)

    store = Before(etcd)
    store.transact = lose  # type: ignore[method-assign,assignment]
    member = manager(store, etcd)
    with pytest.raises(Unavailable):
        member.acquire(member.configuration(), terms(1))
    there = manager(etcd, etcd).leases().leases[0]
    assert join(etcd, 1).subnets == there.subnets


def test_a_reservation_of_ours_stays_one(etcd: EtcdModel) -> None:
    etcd.put(key(2), b'{"PublicIP":"10.0.0.1"}')
    member = manager(etcd, etcd)
    acquired = member.acquire(member.configuration(), terms(1))
    assert (acquired.why, acquired.seconds) == (Why.RESERVATION, math.inf)
    assert etcd.keys[key(2)].lease == 0
    assert etcd.keys[key(2)].value == terms(1).encode()
    assert not etcd.ends
    assert member.renew(acquired.lease).seconds == math.inf
    member.release(acquired.lease)
    assert key(2) in etcd.keys


def test_the_reservation_of_another_host_is_never_taken(etcd: EtcdModel) -> None:
    etcd.put(key(2), b'{"PublicIP":"10.0.0.9"}')
    found = {str(join(etcd, number, "10.5.0.8-30").subnets) for number in (1, 2)}
    assert found == {"10.5.0.4-30", "10.5.0.12-30"}
    with pytest.raises(Exhausted):
        join(etcd, 3, "10.5.0.8-30")


def test_a_renewal_keeps_the_lease_and_marks_its_use(etcd: EtcdModel) -> None:
    lease = join(etcd, 1)
    etcd.move(150.0)
    renewed = manager(etcd, etcd).renew(lease)
    assert (renewed.lease, renewed.sent, renewed.seconds) == (lease, 150.0, 60)
    assert etcd.keys[f"{USED}{lease.subnets}"].mod_revision == etcd.revision
    etcd.move(200.0)
    assert manager(etcd, etcd).leases().leases == (lease,)


def test_a_lease_that_ended_is_lost(etcd: EtcdModel) -> None:
    lease = join(etcd, 1)
    etcd.move(160.0)
    with pytest.raises(Lost, match=f"{lease.subnets} has ended"):
        manager(etcd, etcd).renew(lease)
    with pytest.raises(Lost):
        manager(etcd, etcd).update(lease, terms(1, "m"))


def test_a_deleted_key_is_lost(etcd: EtcdModel) -> None:
    lease = join(etcd, 1)
    etcd.delete(f"{PREFIX}/subnets/{lease.subnets}")
    with pytest.raises(Lost, match="deleted"):
        manager(etcd, etcd).renew(lease)


@pytest.mark.parametrize("value", [terms(2).encode(), b"x"])
def test_a_key_that_is_anothers_is_lost(etcd: EtcdModel, value: bytes) -> None:
    lease = join(etcd, 1)
    etcd.put(f"{PREFIX}/subnets/{lease.subnets}", value)
    with pytest.raises(Lost):
        manager(etcd, etcd).renew(lease)


def test_a_lease_that_was_made_a_reservation_is_one_now(etcd: EtcdModel) -> None:
    lease = join(etcd, 1)
    etcd.put(f"{PREFIX}/subnets/{lease.subnets}", terms(1).encode())
    renewed = manager(etcd, etcd).renew(lease)
    assert renewed.lease.reservation
    assert renewed.seconds == math.inf


def test_a_full_store_does_not_end_a_lease(etcd: EtcdModel) -> None:
    lease = join(etcd, 1)
    etcd.move(140.0)
    renewed = manager(Before(etcd, fails), etcd).renew(lease)
    assert (renewed.seconds, renewed.problem) == (60, "silent")


def test_a_full_store_is_told(etcd: EtcdModel) -> None:
    lease = join(etcd, 1)
    etcd.move(140.0)
    asked = manager(Before(etcd, fails), etcd)
    holding = tend(
        asked,
        Timing(60, 10),
        Holding(lease=lease, until=etcd.now + 5),
        Task.RENEW,
        configuration=manager(etcd, etcd).configuration(),
        terms=lease.terms,
        random=dice(1),
    )
    assert (holding.lease, holding.problem, holding.failures) == (lease, "silent", 0)
    assert holding.may_forward(etcd.now)


def test_new_terms_are_put_on_the_same_etcd_lease(etcd: EtcdModel) -> None:
    lease = join(etcd, 1)
    moved = manager(etcd, etcd).update(lease, terms(7, "m"))
    assert moved == replace(lease, terms=terms(7, "m"), revision=etcd.revision)
    assert manager(etcd, etcd).leases().leases == (moved,)
    # The answer to the same change was lost: it is found done.
    assert manager(etcd, etcd).update(lease, terms(7, "m")) == moved


def test_terms_of_a_lease_that_is_anothers_are_not_changed(etcd: EtcdModel) -> None:
    lease = join(etcd, 1)
    subnets_key = f"{PREFIX}/subnets/{lease.subnets}"
    etcd.put(subnets_key, terms(2).encode())
    with pytest.raises(Lost, match=r"of 10\.0\.0\.2"):
        manager(etcd, etcd).update(lease, terms(1, "m"))
    assert etcd.keys[subnets_key].value == terms(2).encode()


def test_a_released_subnet_is_free(etcd: EtcdModel) -> None:
    leases = [join(etcd, number) for number in (1, 2, 3)]
    manager(etcd, etcd).release(leases[1])
    assert join(etcd, 4).subnets == leases[1].subnets


def test_an_etcd_lease_that_ends_while_joining_is_no_lost_race(etcd: EtcdModel) -> None:
    member = manager(Before(etcd, lambda: etcd.move(etcd.now + 60)), etcd)
    with pytest.raises(Contended):
        member.acquire(member.configuration(), terms(1))


# --- A step of a lease's life ---------------------------------------------------------------------

TIMING = Timing(ttl=60, margin=20)


def tended(store: Store, etcd: EtcdModel, holding: Holding, number: int, mac: str = "") -> Holding:
    member = manager(store, etcd)
    task = life.next_step(holding, etcd.now).task
    return tend(
        member,
        TIMING,
        holding,
        task,
        configuration=manager(etcd, etcd).configuration(),
        terms=terms(number, mac),
        random=dice(1),
    )


def test_a_life_in_steps(etcd: EtcdModel) -> None:
    holding = tended(etcd, etcd, Holding(), 1)
    assert holding.lease
    assert holding.until == 140.0
    etcd.move(holding.due)
    assert life.next_step(holding, etcd.now).task is Task.RENEW
    holding = tended(etcd, etcd, holding, 1, "new")
    assert holding.lease
    assert holding.lease.terms == terms(1, "new")
    assert holding.until == etcd.now + 40.0
    # While it waits nothing is done.
    assert tended(etcd, etcd, holding, 1, "newer") == holding


def test_a_failure_is_told_and_tried_again(etcd: EtcdModel) -> None:
    holding = tended(Before(etcd, fails), etcd, Holding(), 1)
    assert (holding.lease, holding.problem, holding.failures) == (None, "silent", 1)
    assert 100.5 <= holding.due <= 101.0


def test_a_virtual_machine_that_was_stopped_for_long_fences_when_it_hears(etcd: EtcdModel) -> None:
    """Its clocks stood still, so it thinks that it may forward: etcd's answer ends that."""
    holding = tended(etcd, etcd, Holding(), 1)
    etcd.move(500.0)
    woken = life.hurry(holding, 101.0)
    assert woken.may_forward(101.0)
    found = tend(
        manager(etcd, etcd),
        TIMING,
        woken,
        life.next_step(woken, 101.0).task,
        configuration=manager(etcd, etcd).configuration(),
        terms=terms(1),
        random=dice(1),
    )
    assert life.next_step(found, 101.0).task is Task.FENCE


def test_a_lease_outside_of_a_new_network_is_given_up(etcd: EtcdModel) -> None:
    holding = tended(etcd, etcd, Holding(), 1)
    etcd.put(CONFIG, b'{"Network":"10.6.0.0/16"}')
    holding = tended(etcd, etcd, life.hurry(holding, etcd.now), 1)
    assert life.next_step(holding, etcd.now).task is Task.FENCE


# --- Many hosts -----------------------------------------------------------------------------------


def test_2000_hosts_join_at_once(etcd: EtcdModel) -> None:
    """All of them have read the leases before the first one writes: nobody sees any other."""
    etcd.put(CONFIG, LARGE)
    configuration = manager(etcd, etcd).configuration()
    nobody = etcd.list(f"{PREFIX}/subnets/")
    transactions, subnets = 0, set()
    for number in range(2000):
        store = Before(etcd)
        answers = [etcd.list, lambda _: nobody, lambda _: nobody]
        store.list = lambda prefix, a=answers: a.pop()(prefix) if a else etcd.list(prefix)  # type: ignore[misc]
        acquired = manager(store, etcd, dice(number)).acquire(configuration, terms(number + 1))
        transactions += acquired.transactions
        subnets.add(acquired.lease.subnets)
    assert len(subnets) == 2000
    assert transactions < 1.2 * 2000
