"""From what the agent knows to what it says: the state, the first fault, the times."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.backends.base import Unreachable
from overlay.holding import Holding
from overlay.lease import Lease, Subnets, Terms
from overlay.network import parse
from overlay.outer import Outer
from overlay.report import State
from overlay.view import View, build, view_peers

START = datetime(2026, 11, 22, tzinfo=UTC)
LEASE = Lease(Subnets(IPv4Network("10.5.52.0/24")), Terms(IPv4Address("192.0.2.1")), 0x1F, 7)
HELD = Holding(lease=LEASE, until=200.0, previous=LEASE.subnets)
VIEW = View(
    now=100.0,
    wall=START.timestamp(),
    margin=60,
    masquerade=True,
    holding=HELD,
    in_force=True,
    fenced=False,
    network=parse(b'{"Network": "10.5.0.0/16"}'),
    backend=None,
    outer=Outer("eth0", 2, 1500, IPv4Interface("192.0.2.1/24"), None, IPv4Address("198.51.100.1")),
    peers=(),
    host_faults=(),
    etcd_faults=(),
    notices=(),
    kernel_changes=3,
    leases_taken=1,
)


@pytest.mark.parametrize(
    ("view", "state"),
    [
        (VIEW, State.READY),
        (replace(VIEW, in_force=False), State.CUT_OFF),
        (replace(VIEW, etcd_faults=("away",)), State.CUT_OFF),
        (replace(VIEW, host_faults=("no eth0",), etcd_faults=("away",)), State.FAILING),
        (replace(VIEW, now=200.0), State.STARTING),
        (replace(VIEW, now=200.0, fenced=True), State.FENCED),
        (replace(VIEW, holding=replace(HELD, lost="deleted"), fenced=True), State.FENCED),
        (replace(VIEW, holding=Holding()), State.STARTING),
    ],
)
def test_the_state(view: View, state: State) -> None:
    assert build(view, None).state is state


def test_a_lease_has_a_fence_and_an_end() -> None:
    lease = build(VIEW, None).lease
    assert lease is not None
    assert lease.stops == START + timedelta(seconds=200)
    assert lease.ends == START + timedelta(seconds=260)
    assert (lease.subnets, lease.etcd_lease) == (("10.5.52.0/24",), "1f")


def test_a_reservation_has_neither() -> None:
    reservation = replace(HELD, until=inf, lease=replace(LEASE, lease=0))
    lease = build(replace(VIEW, holding=reservation), None).lease
    assert lease is not None
    assert (lease.stops, lease.ends, lease.etcd_lease) == (None, None, "")


def test_the_hosts_own_fault_comes_first() -> None:
    view = replace(VIEW, host_faults=("no eth0",), etcd_faults=("away",))
    assert build(view, None).fault == "no eth0"
    assert build(replace(VIEW, etcd_faults=("away",)), None).fault == "away"


def test_since_moves_with_state_and_fault_alone() -> None:
    first = build(VIEW, None)
    assert first.since == START + timedelta(seconds=100)
    later = replace(VIEW, now=150.0, kernel_changes=9)
    assert build(later, first).since == first.since
    assert build(replace(later, etcd_faults=("away",)), first).since > first.since


@given(st.integers(0, 60))
def test_notices_are_bounded(count: int) -> None:
    found = build(replace(VIEW, notices=tuple(map(str, range(count)))), None).notices
    assert len(found) == min(count, 21)
    assert (found[-1:] == (f"and {count - 20} more",)) is (count > 20)


def test_peers_have_the_reason_of_their_subnets() -> None:
    subnets = [Subnets(IPv4Network(f"10.5.{number}.0/24")) for number in (1, 2, 3)]
    leases = [replace(LEASE, subnets=each) for each in subnets]
    reasons = (Unreachable("10.5.1.0/24", "one"), Unreachable(str(subnets[1]), "two"))
    assert [each.problem for each in view_peers(leases, reasons)] == ["one", "two", ""]
