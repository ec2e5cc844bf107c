"""Agents with real etcd and real devices: a cluster of hosts, and what may befall it."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etcd_server import Cluster
from network import Network, wait_for
from overlay_agent import (
    CONFIG,
    READY_SECONDS,
    SUBNETS,
    Agent,
    agents,
    streaming,
    wait_all_ready,
)

NETWORK = '{"Network": "10.5.0.0/16"}'
TTL = 10  # seconds, of the agents' leases


@pytest.fixture
def trio(network: Network, etcd: Cluster, tmp_path: Path) -> Iterator[list[Agent]]:
    """Three hosts of one network, joined."""
    etcd.put(CONFIG, NETWORK)
    with agents(tmp_path, network.add_hosts(3), etcd) as found:
        wait_all_ready(found)
        yield found


@pytest.fixture
def pair(network: Network, etcd: Cluster, tmp_path: Path) -> Iterator[list[Agent]]:
    """Two hosts of one network, joined."""
    etcd.put(CONFIG, NETWORK)
    with agents(tmp_path, network.add_hosts(2), etcd) as found:
        wait_all_ready(found)
        yield found


def lease_of(etcd: Cluster, agent: Agent) -> dict[str, object]:
    """What etcd holds for a host's subnet; empty for nothing."""
    text = etcd.get(SUBNETS).get(f"{SUBNETS}{str(agent.subnet).replace('/', '-')}", "{}")
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def device(agent: Agent, name: str = "flannel.1") -> bool:
    return f" {name}: " in agent.host.run("ip", "-o", "link")


# --- Joining --------------------------------------------------------------------------------------


def test_all_containers_reach_each_other_with_full_packets(trio: list[Agent]) -> None:
    assert len({agent.subnet for agent in trio}) == 3
    containers = [agent.container() for agent in trio]
    for one in containers:
        for agent in trio:
            assert one.reaches(agent.subnet[2], size=1450)
    assert containers[0].fails_to_reach(trio[1].subnet[2], size=1451)


def test_flannel_would_find_what_it_expects(trio: list[Agent], etcd: Cluster) -> None:
    agent = trio[0]
    value = lease_of(etcd, agent)
    assert value["PublicIP"] == str(agent.host.address)
    assert value["BackendType"] == "vxlan"
    assert isinstance(value["BackendData"], dict)
    assert value["BackendData"]["VtepMAC"] in agent.host.run("ip", "link", "show", "flannel.1")
    assert agent.environment == {
        "FLANNEL_NETWORK": "10.5.0.0/16",
        "FLANNEL_SUBNET": f"{agent.subnet[1]}/24",
        "FLANNEL_MTU": "1450",
        "FLANNEL_IPMASQ": "true",
    }


def test_podman_and_people_are_told(trio: list[Agent]) -> None:
    agent = trio[0]
    assert agent.podman["subnets"] == [
        {"subnet": str(agent.subnet), "gateway": str(agent.subnet[1])}
    ]
    assert agent.podman["options"] == {"mtu": "1450"}
    assert set(agent.peers) == {str(other.subnet) for other in trio[1:]}
    note = (agent.root / "run/bedplate/notes/overlay").read_text()
    assert note == f"{agent.subnet} (vxlan), 2 peers"
    metrics = (agent.root / "run/bedplate/metrics/overlay.prom").read_text()
    assert 'bedplate_overlay_state{state="ready"} 1\n' in metrics
    command = ["python3", "-m", "overlay.cli", "--root", str(agent.root), "status", "--json"]
    shown = json.loads(agent.host.run(*command))
    assert [each["ends"] is not None for each in shown["peers"]] == [True, True]
    assert shown["lease"]["stops"] < shown["lease"]["ends"]


def test_the_service_manager_is_told_once_containers_may_start(
    network: Network, etcd: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(where))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(where))
        manager.settimeout(30)
        with agents(tmp_path, network.add_hosts(1), etcd) as (agent,):
            agent.wait(lambda _: "etcd has no key" in agent.fault, "the missing network is told")
            manager.settimeout(0)
            told = b""
            while True:
                try:
                    told += manager.recv(4096) + b"\n"
                except BlockingIOError:
                    break
            assert b"READY=1" not in told
            assert b"STATUS=no subnet: etcd has no key" in told
            manager.settimeout(30)
            etcd.put(CONFIG, NETWORK)
            while b"READY=1" not in manager.recv(4096):
                pass
            assert agent.podman["subnets"]


def test_a_reservation_is_honoured_and_stays_one(
    network: Network, etcd: Cluster, tmp_path: Path
) -> None:
    etcd.put(CONFIG, NETWORK)
    one, two = network.add_hosts(2)
    for subnet, host in (("10.5.77.0-24", one), ("10.5.78.0-24", two)):
        value = {"PublicIP": str(host.address), "BackendType": "vxlan", "BackendData": None}
        etcd.put(f"{SUBNETS}{subnet}", json.dumps(value))
    with agents(tmp_path, [one, two], etcd) as found:
        wait_all_ready(found)
        assert [str(agent.subnet) for agent in found] == ["10.5.77.0/24", "10.5.78.0/24"]
        assert [agent.status["lease"] for agent in found] == [
            {"subnets": [str(agent.subnet)], "etcd_lease": "", "stops": None, "ends": None}
            for agent in found
        ]
        containers = [agent.container() for agent in found]
        assert containers[0].reaches(found[1].subnet[2])
        found[0].stop()
        found[0].start()
        found[0].wait_ready()
        assert str(found[0].subnet) == "10.5.77.0/24"
        assert etcd.members[0].ctl("lease", "list").startswith("found 0 leases")


@pytest.mark.thorough
def test_two_race_for_the_last_subnet(network: Network, etcd: Cluster, tmp_path: Path) -> None:
    etcd.put(CONFIG, '{"Network": "10.5.0.0/28", "SubnetLen": 30}')
    for subnet in ("10.5.0.4-30", "10.5.0.8-30"):
        etcd.put(f"{SUBNETS}{subnet}", '{"PublicIP": "192.0.2.1", "BackendType": "vxlan"}')
    with agents(tmp_path, network.add_hosts(2), etcd) as found:
        wait_for(lambda: any(agent.state == "ready" for agent in found), "one has it")
        winner, loser = sorted(found, key=lambda agent: agent.state != "ready")
        loser.wait(lambda _: "each subnet has its holder" in loser.fault, "the other is told")
        assert (loser.state, loser.subnets) == ("starting", [])
        assert str(winner.subnet) == "10.5.0.12/30"
        winner.kill()
        loser.wait_ready(TTL + 20)
        assert str(loser.subnet) == "10.5.0.12/30"


@pytest.mark.thorough
def test_both_families(network: Network, etcd: Cluster, tmp_path: Path) -> None:
    etcd.put(
        CONFIG,
        '{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd05::/48",'
        ' "Backend": {"Type": "host-gw"}}',
    )
    with agents(tmp_path, network.add_hosts(2), etcd) as found:
        wait_all_ready(found)
        containers = [agent.container() for agent in found]
        for address in (found[1].subnet[2], found[1].subnets[1].replace("/64", "2")):
            assert containers[0].reaches(address, size=1500)
        assert found[0].environment["FLANNEL_IPV6_NETWORK"] == "fd05::/48"
        assert found[0].podman["ipv6_enabled"] is True


# --- Peers come, go and change --------------------------------------------------------------------


def test_a_peer_that_dies_goes_and_comes_back(pair: list[Agent]) -> None:
    one, two = pair
    container, _ = one.container(), two.container()
    subnet = two.subnet
    assert container.reaches(subnet[2])
    two.kill()
    one.wait(lambda _: not one.peers, "the peer is gone")
    assert str(subnet) not in one.host.run("ip", "route")
    assert container.fails_to_reach(subnet[2])
    two.start()
    two.wait_ready()
    assert two.subnet == subnet
    assert container.reaches(subnet[2])


@pytest.mark.thorough
def test_peers_follow_a_new_outer_address(pair: list[Agent]) -> None:
    one, two = pair
    container, _ = one.container(), two.container()
    subnet = two.subnet
    moved = two.host.move(77)
    one.wait(
        lambda _: one.peers[str(subnet)]["public"] == [str(moved.address)],
        "the peer has moved",
        TTL - 2,
    )
    assert two.subnet == subnet
    assert container.reaches(subnet[2])


@pytest.mark.thorough
def test_a_new_mtu_of_the_outer_interface_is_handed_on(pair: list[Agent]) -> None:
    one = pair[0]
    one.host.ip("link set eth0 mtu 1400")
    one.wait(lambda _: one.environment["FLANNEL_MTU"] == "1350", "the MTU follows")
    assert one.podman["options"] == {"mtu": "1350"}
    assert "mtu 1350" in one.host.run("ip", "link", "show", "flannel.1")


# --- The kernel is mended -------------------------------------------------------------------------


def test_what_is_taken_from_the_kernel_comes_back(pair: list[Agent]) -> None:
    one, two = pair
    container, _ = one.container(), two.container()
    assert container.reaches(two.subnet[2])
    for damage in (
        ("ip", "link", "del", "flannel.1"),
        ("ip", "route", "del", str(two.subnet)),
        ("ip", "neigh", "flush", "dev", "flannel.1", "nud", "permanent"),
        ("ip", "link", "set", "flannel.1", "down"),
        ("nft", "flush", "ruleset"),
    ):
        one.host.run(*damage)
        assert container.reaches(two.subnet[2]), damage
    one.wait(lambda _: "bedplate-overlay" in one.host.run("nft", "list", "ruleset"), "the rules")
    one.host.run("ip", "route", "add", "10.5.250.0/24", "dev", "flannel.1")
    one.wait(lambda _: "10.5.250.0" not in one.host.run("ip", "route"), "a foreign route goes")


# --- The agent is started again -------------------------------------------------------------------


@pytest.mark.parametrize("end", [Agent.kill, Agent.stop])
def test_an_agent_that_is_started_again_cuts_no_traffic(
    pair: list[Agent], end: Callable[[Agent], object]
) -> None:
    one, two = pair
    container, _ = one.container(), two.container()
    subnet = one.subnet
    assert container.reaches(two.subnet[2])
    with streaming(container, two.subnet[2]) as stream:
        end(one)
        before = one.status_inode
        one.start()
        one.wait(lambda it: it.status_inode != before, "a new status")
        one.wait_ready()
    assert one.subnet == subnet
    assert stream.answered > 3
    assert stream.lost == 0


@pytest.mark.thorough
def test_an_agent_that_starts_while_etcd_is_away_goes_on(pair: list[Agent], etcd: Cluster) -> None:
    one, two = pair
    container, _ = one.container(), two.container()
    assert container.reaches(two.subnet[2])
    subnet = one.subnet
    (member,) = etcd.members
    one.stop()
    member.stop()
    with streaming(container, two.subnet[2]) as stream:
        one.start()
        one.wait(lambda _: one.state == "cut-off" and "etcd" in one.fault, "etcd is missed")
        member.start()
        one.wait_ready()
    assert (one.subnet, stream.lost) == (subnet, 0)


@pytest.mark.thorough
def test_a_host_without_settings_leaves(pair: list[Agent], etcd: Cluster) -> None:
    one, two = pair
    subnet = one.subnet
    assert one.process is not None
    (one.root / "etc/bedplate/overlay.json").unlink()
    assert one.process.wait(READY_SECONDS) == 0
    assert not device(one)
    assert f"{SUBNETS}{str(subnet).replace('/', '-')}" not in etcd.get(SUBNETS)
    assert not (one.root / "run/bedplate/notes/overlay").exists()
    two.wait(lambda _: not two.peers, "the peer is gone")


# --- etcd goes away, and the lease ----------------------------------------------------------------


@pytest.mark.thorough
def test_etcd_away_for_a_while_is_not_felt(pair: list[Agent], etcd: Cluster) -> None:
    one, two = pair
    container, _ = one.container(), two.container()
    assert container.reaches(two.subnet[2])
    subnets = [agent.subnet for agent in pair]
    with streaming(container, two.subnet[2]) as stream:
        for member in etcd.members:
            member.kill()
        one.wait(lambda _: one.state == "cut-off", "etcd is missed")
        for member in etcd.members:
            member.start()
        wait_all_ready(pair)
    assert [agent.subnet for agent in pair] == subnets
    assert [agent.status["leases_taken"] for agent in pair] == [1, 1]
    assert stream.lost == 0


def test_etcd_away_for_longer_than_the_lease_stops_traffic_until_it_is_back(
    pair: list[Agent], etcd: Cluster
) -> None:
    one, two = pair
    container, _ = one.container(), two.container()
    subnets = [agent.subnet for agent in pair]
    for member in etcd.members:
        member.stop()
    for agent in pair:
        agent.wait(lambda it: it.state == "fenced", "traffic is stopped")
        assert not device(agent)
        assert "etcd" in agent.fault
    assert container.fails_to_reach(subnets[1][2])
    for member in etcd.members:
        member.start()
    wait_all_ready(pair)
    assert [agent.subnet for agent in pair] == subnets
    assert container.reaches(subnets[1][2])


@pytest.mark.thorough
def test_a_lost_subnet_is_given_up_before_another_is_taken(
    pair: list[Agent], etcd: Cluster
) -> None:
    one, two = pair
    one.container()
    lost = one.subnet
    key = f"{SUBNETS}{str(lost).replace('/', '-')}"
    value = '{"PublicIP": "192.168.1.99", "BackendType": "vxlan", "BackendData": {"VtepMAC": "%s"}}'
    etcd.put(key, value % "0a:00:00:00:00:01")
    one.wait(lambda _: one.state == "ready" and one.subnet != lost, "another subnet")
    assert str(one.subnet[1]) in one.host.run("ip", "addr", "show", "podman0")
    # The lost one is a peer's now, and not the containers' bridge's any more.
    assert f"{lost} via {lost[0]}" in one.host.run("ip", "route")
    assert str(lost[1]) not in one.host.run("ip", "addr", "show", "podman0")
    assert any(str(lost[1]) in each for each in one.notices)
    assert one.environment["FLANNEL_SUBNET"] == f"{one.subnet[1]}/24"
    assert one.process is not None
    assert one.process.poll() is None
    two.wait(lambda _: str(one.subnet) in two.peers, "peers know of it")


# --- Settings and the network's configuration change ----------------------------------------------


@pytest.mark.thorough
def test_another_network_is_moved_to(pair: list[Agent], etcd: Cluster) -> None:
    etcd.put(CONFIG, '{"Network": "10.9.0.0/16", "Backend": {"Type": "host-gw"}}')
    for agent in pair:
        agent.wait(
            lambda it: it.state == "ready" and str(it.subnet).startswith("10.9."),
            "a subnet of the new network",
        )
        assert not device(agent)
    wait_all_ready(pair)
    one, two = pair
    assert one.container().name
    two.container()
    assert one.host.reaches(two.subnet[2])
    wait_for(lambda: len(etcd.get(SUBNETS)) == 2, "the old leases are given back")


@pytest.mark.thorough
def test_another_backend_keeps_the_subnets(pair: list[Agent], etcd: Cluster) -> None:
    subnets = [agent.subnet for agent in pair]
    container, _ = (agent.container() for agent in pair)
    etcd.put(CONFIG, '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}')
    for agent in pair:
        agent.wait(lambda it: device(it, "flannel.7"), "the new device")
        assert not device(agent)
    assert container.reaches(subnets[1][2])
    assert [agent.subnet for agent in pair] == subnets


@pytest.mark.thorough
def test_a_configuration_that_is_spoilt_harms_nobody(pair: list[Agent], etcd: Cluster) -> None:
    one, two = pair
    container, _ = one.container(), two.container()
    etcd.put(CONFIG, '{"Network": "10.5.0.0/33"}')
    one.wait(lambda _: "Network" in one.fault, "it is told")
    assert container.reaches(two.subnet[2])
    etcd.put(CONFIG, NETWORK)
    one.wait(lambda _: not one.fault, "it is mended")


@pytest.mark.thorough
def test_settings_are_followed_and_wrong_ones_told(pair: list[Agent], etcd: Cluster) -> None:
    one = pair[0]
    subnet = one.subnet
    one.configure(etcd, healthz_port=8285, ip_masq=False)
    one.wait(lambda _: one.environment["FLANNEL_IPMASQ"] == "false", "the new settings")
    wait_all_ready(pair)
    assert one.subnet == subnet
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8285/healthz').read())"
    assert "ok" in one.host.run("python3", "-c", ask)
    one.configure(etcd, public_ip="nowhere")
    one.wait(lambda _: "public_ip: expected an IPv4 address" in one.fault, "it is told")
    assert one.subnet == subnet
    one.configure(etcd)
    one.wait(lambda _: not one.fault, "it is mended")


@pytest.mark.thorough
def test_what_an_agent_costs(trio: list[Agent]) -> None:
    process = trio[0].process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text()
    values = dict(line.split(":", 1) for line in status.splitlines())
    print(f"resident: {values['VmRSS'].strip()}, threads: {values['Threads'].strip()}")
    assert int(values["VmRSS"].split()[0]) < 64 * 1024
