"""What is wrong is told, retried until it is mended, and harms nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcd_certificates import Authority
from etcd_server import Cluster, Tls, serving
from network import Host, Network
from overlay_agent import CONFIG, PREFIX, Agent, agents

pytestmark = pytest.mark.thorough

NETWORK = '{"Network": "10.5.0.0/16"}'


@pytest.fixture
def agent(network: Network, etcd: Cluster, tmp_path: Path) -> Iterator[Agent]:
    """One host whose network has no configuration yet."""
    with agents(tmp_path, network.add_hosts(1), etcd) as (found,):
        yield found


def told(agent: Agent, words: str) -> None:
    """In the status and on the console."""
    agent.wait(lambda it: words in it.fault, f"{words!r} is told")
    assert agent.state == "starting"
    note = (agent.root / "run/bedplate/notes/overlay").read_text()
    assert note.startswith("no subnet: ")
    assert words in note
    assert agent.process is not None
    assert agent.process.poll() is None


def test_a_network_that_is_missing_or_wrong(agent: Agent, etcd: Cluster) -> None:
    told(agent, f"etcd has no key {CONFIG}")
    for wrong, words in (
        ("{", "no valid JSON"),
        ('{"Network": "10.5.0.0"}', "Network: expected a network such as 10.5.0.0/16"),
        ('{"Network": "10.5.0.0/16", "SubnetMin": "10.6.0.0"}', "SubnetMin: expected"),
        ('{"Network": "10.5.0.0/30"}', "Network: expected"),
        ('{"Network": "10.5.0.0/16", "Backend": {"Type": "udp"}}', "Backend.Type: expected"),
        ('{"Network": "192.168.0.0/16"}', "overlap this host's own network 192.168.1.0/24"),
    ):
        etcd.put(CONFIG, wrong)
        told(agent, words)
    etcd.put(CONFIG, NETWORK)
    agent.wait_ready()
    assert agent.fault == ""


def test_an_exhausted_network(agent: Agent, etcd: Cluster) -> None:
    for subnet in ("10.5.0.4-30", "10.5.0.8-30", "10.5.0.12-30"):
        value = json.dumps({"PublicIP": "192.0.2.1", "BackendType": "vxlan"})
        etcd.put(f"{PREFIX}/subnets/{subnet}", value)
    etcd.put(CONFIG, '{"Network": "10.5.0.0/28", "SubnetLen": 30}')
    told(agent, "each subnet has its holder")
    etcd.put(CONFIG, NETWORK)
    agent.wait_ready()
    assert [bool(peer["problem"]) for peer in agent.peers.values()] == [True] * 3


def test_an_outer_interface_that_is_not_there(agent: Agent, etcd: Cluster) -> None:
    etcd.put(CONFIG, NETWORK)
    agent.wait_ready()
    agent.configure(etcd, interface="eth9")
    agent.wait(lambda it: "eth9" in it.fault, "it is told")
    assert agent.state == "failing"
    agent.configure(etcd, interface="eth0")
    agent.wait_ready()


def test_an_etcd_that_does_not_answer(network: Network, tmp_path: Path) -> None:
    link = network.add_link()
    cluster = Cluster(())
    hosts = network.add_hosts(1)
    with agents(tmp_path, hosts, cluster, etcd_endpoints=f"http://{link.router}:2379") as (agent,):
        told(agent, f"http://{link.router}:2379")
        with serving(tmp_path / "etcd", addresses=[str(link.router)]) as etcd:
            etcd.put(CONFIG, NETWORK)
            agent.wait_ready(40)


def test_a_wrong_password(agent: Agent, etcd: Cluster) -> None:
    etcd.put(CONFIG, NETWORK)
    etcd.enable_users()
    etcd.add_user("overlay", "right", f"{PREFIX}/")
    agent.configure(etcd, etcd_username="overlay", etcd_password="wrong")  # noqa: S106
    agent.wait(lambda it: "authentication failed" in it.fault, "it is told")
    assert "wrong" not in (agent.root / "log").read_text()
    agent.configure(etcd, etcd_username="overlay", etcd_password="right")  # noqa: S106
    agent.wait_ready()


def test_certificates_that_nobody_trusts(network: Network, tmp_path: Path) -> None:
    link = network.add_link()
    authority, stranger = (Authority(tmp_path / name) for name in ("authority", "stranger"))
    tls = Tls(authority)
    where = tmp_path / "etcd"
    with serving(where, addresses=[str(link.router)], tls=tls) as etcd:
        etcd.put(CONFIG, NETWORK)
        (host,) = network.add_hosts(1)
        with agents(tmp_path, [host], etcd) as (agent,):
            told(agent, "certificate")
            for folder, ca, pair in (
                ("1", stranger, authority.client),
                ("2", authority, stranger.client),
            ):
                _certify(agent, etcd, folder, (ca.certificate, pair.certificate, pair.key))
                told(agent, "certificate")
            pair = authority.client
            _certify(agent, etcd, "3", (authority.certificate, pair.certificate, pair.key))
            agent.wait_ready()


def _certify(agent: Agent, etcd: Cluster, name: str, files: tuple[Path, ...]) -> None:
    """Give the agent certificates; paths are below its root, and new ones for new settings."""
    folder = agent.root / "etc" / name
    folder.mkdir()
    for path, key in zip(files, ("ca", "cert", "key"), strict=True):
        (folder / key).write_bytes(path.read_bytes())
    agent.configure(
        etcd,
        **{f"etcd_{key}file": f"/etc/{name}/{key}" for key in ("ca", "cert", "key")},
    )


def test_settings_that_were_wrong_from_the_start(
    network: Network, etcd: Cluster, tmp_path: Path
) -> None:
    etcd.put(CONFIG, NETWORK)
    hosts: list[Host] = network.add_hosts(1)
    with agents(tmp_path, hosts, etcd, subnet_ttl=1) as (agent,):
        told(agent, "etc/bedplate/overlay.json: subnet_ttl: expected seconds")
        agent.configure(etcd)
        agent.wait_ready()
