"""Others' changes wake the agent, its own do not."""

import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from network import Host, Network, wait_for
from overlay.backends.vxlan import Vxlan
from overlay.lease import Lease, Subnets, Terms
from overlay.netlink import Kernel
from overlay.network import VxlanConfig
from overlay.notices import Notices, Topic
from overlay.outer import Wish, choose
from overlay.plan import make_plan

_OURS = Subnets(IPv4Network("10.5.1.0/24"))
_DATA = {"VNI": 1, "VtepMAC": "02:00:00:00:00:02"}
# The kernel tells of a link's state up to a second after the change (net/core/link_watch.c).
_LATE = 1.5  # seconds
_PEER = Lease(
    Subnets(IPv4Network("10.5.2.0/24")),
    Terms(IPv4Address("192.168.1.2"), None, "vxlan", _DATA),
    1,
    2,
)


@pytest.fixture
def host(network: Network) -> Host:
    return network.add_host()


@pytest.fixture
def kernel(host: Host) -> Iterator[Kernel]:
    with host.entered():
        made = Kernel()
    with made:
        yield made


@pytest.fixture
def notices(host: Host, kernel: Kernel) -> Iterator[Notices]:
    """With a device and a peer in place, and nothing left to tell."""
    settle(kernel)
    with host.entered():
        made = Notices(kernel.port)
    made.outer = "eth0"
    with made:
        until_quiet(made, _LATE)
        yield made


def settle(kernel: Kernel) -> int:
    outer = choose(kernel.surroundings(), Wish(), ipv4=True, ipv6=False)
    backend = Vxlan(VxlanConfig(), outer, "0" * 32)
    changes = make_plan(backend.desired(_OURS, [_PEER]).state, kernel.observe())
    kernel.apply(changes)
    return len(changes)


def until_quiet(notices: Notices, seconds: float = 0.3) -> set[Topic]:
    """What is told until nothing has been told for so long."""
    topics: set[Topic] = set()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if more := notices.wait(left):
            topics |= more
            end = time.monotonic() + seconds
    return topics


def wait_for_topic(notices: Notices, topic: Topic) -> None:
    wait_for(lambda: topic in notices.wait(1), f"word of {topic}")


def wait_until_settled(notices: Notices, kernel: Kernel) -> None:
    """To look and to mend comes to an end: our own changes are no reason to look again."""

    def settled() -> bool:
        return settle(kernel) == 0 and not until_quiet(notices, _LATE)

    wait_for(settled, "nothing left to tell")


@pytest.mark.parametrize(
    ("command", "topic"),
    [
        ("ip link delete flannel.1", Topic.OVERLAY),
        ("ip link set flannel.1 down", Topic.OVERLAY),
        ("ip link set flannel.1 mtu 1400", Topic.OVERLAY),
        ("ip address flush dev flannel.1", Topic.OVERLAY),
        ("ip route flush dev flannel.1", Topic.OVERLAY),
        ("ip route replace 10.5.2.0/24 via 192.168.1.254", Topic.OVERLAY),
        ("ip neigh del 10.5.2.0 dev flannel.1", Topic.OVERLAY),
        ("bridge fdb del 02:00:00:00:00:02 dev flannel.1", Topic.OVERLAY),
        ("ip address add 192.168.1.77/24 dev eth0", Topic.OUTER),
        ("ip link set eth0 mtu 1400", Topic.OUTER),
        ("ip route del default", Topic.OUTER),
        ("nft add table inet other", Topic.FIREWALL),
    ],
)
def test_a_change_by_others_is_told(
    host: Host, kernel: Kernel, notices: Notices, command: str, topic: Topic
) -> None:
    host.run(*command.split())
    wait_for_topic(notices, topic)
    if topic is Topic.OVERLAY:
        assert settle(kernel) > 0
        wait_until_settled(notices, kernel)


@pytest.mark.parametrize(
    "command",
    [
        "ip link add c1 type veth peer name c2",
        "ip neigh add 192.168.1.9 lladdr 02:00:00:00:00:09 dev eth0",
        "ip route add 10.99.0.0/16 via 192.168.1.254",
        "ip route add 10.99.0.0/16 via 192.168.1.254 table 7",
    ],
)
def test_what_is_none_of_our_business_is_not_told(
    host: Host, notices: Notices, command: str
) -> None:
    host.run(*command.split())
    assert until_quiet(notices) == set()


def test_routes_and_addresses_of_our_own_making_are_not_told(
    host: Host, kernel: Kernel, notices: Notices
) -> None:
    host.run("ip", "route", "flush", "dev", "flannel.1")
    assert until_quiet(notices) == {Topic.OVERLAY}
    assert settle(kernel) > 0
    assert until_quiet(notices) == set()


def test_every_interface_matters_while_none_is_chosen(host: Host, notices: Notices) -> None:
    notices.outer = None
    host.run("ip", "link", "add", "c1", "type", "veth", "peer", "name", "c2")
    wait_for_topic(notices, Topic.OUTER)


def test_a_flood_means_that_everything_may_have_changed(host: Host, notices: Notices) -> None:
    routes = (f"route add 10.{99 + n // 250}.{n % 250}.0/24 dev eth0" for n in range(20_000))
    host.ip(*routes)
    assert until_quiet(notices) == set(Topic)


def test_where_nothing_is_told_nobody_wakes(notices: Notices) -> None:
    """Else the thread that waits for notices takes a whole processor."""
    assert notices._ready.poll(0) == []
