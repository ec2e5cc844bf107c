"""Peers followed one by one end where the plan of the whole would be."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from overlay.backends.vxlan import Vxlan
from overlay.forwarding import Forwarding, Part
from overlay.lease import Lease, Subnets, Terms
from overlay.links import State
from overlay.network import VxlanConfig, parse
from overlay.outer import Outer
from overlay.places import Places
from overlay.plan import Change, after
from overlay.settings import Settings
from overlay.settings import parse as parse_settings

if TYPE_CHECKING:
    from overlay.netlink import Kernel

_NETWORK = parse(b'{"Network": "10.5.0.0/16"}')
_OUTER = Outer(
    "eth0", 2, 1500, IPv4Interface("192.168.1.1/24"), None, IPv4Address("192.168.1.1"), None
)
_BACKEND = Vxlan(VxlanConfig(), _OUTER, "1" * 32)


class FakeKernel:
    """Holds what it is told, and counts how often it is looked at."""

    def __init__(self) -> None:
        self.state = State()
        self.looks = 0

    def observe(self) -> State:
        self.looks += 1
        return self.state

    def apply(self, changes: tuple[Change, ...]) -> None:
        self.state = after(self.state, changes)


def lease(number: int, *, host: int | None = None) -> Lease:
    host = number if host is None else host
    data = {"VNI": 1, "VtepMAC": f"02:00:00:00:00:{host:02x}"}
    terms = Terms(IPv4Address(f"192.168.1.{host}"), None, "vxlan", data)
    return Lease(Subnets(IPv4Network(f"10.5.{number}.0/24")), terms, number, number)


def part(*peers: Lease) -> Part:
    ours = Lease(Subnets(IPv4Network("10.5.1.0/24")), _BACKEND.terms, 1, 1)
    return Part(_NETWORK, _BACKEND, ours, peers)


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    text = b'{"etcd_endpoints": "http://127.0.0.1:2379"}'
    return parse_settings(text, Places(tmp_path))


@pytest.fixture
def forwarding(kernel: FakeKernel, tmp_path: Path) -> Forwarding:
    return Forwarding(cast("Kernel", kernel), Places(tmp_path))


def test_peers_are_followed_without_a_look(
    forwarding: Forwarding, kernel: FakeKernel, settings: Settings
) -> None:
    stays, goes, moves = lease(2), lease(3), lease(4)
    comes, moved = lease(5), lease(4, host=44)
    forwarding.bring(part(stays, goes, moves), settings, None)
    assert forwarding.follow(part(stays, moves, comes))
    assert forwarding.follow(part(stays, moved, comes))
    last = part(stays, moved, comes)
    wanted = forwarding.bring(last, settings, None).state
    assert kernel.state == wanted == _BACKEND.desired(last.ours.subnets, last.peers).state
    assert kernel.looks == 1


def test_what_following_leaves_goes_with_the_whole(
    forwarding: Forwarding, kernel: FakeKernel, settings: Settings
) -> None:
    stays, comes, later = lease(2), lease(3), lease(4)
    wanted = forwarding.bring(part(stays), settings, None).state
    before = forwarding.changes
    assert forwarding.follow(part(stays, comes))
    assert forwarding.changes == before + 3  # neighbour, FDB entry and route of one peer
    assert forwarding.follow(part(stays, later))
    assert forwarding.follow(part(stays))
    assert kernel.state != wanted
    forwarding.bring(part(stays), settings, None)
    assert (kernel.state, kernel.looks) == (wanted, 1)


def test_what_two_leases_of_one_host_share_stays(
    forwarding: Forwarding, kernel: FakeKernel, settings: Settings
) -> None:
    older, newer = lease(2, host=9), lease(3, host=9)
    forwarding.bring(part(older, newer), settings, None)
    assert forwarding.follow(part(newer))
    wanted = _BACKEND.desired(part().ours.subnets, [newer]).state
    assert kernel.state == wanted


def test_more_than_peers_is_for_the_whole(
    forwarding: Forwarding, kernel: FakeKernel, settings: Settings
) -> None:
    assert not forwarding.follow(part(lease(2)))
    forwarding.bring(part(lease(2)), settings, None)
    forwarding.forget()
    assert not forwarding.follow(part(lease(3)))
    forwarding.bring(part(lease(3)), settings, None)
    other = part(lease(3))
    changed = Part(parse(b'{"Network": "10.0.0.0/8"}'), _BACKEND, other.ours, other.peers)
    assert not forwarding.follow(changed)
    assert kernel.looks == 2
