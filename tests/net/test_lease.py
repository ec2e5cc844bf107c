"""Leases on a real etcd: joined, kept, raced for, ended."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from random import SystemRandom

import pytest

from etcd_server import Cluster, serving
from hostkit.etcd import Client, Limits
from hostkit.timing import Timing, boottime
from network import wait_for
from overlay import holding as life
from overlay.choose import Exhausted, Why
from overlay.holding import Holding, Task
from overlay.lease import Lease, Subnets, Terms
from overlay.manager import Acquired, ConfigurationChanged, Lost, Manager
from overlay.tend import tend

PREFIX = "/coreos.com/network"
PATIENT = Limits(connect_seconds=20, call_seconds=30)
# Three hosts; 65,535 hosts.
SMALL, LARGE = '{"Network":"10.5.0.0/28"}', '{"Network":"10.0.0.0/8"}'
ENOUGH = 30.0


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Cluster]:
    with serving(tmp_path) as cluster:
        cluster.put(f"{PREFIX}/config", SMALL)
        yield cluster


def terms(number: int) -> Terms:
    return Terms(IPv4Address(0xC0A80000 + number), backend="vxlan", data={"VNI": 1})


def manager(etcd: Cluster, ttl: int = 60) -> Manager:
    return Manager(Client(etcd.access(), limits=PATIENT), PREFIX, ttl)


def join(etcd: Cluster, number: int, ttl: int = 60, previous: Subnets | None = None) -> Acquired:
    host = manager(etcd, ttl)
    return host.acquire(host.configuration(), terms(number), previous)


@dataclass
class Host:
    """An agent's part that tends the lease; `fences` says how often traffic was stopped."""

    manager: Manager
    number: int
    timing: Timing
    holding: Holding = field(default_factory=Holding)
    fences: int = 0

    def step(self) -> None:
        task = life.next_step(self.holding, boottime()).task
        if task is Task.FENCE:
            self.fences += 1
            self.holding = life.fenced(self.holding, boottime())
        elif task is not Task.WAIT:
            self.holding = tend(
                self.manager,
                self.timing,
                self.holding,
                task,
                configuration=self.manager.configuration(),
                terms=terms(self.number),
                random=SystemRandom(),
            )

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Live until something is so."""

        def so() -> bool:
            self.step()
            return condition()

        wait_for(so, what, ENOUGH)


def test_a_host_that_joins_again_has_its_subnet_again(etcd: Cluster) -> None:
    first = join(etcd, 1)
    assert (first.why, first.transactions) == (Why.NEVER_USED, 1)
    again = join(etcd, 1)
    assert again.why is Why.OWN
    assert again.lease.subnets == first.lease.subnets
    found = etcd.get(f"{PREFIX}/subnets/")
    assert found == {
        f"{PREFIX}/subnets/{first.lease.subnets}": '{"PublicIP":"192.168.0.1","PublicIPv6":null,'
        '"BackendType":"vxlan","BackendData":{"VNI":1}}'
    }


def test_one_of_eight_gets_the_last_subnet(etcd: Cluster) -> None:
    join(etcd, 1)
    join(etcd, 2)
    start = threading.Barrier(8)

    def race(number: int) -> Lease | None:
        host = manager(etcd)
        configuration = host.configuration()
        start.wait(ENOUGH)
        try:
            return host.acquire(configuration, terms(number)).lease
        except Exhausted:
            return None

    with ThreadPoolExecutor(8) as pool:
        leases = [lease for lease in pool.map(race, range(11, 19)) if lease]
    (winner,) = leases
    assert manager(etcd).leases().leases.count(winner) == 1
    assert len(etcd.get(f"{PREFIX}/subnets/")) == 3


def test_many_that_join_at_once_meet_rarely(etcd: Cluster) -> None:
    etcd.put(f"{PREFIX}/config", LARGE)
    start = threading.Barrier(40)

    def race(number: int) -> Acquired:
        host = manager(etcd)
        configuration = host.configuration()
        start.wait(ENOUGH)
        return host.acquire(configuration, terms(number))

    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(race, range(1, 41)))
    assert len({each.lease.subnets for each in found}) == 40
    assert sum(each.transactions for each in found) < 1.2 * 40


def test_a_lease_that_nobody_renews_ends_and_the_longest_expired_is_taken(etcd: Cluster) -> None:
    first, second, third = join(etcd, 1, ttl=3), join(etcd, 2, ttl=60), join(etcd, 3, ttl=60)
    with pytest.raises(Exhausted, match="holds 3 hosts"):
        join(etcd, 4)

    def gone() -> bool:
        return len(manager(etcd).leases().leases) == 2

    wait_for(gone, "the first lease ends", ENOUGH)
    assert boottime() - first.sent >= 3
    with pytest.raises(Lost):
        manager(etcd).renew(first.lease)
    manager(etcd).release(third.lease)
    taken = join(etcd, 4)
    assert taken.why is Why.LONGEST_EXPIRED
    assert taken.lease.subnets == first.lease.subnets
    assert join(etcd, 5).lease.subnets == third.lease.subnets
    assert manager(etcd).renew(second.lease).seconds == 60


def test_a_lease_that_is_tended_outlives_its_time(etcd: Cluster) -> None:
    host = Host(manager(etcd, 4), 1, Timing(ttl=4, margin=1))
    host.until(lambda: host.holding.lease is not None, "it joins")
    subnets, end = host.holding.previous, boottime() + 12
    host.until(lambda: boottime() > end, "three lives are over")
    assert (host.holding.previous, host.fences) == (subnets, 0)
    assert len(etcd.get(f"{PREFIX}/subnets/")) == 1


def test_a_short_outage_is_not_felt_and_a_long_one_fences_first(etcd: Cluster) -> None:
    (member,) = etcd.members
    host = Host(manager(etcd, 12), 1, Timing(ttl=12, margin=3))
    # What the agent has read it goes on with.
    configuration = host.manager.configuration()
    host.manager.configuration = lambda: configuration  # type: ignore[method-assign]
    host.until(lambda: host.holding.lease is not None, "it joins")
    subnets = host.holding.previous
    member.stop()
    host.until(lambda: host.holding.failures > 1, "it cannot renew")
    member.start()
    host.until(lambda: host.holding.failures == 0, "it renews again")
    assert (host.holding.previous, host.fences) == (subnets, 0)
    member.stop()
    host.until(lambda: host.fences == 1, "it fences")
    assert host.holding.lease is None
    member.start()
    host.until(lambda: host.holding.lease is not None, "it joins again")
    assert host.holding.previous == subnets


def test_a_reservation_stays_one(etcd: Cluster) -> None:
    key = f"{PREFIX}/subnets/10.5.0.8-30"
    etcd.put(key, '{"PublicIP":"192.168.0.1"}')
    assert join(etcd, 2).lease.subnets != join(etcd, 3).lease.subnets
    acquired = join(etcd, 1)
    assert acquired.why is Why.RESERVATION
    assert str(acquired.lease.subnets) == "10.5.0.8-30"
    item = Client(etcd.access(), limits=PATIENT).get(key)
    assert item
    assert item.lease == 0
    assert item.value == terms(1).encode()
    assert manager(etcd).renew(acquired.lease).lease == acquired.lease


def test_terms_change_on_the_same_lease(etcd: Cluster) -> None:
    lease = join(etcd, 1).lease
    host = manager(etcd)
    moved = host.update(lease, terms(9))
    assert host.leases().leases == (moved,)
    assert (moved.lease, moved.subnets) == (lease.lease, lease.subnets)
    assert host.renew(moved).lease == moved


def test_a_network_that_changed_is_not_joined_by_its_old_configuration(etcd: Cluster) -> None:
    host = manager(etcd)
    configuration = host.configuration()
    etcd.put(f"{PREFIX}/config", LARGE)
    with pytest.raises(ConfigurationChanged):
        host.acquire(configuration, terms(1))
    assert etcd.get(f"{PREFIX}/subnets/") == {}


def test_a_lease_that_an_operator_reserves_is_a_reservation(etcd: Cluster) -> None:
    lease = join(etcd, 1, ttl=3).lease
    key = f"{PREFIX}/subnets/{lease.subnets}"
    etcd.put(key, terms(1).encode().decode())
    renewed = manager(etcd).renew(lease)
    assert renewed.lease.reservation
    granted = Client(etcd.access(), limits=PATIENT)
    wait_for(lambda: granted.time_to_live(lease.lease) < 0, "the etcd lease ends", ENOUGH)
    assert key in etcd.get(key)
