"""Services as hosts keep them: heard from a real etcd, in the real nft and aardvark-dns."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from aardvark import answering_names
from dns_client import ask
from etcd_server import Cluster as Etcd
from hostkit import nftables
from hostkit.etcd import Client
from hostkit.following import Follower, Listener
from hostkit.timing import boottime
from network import Host, Network, wait_for
from podagent.cluster.records import ROOT, Report, encode, manifest_key, report_key
from podagent.cluster.view import View
from podagent.manifest import parse
from podagent.phase import Phase
from podagent.services import task
from podagent.services.keeper import Services
from podagent.services.names import DOMAIN, LISTEN
from podagent.services.records import SERVICES, address_key

pytestmark = pytest.mark.thorough  # with `make test-pods`

RANGE = IPv4Network("10.96.0.0/24")
A, B = "10.5.1.2", "10.5.2.2"
SECONDS = 60.0


class Agent:
    """What of the pod agent keeps services: its loop, on a thread inside of the host."""

    def __init__(self, host: Host, etcd: Etcd, folder: Path, span: IPv4Network = RANGE) -> None:
        self.host = host
        self.names = folder / "names"
        self.faults: dict[str, str] = {}
        self._etcd = etcd
        self._folder = folder
        self._range = span
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self.turns = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join(SECONDS)
            assert not thread.is_alive()

    def _run(self) -> None:
        queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        view = View(parse)
        with self.host.entered(), ExitStack() as stack:
            client = Client(self._etcd.access())
            stack.callback(client.close)
            listener = Listener(view.listed, view.changed, lambda _reason: None)
            stack.callback(Follower(client, ROOT, listener, queue.put).stop)
            services = Services(
                self._etcd.access(),
                self.host.name,
                self._folder,
                self._range,
                post=queue.put,
                subnet_file=self._folder / "subnet.env",
            )
            stack.callback(services.close)
            while not self._stop.is_set():
                services.tend(view)
                self.faults = dict(services.faults)
                self.turns += 1
                due = min(services.next_time() - boottime(), 0.2)
                with suppress(Empty):
                    queue.get(timeout=max(0.0, due))()
                    while True:
                        queue.get_nowait()()

    def table(self) -> str:
        with self.host.entered():
            return nftables.observe("inet", "bedplate_services")

    def text(self) -> str:
        with suppress(FileNotFoundError):
            return (self.names / "bedplate").read_text()
        return ""

    def answer(self, name: str) -> tuple[str, ...]:
        """Who a name stands for, by aardvark-dns."""
        found = ask(self.host, LISTEN, name)
        return tuple(sorted(found.addresses)) if found else ("no answer",)

    def leads_to(self, *replicas: str) -> bool:
        """Whether the table leads port 80 to these and no others."""
        ways = ", ".join(f"{n} : {each} . 80" for n, each in enumerate(replicas))
        return f"mod {len(replicas)} map {{ {ways} }}" in self.table()

    def until(self, condition: Callable[[], object], what: str) -> None:
        try:
            wait_for(condition, what, SECONDS)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.faults}\n{self.text()}\n{self.table()}") from None


@pytest.fixture
def hosts(network: Network, etcd: Etcd, tmp_path: Path) -> Iterator[list[Agent]]:
    """Two hosts with agents that are not started yet."""
    with ExitStack() as stack:
        agents = []
        for host in network.add_hosts(2):
            folder = tmp_path / host.name
            folder.mkdir()
            agents.append(Agent(host, etcd, folder))
            stack.callback(agents[-1].end)
        yield agents


@contextmanager
def answering(agent: Agent) -> Iterator[None]:
    """Names are answered on this host, from before the agent on, as systemd does it."""
    agent.host.ip(f"address add {LISTEN}/32 dev lo")
    agent.names.mkdir(exist_ok=True)
    if not agent.text():
        (agent.names / "bedplate").write_text(f"{LISTEN}\n")
    with answering_names(agent.host, agent.names):
        yield


def declare(etcd: Etcd, name: str, *ports: int, address: str = "") -> None:
    """Put a workload; without ports it is just a name."""
    labels = {"app": name}
    spec = {"containers": [{"name": "app", "image": "registry.example/app:1"}]}
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": labels,
            "ports": [{"name": f"p{port}", "port": port} for port in ports],
            **({"clusterIP": address} if address else {}),
        },
    }
    documents = [workload, service] if ports else [workload]
    etcd.put(manifest_key(name), "\n---\n".join(map(json.dumps, documents)))


def report(etcd: Etcd, name: str, slot: int, address: str, *, ready: bool = True) -> None:
    """What a host says of a replica."""
    found = Report(Phase.RUNNING, ready=ready, digest="", slot=slot, addresses=(address,))
    etcd.put(report_key(f"host-{slot}", f"{name}-{slot}"), encode(found).decode())


def address_of(etcd: Etcd, name: str) -> str:
    """A service's stable address; empty while it has none."""
    text = etcd.get(f"{SERVICES}{name}").get(f"{SERVICES}{name}", "")
    return str(json.loads(text)["address"]) if text else ""


def given(agent: Agent, etcd: Etcd, name: str) -> IPv4Address:
    """The address that a service was given, once it is in this host's table."""
    agent.until(
        lambda: address_of(etcd, name) and address_of(etcd, name) in agent.table(),
        f"{name} has an address",
    )
    return IPv4Address(address_of(etcd, name))


def test_a_service_is_followed_from_its_manifest_to_its_end(etcd: Etcd, hosts: list[Agent]) -> None:
    def everywhere(condition: Callable[[Agent], object], what: str) -> None:
        for agent in hosts:
            agent.until(lambda: condition(agent), what)  # noqa: B023 - called here and now

    with ExitStack() as stack:
        for agent in hosts:
            stack.enter_context(answering(agent))
            agent.start()
        declare(etcd, "web", 80)
        declare(etcd, "plain")
        address = given(hosts[0], etcd, "web")
        assert address in RANGE
        everywhere(lambda agent: agent.answer("web") == (str(address),), "its name")
        for slot, replica in enumerate((A, B)):
            report(etcd, "web", slot, replica)
            report(etcd, "plain", slot, replica)
        everywhere(lambda agent: agent.leads_to(A, B), "both replicas")
        everywhere(lambda agent: agent.answer("plain") == (A, B), "their name")
        report(etcd, "web", 0, A, ready=False)
        report(etcd, "plain", 0, A, ready=False)
        everywhere(lambda agent: agent.leads_to(B), "the one that is ready")
        everywhere(lambda agent: agent.answer("plain") == (B,), "its name")
        everywhere(lambda agent: agent.faults == {}, "no faults")
        for name in ("web", "plain"):
            etcd.members[0].ctl("del", manifest_key(name))
        everywhere(lambda agent: agent.table() == "", "the end of the balance")
        everywhere(lambda agent: agent.answer(f"web.{DOMAIN}") == (), "the end of the name")
        wait_for(lambda: etcd.get("/bedplate/service") == {}, "the address is free", SECONDS)


def test_without_etcd_or_agent_all_stays_as_it_was(etcd: Etcd, hosts: list[Agent]) -> None:
    (member,), agent = etcd.members, hosts[0]
    with answering(agent):
        agent.start()
        declare(etcd, "web", 80)
        address = given(agent, etcd, "web")
        report(etcd, "web", 0, A)
        agent.until(lambda: agent.leads_to(A), "its replica")
        agent.until(lambda: agent.answer("web") == (str(address),), "its name")
        before = agent.text(), agent.table()
        member.kill()
        agent.end()
        assert (agent.text(), agent.table()) == before
        agent.start()
        wait_for(lambda: agent.turns > 5, "some turns in which nothing is heard", SECONDS)
        assert (agent.text(), agent.table()) == before
        assert agent.answer("web") == (str(address),)
        member.start()
        report(etcd, "web", 1, B)
        agent.until(lambda: agent.leads_to(A, B), "what changed meanwhile")
        assert address_of(etcd, "web") == str(address)


def test_damage_is_mended(etcd: Etcd, hosts: list[Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "LOOK_SECONDS", 0.5)
    agent = hosts[0]
    agent.start()
    declare(etcd, "web", 80)
    given(agent, etcd, "web")
    before = agent.text(), agent.table()
    agent.host.run("nft", "flush ruleset")
    (agent.names / "bedplate").write_text("other\n")
    agent.until(lambda: (agent.text(), agent.table()) == before, "it is mended")


def test_what_fails_is_told_and_tried_again(etcd: Etcd, hosts: list[Agent]) -> None:
    agent = hosts[0]
    in_the_way = agent.names.parent / "services.nft"
    (in_the_way / "full").mkdir(parents=True)
    agent.start()
    declare(etcd, "web", 80)
    agent.until(lambda: str(in_the_way) in agent.faults.get("services", ""), "the failure is told")
    (in_the_way / "full").rmdir()
    in_the_way.rmdir()
    given(agent, etcd, "web")
    agent.until(lambda: agent.faults == {}, "all is well")


def test_a_range_that_meets_another_network_gives_nothing(
    etcd: Etcd, hosts: list[Agent], tmp_path: Path
) -> None:
    one, two = hosts
    own = Agent(one.host, etcd, one.names.parent, IPv4Network("192.168.0.0/16"))
    overlaid = Agent(two.host, etcd, two.names.parent)
    (tmp_path / two.host.name / "subnet.env").write_text("FLANNEL_NETWORK=10.96.0.0/12\n")
    declare(etcd, "web", 80)
    for agent, network in ((own, "192.168.1.0/24"), (overlaid, "10.96.0.0/12")):
        agent.start()
        agent.until(lambda: network in agent.faults.get("service web", ""), "it is told")  # noqa: B023 - as above
        agent.end()
    assert etcd.get("/bedplate/service") == {}


def test_a_leftover_of_an_address_is_told_until_it_is_gone(
    etcd: Etcd, hosts: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "_FIRST_RETRY", 0.1)
    agent, wish = hosts[0], IPv4Address("10.96.0.9")
    etcd.put(address_key(wish), "nobody")
    agent.start()
    declare(etcd, "web", 80, address=str(wish))
    agent.until(lambda: address_key(wish) in agent.faults.get("addresses", ""), "it is told")
    etcd.members[0].ctl("del", address_key(wish))
    assert given(agent, etcd, "web") == wish
    agent.until(lambda: agent.faults == {}, "all is well")
