"""Containers on several hosts, with real devices and leases that are given: no etcd."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import pytest

from network import Host, Link, Namespace, Network
from overlay.backends import make_backend, outer_families
from overlay.backends.base import Backend, Desired
from overlay.lease import Lease, Subnets
from overlay.links import Route, State
from overlay.netlink import Kernel
from overlay.network import (
    BackendConfig,
    HostGwConfig,
    NetworkConfig,
    Range,
    VxlanConfig,
    WireguardConfig,
    WireguardMode,
)
from overlay.outer import Wish, choose
from overlay.plan import Change, make_plan

_NETWORK, _NETWORK6 = IPv4Network("10.5.0.0/16"), IPv6Network("fd05::/48")
_PSK = "cHJlc2hhcmVkIGtleSBvZiB0aGUgdGVzdHMgISEhISE="
VXLAN, DIRECT, HOST_GW = VxlanConfig(), VxlanConfig(direct_routing=True), HostGwConfig()
WIREGUARD = [
    pytest.param(WireguardConfig(), marks=pytest.mark.wireguard, id="wireguard"),
    pytest.param(
        WireguardConfig(mode=WireguardMode.AUTO, psk=_PSK, keepalive=25),
        marks=pytest.mark.wireguard,
        id="wireguard-auto",
    ),
]
ALL = [
    pytest.param(VXLAN, id="vxlan"),
    pytest.param(DIRECT, id="direct"),
    pytest.param(HOST_GW, id="host-gw"),
    *WIREGUARD,
]
TUNNELS = [pytest.param(VXLAN, id="vxlan"), *WIREGUARD]


def network_config(backend: BackendConfig, *, dual: bool = True) -> NetworkConfig:
    subnets = list(_NETWORK.subnets(new_prefix=24))
    ipv4 = Range(_NETWORK, 24, subnets[1], subnets[-1])
    subnets6 = list(_NETWORK6.subnets(new_prefix=64))
    ipv6 = Range(_NETWORK6, 64, subnets6[1], subnets6[-1])
    return NetworkConfig(ipv4, ipv6 if dual else None, backend)


def subnets_of(number: int, *, dual: bool = True) -> Subnets:
    return Subnets(
        IPv4Network(f"10.5.{number}.0/24"),
        IPv6Network(f"fd05:0:0:{number:x}::/64") if dual else None,
    )


@dataclass
class Node:
    """A host with its backend and the kernel that it works on."""

    host: Host
    kernel: Kernel
    config: NetworkConfig
    number: int
    folder: Path

    def __post_init__(self) -> None:
        self.machine = f"{self.number:032x}"
        self.look_out()

    def look_out(self) -> None:
        """Work out the backend anew, as after a change of the outer interface."""
        ipv4, ipv6 = outer_families(self.config)
        self.outer = choose(self.kernel.surroundings(), Wish(), ipv4=ipv4, ipv6=ipv6)
        self.backend: Backend = make_backend(
            self.config,
            self.outer,
            machine_id=self.machine,
            key_file=self.folder / self.host.name / "key",
        )

    @property
    def subnets(self) -> Subnets:
        return subnets_of(self.number, dual=self.config.ipv6 is not None)

    @property
    def lease(self) -> Lease:
        return Lease(self.subnets, self.backend.terms, 1, self.number)

    @property
    def device(self) -> str:
        """The device of the tunnel for IPv4."""
        return "flannel-wg" if isinstance(self.config.backend, WireguardConfig) else "flannel.1"

    def desired(self, leases: Iterable[Lease]) -> Desired:
        return self.backend.desired(self.subnets, leases)

    def routes(self, leases: Iterable[Lease]) -> list[str]:
        """Where its routes lead, IPv4 first: to the peers' subnets, or to the whole network."""
        entries = self.desired(leases).state.entries
        found = {each.destination for each in entries if isinstance(each, Route)}
        return sorted(found, key=lambda each: ip_network(each).version)

    def settle(self, leases: Iterable[Lease]) -> tuple[Change, ...]:
        """Observe, plan and apply once; what was done."""
        with self.host.entered():
            changes = make_plan(self.desired(leases).state, self.kernel.observe())
            self.kernel.apply(changes)
        return changes

    def is_settled(self, leases: Iterable[Lease]) -> bool:
        with self.host.entered():
            return self.kernel.observe() == self.desired(leases).state

    def container(self) -> Namespace:
        ours = self.subnets
        present = [subnet for subnet in (ours.ipv4, ours.ipv6) if subnet]
        return self.host.container(*present, mtu=self.backend.mtu)

    def inside(self) -> list[str]:
        """The addresses of the container."""
        ours = self.subnets
        return [str(subnet[2]) for subnet in (ours.ipv4, ours.ipv6) if subnet]


@dataclass
class Cluster:
    """Nodes that know of each other's leases at once."""

    network: Network
    folder: Path
    stack: ExitStack

    def __post_init__(self) -> None:
        self.nodes: list[Node] = []

    def node(self, config: BackendConfig, link: Link | None = None, *, dual: bool = True) -> Node:
        host = self.network.add_host(link)
        with host.entered():
            kernel = self.stack.enter_context(Kernel())
        number = len(self.nodes) + 1
        node = Node(host, kernel, network_config(config, dual=dual), number, self.folder)
        self.nodes.append(node)
        return node

    def leases(self) -> list[Lease]:
        return [node.lease for node in self.nodes]

    def settle(self) -> None:
        for node in self.nodes:
            node.settle(self.leases())


@pytest.fixture
def cluster(network: Network, tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(network, tmp_path, stack)


def all_reach_each_other(nodes: list[Node], containers: list[Namespace]) -> None:
    for inside in containers:
        for node in nodes:
            for address in node.inside():
                assert inside.reaches(address), f"{inside.name} does not reach {address}"


@pytest.mark.parametrize("config", ALL)
def test_containers_reach_each_other(cluster: Cluster, config: BackendConfig) -> None:
    nodes = [cluster.node(config) for _ in range(3)]
    cluster.settle()
    for node in nodes:
        assert node.is_settled(cluster.leases())
        assert node.settle(cluster.leases()) == ()
    all_reach_each_other(nodes, [node.container() for node in nodes])


@pytest.mark.parametrize("config", ALL)
def test_hosts_reach_containers_of_others(cluster: Cluster, config: BackendConfig) -> None:
    one, two = cluster.node(config), cluster.node(config)
    cluster.settle()
    two.container()
    for address in two.inside():
        assert one.host.reaches(address)


@pytest.mark.parametrize("config", ALL)
@pytest.mark.parametrize("mtu", [1500, 1400])
def test_a_full_packet_passes_and_one_byte_more_does_not(
    cluster: Cluster, config: BackendConfig, mtu: int
) -> None:
    link = cluster.network.add_link(mtu)
    one, two = cluster.node(config, link), cluster.node(config, link)
    cluster.settle()
    inside, _ = one.container(), two.container()
    for address in two.inside():
        assert inside.reaches(address, size=one.backend.mtu)
        assert inside.fails_to_reach(address, size=one.backend.mtu + 1)


def test_direct_routing_takes_the_tunnel_only_between_links(cluster: Cluster) -> None:
    first, second = cluster.network.add_link(), cluster.network.add_link()
    nodes = [cluster.node(DIRECT, link) for link in (first, first, second)]
    cluster.settle()
    containers = [node.container() for node in nodes]
    all_reach_each_other(nodes, containers)
    assert f"via {nodes[1].host.address} dev eth0" in nodes[0].host.run("ip", "route")
    assert "10.5.3.0/24 via 10.5.3.0 dev flannel.1" in nodes[0].host.run("ip", "route")
    table = nodes[0].host.run("bridge", "fdb", "show", "dev", "flannel.1")
    assert str(nodes[1].host.address) not in table
    assert str(nodes[2].host.address) in table
    assert nodes[0].is_settled(cluster.leases())


def test_host_gw_says_who_is_not_on_the_link(cluster: Cluster) -> None:
    first, second = cluster.network.add_link(), cluster.network.add_link()
    near, far = cluster.node(HOST_GW, first), cluster.node(HOST_GW, second)
    cluster.settle()
    desired = near.desired(cluster.leases())
    assert desired.state == State()
    assert [each.subnet for each in desired.unreachable] == ["10.5.2.0/24", "fd05:0:0:2::/64"]
    assert "192.168.2.2 is not on our link (192.168.1.0/24)" in desired.unreachable[0].reason
    far.container()
    assert near.host.fails_to_reach(far.inside()[0])


@pytest.mark.parametrize(
    "damage",
    [
        ("link", "delete", "DEVICE"),
        ("link", "set", "DEVICE", "down"),
        ("link", "set", "DEVICE", "mtu", "1400"),
        ("route", "flush", "dev", "DEVICE"),
        ("-6", "route", "flush", "dev", "DEVICE"),
        ("address", "flush", "dev", "DEVICE"),
        ("address", "add", "10.77.0.1/24", "dev", "DEVICE"),
        ("route", "add", "10.77.0.0/16", "dev", "DEVICE"),
        ("route", "replace", "10.5.2.0/24", "dev", "DEVICE", "scope", "link"),
        ("route", "replace", "ROUTE", "via", "192.168.1.254"),
        ("-6", "route", "replace", "ROUTE6", "via", "fd00:1::fe"),
        ("route", "add", "10.5.2.0/25", "via", "10.5.2.0", "dev", "DEVICE", "onlink"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("config", TUNNELS)
def test_damage_is_mended_by_one_more_look(
    cluster: Cluster, config: BackendConfig, damage: tuple[str, ...]
) -> None:
    one, two = cluster.node(config), cluster.node(config)
    cluster.settle()
    routes = one.routes(cluster.leases())
    words = {"DEVICE": one.device, "ROUTE": routes[0], "ROUTE6": routes[1]}
    one.host.run("ip", *(words.get(word, word) for word in damage))
    one.settle(cluster.leases())
    assert one.is_settled(cluster.leases())
    two.container()
    for address in two.inside():
        assert one.host.reaches(address)


@pytest.mark.parametrize(
    "damage",
    [
        ("link", "set", "flannel.1", "address", "02:00:00:00:00:09"),
        ("neigh", "flush", "dev", "flannel.1", "nud", "all"),
        ("neigh", "replace", "10.5.2.0", "lladdr", "02:00:00:00:00:09", "dev", "flannel.1"),
        ("neigh", "add", "10.77.0.1", "lladdr", "02:00:00:00:00:09", "dev", "flannel.1"),
        ("-6", "neigh", "flush", "dev", "flannel-v6.1", "nud", "all"),
        ("FDB", "del", "PEER", "dev", "flannel.1"),
        ("FDB", "replace", "PEER", "dev", "flannel.1", "dst", "192.168.1.77"),
        ("FDB", "add", "02:00:00:00:00:09", "dev", "flannel.1", "dst", "192.168.1.77"),
    ],
    ids=" ".join,
)
def test_damage_to_vxlan_is_mended_by_one_more_look(
    cluster: Cluster, damage: tuple[str, ...]
) -> None:
    one, two = cluster.node(VXLAN), cluster.node(VXLAN)
    cluster.settle()
    mac = str(two.backend.terms.data["VtepMAC"])
    words = [mac if word == "PEER" else word for word in damage]
    program = ["bridge", "fdb", *words[1:]] if words[0] == "FDB" else ["ip", *words]
    one.host.run(*program)
    assert not one.is_settled(cluster.leases())
    one.settle(cluster.leases())
    assert one.is_settled(cluster.leases())
    two.container()
    for address in two.inside():
        assert one.host.reaches(address)


def test_only_our_routes_on_the_outer_interface_are_removed(cluster: Cluster) -> None:
    one, _ = cluster.node(HOST_GW), cluster.node(HOST_GW)
    one.host.run("ip", "route", "add", "10.99.0.0/16", "via", "192.168.1.254")
    cluster.settle()
    assert "10.5.2.0/24 via 192.168.1.2 dev eth0 proto 113" in one.host.run("ip", "route")
    one.settle([])
    table = one.host.run("ip", "route")
    assert "10.5.2.0/24" not in table
    assert "10.99.0.0/16" in table
    assert "default via" in table


@pytest.mark.parametrize("config", ALL)
def test_a_peer_that_leaves_is_reached_no_more(cluster: Cluster, config: BackendConfig) -> None:
    one, two = cluster.node(config), cluster.node(config)
    cluster.settle()
    two.container()
    assert one.host.reaches(two.inside()[0])
    one.settle([one.lease])
    assert one.host.fails_to_reach(two.inside()[0])
    one.settle(cluster.leases())
    assert one.host.reaches(two.inside()[0])


@pytest.mark.parametrize("config", ALL)
def test_a_peer_that_moves_is_followed(cluster: Cluster, config: BackendConfig) -> None:
    one, two = cluster.node(config), cluster.node(config)
    cluster.settle()
    two.container()
    two.host = two.host.move(77)
    with two.host.entered():
        two.look_out()
    cluster.settle()
    for address in two.inside():
        assert one.host.reaches(address)


@pytest.mark.parametrize("config", TUNNELS)
def test_a_peer_with_another_identity_is_followed(cluster: Cluster, config: BackendConfig) -> None:
    """Another MAC, another key: as after a new installation."""
    one, two = cluster.node(config), cluster.node(config)
    cluster.settle()
    two.container()
    before = two.backend.terms
    two.machine = "f" * 32
    (two.folder / two.host.name / "key").unlink(missing_ok=True)
    with two.host.entered():
        two.look_out()
    assert two.backend.terms != before
    cluster.settle()
    for address in two.inside():
        assert one.host.reaches(address)
    assert one.is_settled(cluster.leases())


@pytest.mark.parametrize("config", ALL)
def test_another_subnet_of_ours_takes_the_place_of_the_first(
    cluster: Cluster, config: BackendConfig
) -> None:
    one, two = cluster.node(config), cluster.node(config)
    cluster.settle()
    old = two.lease
    two.number = 9
    # The lease that is not renewed stays for a while.
    leases = [*cluster.leases(), old]
    for node in (one, two):
        node.settle(leases)
        assert node.is_settled(leases)
    two.container()
    for address in two.inside():
        assert one.host.reaches(address)


@pytest.mark.parametrize("config", ALL)
def test_an_empty_plan_takes_everything_back(cluster: Cluster, config: BackendConfig) -> None:
    one, _ = cluster.node(config), cluster.node(config)
    before = one.host.run("ip", "route"), one.host.run("ip", "-6", "route")
    cluster.settle()
    with one.host.entered():
        one.kernel.apply(make_plan(State(), one.kernel.observe()))
        assert one.kernel.observe() == State()
    assert (one.host.run("ip", "route"), one.host.run("ip", "-6", "route")) == before
    assert "flannel" not in one.host.run("ip", "link")


def test_another_backend_takes_the_place_of_the_first(cluster: Cluster) -> None:
    one, two = cluster.node(VXLAN), cluster.node(VXLAN)
    cluster.settle()
    two.container()
    for config in (replace(VXLAN, vni=7), HOST_GW, replace(VXLAN, port=4789), DIRECT):
        for node in (one, two):
            node.config = network_config(config)
            node.look_out()
        cluster.settle()
        assert one.is_settled(cluster.leases())
        for address in two.inside():
            assert one.host.reaches(address)
