"""Services on two hosts, with three containers: the real nft, aardvark-dns and kernel."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from aardvark import OUTSIDE, answering_names
from dns_client import Answer, ask
from network import Host, Namespace, Network, run, wait_for
from overlay import masquerade
from podagent.services import balance, names
from podagent.services.apply import bring
from podagent.services.balance import Balanced, make_table
from podagent.services.desired import Desired
from podagent.services.names import DOMAIN, LISTEN, Entry, make_text
from podagent.types import ServicePort

pytestmark = pytest.mark.thorough  # with `make test-pods`

SERVICE = IPv4Address("10.96.0.7")
A, B, C = (IPv4Address(each) for each in ("10.5.1.2", "10.5.1.3", "10.5.2.2"))
PORTS = (ServicePort("web", "tcp", 80, 8080), ServicePort("log", "udp", 514, 8080))

# As netavark masquerades all that leaves its subnet, in a chain of its own.
_PODMAN = """table inet netavark {
    chain NETAVARK-POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade
    }
}"""
# Says on every line or datagram who it is, and who asks.
_SERVER = """
import select, socket, sys, threading
me = sys.argv[1]
def word(peer): return f"{me} {peer[0]}\\n".encode()
def lines(peer, address):
    while peer.recv(100):
        peer.sendall(word(address))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((me, 8080))
def datagrams():
    while True:
        peer = udp.recvfrom(100)[1]
        udp.sendto(word(peer), peer)
threading.Thread(target=datagrams, daemon=True).start()
with socket.create_server((me, 8080)) as server:
    print("ready", flush=True)
    while True:
        threading.Thread(target=lines, args=server.accept(), daemon=True).start()
"""
# Asks once for each line of its stdin: "new" on a new connection, "same" on the one before.
_CLIENT = """
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
peer = None
for line in sys.stdin:
    try:
        if line == "new\\n" or peer is None:
            peer = socket.socket(socket.AF_INET, kind)
            peer.settimeout(30)
            peer.connect((sys.argv[2], int(sys.argv[3])))
        peer.send(b"?")
        print(peer.recv(100).decode().strip(), flush=True)
    except OSError as error:
        print("failed", type(error).__name__, flush=True)
"""


@dataclass
class Asking:
    """Connections of one place to the service."""

    process: subprocess.Popen[str]

    def ask(self, how: str = "new") -> tuple[str, str]:
        """Who answered, and whom it saw; `how`: on a "new" connection or on the "same" again."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{how}\n")
        stdin.flush()
        who, seen = stdout.readline().split()
        return who, seen

    def answers(self, times: int = 64) -> set[str]:
        """Who answers; that one of three is never asked has a chance of 1 to 10^10."""
        found: set[str] = set()
        for _ in range(times):
            found.add(self.ask()[0])
            assert "failed" not in found
        return found


@contextmanager
def client(place: Namespace, kind: str = "tcp", port: int = 0) -> Iterator[Asking]:
    port = port or {"tcp": 80, "udp": 514}[kind]
    command = place.argv([sys.executable, "-c", _CLIENT, kind, str(SERVICE), str(port)])
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Asking(process)
        finally:
            process.kill()


def answers(place: Namespace, kind: str = "tcp") -> set[str]:
    with client(place, kind) as asking:
        return asking.answers()


def once(place: Namespace, kind: str = "tcp", port: int = 0) -> tuple[str, str]:
    with client(place, kind, port) as asking:
        return asking.ask()


@contextmanager
def serving(place: Namespace, address: IPv4Address) -> Iterator[None]:
    command = place.argv([sys.executable, "-c", _SERVER, str(address)])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


@contextmanager
def second_container(host: Host, address: IPv4Address) -> Iterator[Namespace]:
    """One more container on a host's bridge, which is there."""
    inside = Namespace(f"{host.name}d")
    run(["ip", "netns", "add", inside.name])
    try:
        host.ip(
            f"link add c1 type veth peer name eth0 netns {inside.name}",
            "link set c1 master podman0 up",
        )
        inside.ip(
            "link set lo up",
            "link set eth0 up",
            f"address add {address}/24 dev eth0",
            f"route add 0.0.0.0/0 via {IPv4Network(f'{address}/24', strict=False)[1]}",
        )
        yield inside
    finally:
        run(["ip", "netns", "delete", inside.name])


@dataclass
class Cluster:
    """Two hosts; `a` and `b` are containers of one, `c` is one of two."""

    one: Host
    two: Host
    a: Namespace
    b: Namespace
    c: Namespace
    folder: Path
    brought: dict[str, Desired] = field(default_factory=dict)

    def balance(self, *replicas: IPv4Address) -> None:
        """Let both hosts follow a change."""
        for host in (self.one, self.two):
            self.bring(host, *replicas)

    def bring(self, host: Host, *replicas: IPv4Address) -> bool:
        """Let a host follow; whether there was something to do."""
        wanted, runtime = desired(*replicas), self.folder / host.name
        (runtime / "names").mkdir(parents=True, exist_ok=True)
        with host.entered():
            changed = bring(wanted, self.brought.get(host.name), runtime)
            # What the kernel tells is the very text, or nobody could tell that all is in place.
            assert balance.observe() == wanted.table
        self.brought[host.name] = wanted
        return changed


def desired(*replicas: IPv4Address) -> Desired:
    service = Balanced(SERVICE, PORTS, replicas)
    return Desired(
        names=make_text([Entry(("web",), (SERVICE,))], host="any"),
        table=make_table([service]),
        datagrams={SERVICE: replicas},
    )


def set_bridges(host: Host, *, filtered: bool) -> None:
    """Whether frames inside of a bridge pass the hooks of IP; only with br_netfilter they can."""
    key = "net.bridge.bridge-nf-call-iptables"
    if host.run("busybox", "find", "/proc/sys/net", "-name", key.rpartition(".")[2]):
        host.sysctl(key, int(filtered))


@pytest.fixture
def cluster(network: Network, tmp_path: Path) -> Iterator[Cluster]:
    one, two = network.add_hosts(2)
    one.ip("route add 10.5.2.0/24 via 192.168.1.2")
    two.ip("route add 10.5.1.0/24 via 192.168.1.1")
    for host in (one, two):
        set_bridges(host, filtered=False)
    a, c = one.container("10.5.1.0/24"), two.container("10.5.2.0/24")
    with ExitStack() as stack:
        b = stack.enter_context(second_container(one, B))
        for place, address in ((a, A), (b, B), (c, C)):
            stack.enter_context(serving(place, address))
        yield Cluster(one, two, a, b, c, tmp_path)


# --- The balance ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_all_replicas_are_reached_from_everywhere(cluster: Cluster, kind: str) -> None:
    cluster.balance(A, B, C)
    for place in (cluster.one, cluster.two, cluster.a, cluster.b, cluster.c):
        assert answers(place, kind) == {str(A), str(B), str(C)}, place


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_container_meets_itself_and_its_neighbour(cluster: Cluster, kind: str) -> None:
    cluster.balance(A)
    for place in (cluster.a, cluster.b):
        assert once(place, kind) == (str(A), "10.5.1.1"), place
    # Of another host it sees the container itself.
    assert once(cluster.c, kind) == (str(A), str(C))


def test_where_bridges_are_filtered_a_neighbour_is_met(cluster: Cluster) -> None:
    for host in (cluster.one, cluster.two):
        set_bridges(host, filtered=True)
    cluster.balance(A)
    for place in (cluster.b, cluster.c, cluster.one, cluster.two):
        assert once(place)[0] == str(A), place


def test_beside_the_tables_of_overlay_and_podman(cluster: Cluster) -> None:
    network = IPv4Network("10.5.0.0/16")
    cluster.balance(A)
    for host in (cluster.one, cluster.two):
        host.run("nft", _PODMAN)
        with host.entered():
            masquerade.put(masquerade.make_table(network, None, masquerade=True))
    assert once(cluster.a) == (str(A), "10.5.1.1")
    assert once(cluster.b) == (str(A), "10.5.1.1")
    assert once(cluster.c) == (str(A), str(C))
    # A host is seen by the address of the way that leads to the replica.
    assert once(cluster.one) == (str(A), "10.5.1.1")
    assert once(cluster.two) == (str(A), str(cluster.two.address))


def test_a_replica_in_its_hosts_own_network(cluster: Cluster) -> None:
    address = cluster.two.address
    cluster.balance(address)
    with serving(cluster.two, address):
        for place in (cluster.one, cluster.two, cluster.a, cluster.c):
            assert once(place)[0] == str(address), place


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_refused_at_once_without_a_ready_replica(cluster: Cluster, kind: str) -> None:
    cluster.balance()
    # A datagram of the host itself is refused by sendto(2) already.
    refused = {("failed", each) for each in ("ConnectionRefusedError", "PermissionError")}
    for place in (cluster.one, cluster.two, cluster.a):
        assert once(place, kind) in refused, place
    cluster.balance(C)
    for place in (cluster.one, cluster.two, cluster.a):
        assert once(place, kind)[0] == str(C), place
        assert once(place, kind, 9) in refused, place


def test_new_connections_follow_and_old_ones_are_kept(cluster: Cluster) -> None:
    cluster.balance(A)
    with client(cluster.c) as asking:
        assert asking.ask()[0] == str(A)
        cluster.balance(B)
        assert asking.ask("same")[0] == str(A)
        assert asking.ask("new")[0] == str(B)


def test_datagrams_of_one_sender_follow(cluster: Cluster) -> None:
    cluster.balance(A, B, C)
    for place in (cluster.one, cluster.c):
        with client(place, "udp") as asking:
            first = IPv4Address(asking.ask()[0])
            assert asking.ask("same")[0] == str(first)
            others = {A, B, C} - {first}
            # Not those of a replica that stays.
            cluster.balance(first, max(others))
            assert asking.ask("same")[0] == str(first)
            cluster.balance(*others)
            assert IPv4Address(asking.ask("same")[0]) in others
            cluster.balance(A, B, C)


def test_datagrams_are_led_right_after_a_restart_and_after_damage(cluster: Cluster) -> None:
    cluster.balance(A)
    with client(cluster.c, "udp") as asking:
        assert asking.ask()[0] == str(A)
        cluster.brought.clear()
        cluster.balance(B)
        assert asking.ask("same")[0] == str(B)
    # Podman's rules keep the kernel at counting connections.
    cluster.two.run("nft", _PODMAN)
    cluster.two.run("nft", "flush table inet bedplate_services")
    # They go to the router now, whose word against it ends no connection in the kernel's eyes.
    run(["ip", "route", "add", "prohibit", f"{SERVICE}/32"])
    try:
        with client(cluster.two, "udp") as asking:
            assert asking.ask()[0] == "failed"
            cluster.balance(B)
            assert asking.ask("same")[0] == str(B)
    finally:
        run(["ip", "route", "delete", "prohibit", f"{SERVICE}/32"])


def test_what_is_in_place_is_left_alone_and_damage_mended(cluster: Cluster) -> None:
    one = cluster.one
    assert cluster.bring(one, A, C)
    assert not cluster.bring(one, C, A)
    for damage in (
        "flush ruleset",
        "flush table inet bedplate_services",
        "add element inet bedplate_services addresses { 10.96.0.8 }",
        "insert rule inet bedplate_services balance accept",
        "add chain inet bedplate_services other",
    ):
        one.run("nft", damage)
        assert cluster.bring(one, A, C), damage
        assert not cluster.bring(one, A, C), damage


def test_without_services_the_table_goes_and_others_stay(cluster: Cluster) -> None:
    cluster.balance(A)
    one = cluster.one
    one.run("nft", "add table inet netavark")
    with one.entered():
        for _ in range(2):
            balance.put(make_table([]), cluster.folder / "none.nft")
            assert balance.observe() == ""
    assert one.run("nft", "list", "tables").split() == ["table", "inet", "netavark"]


def test_many_services_are_told_as_they_were_written(cluster: Cluster) -> None:
    replicas = tuple(IPv4Address(0x0A050102 + number) for number in range(40))
    table = make_table(
        Balanced(IPv4Address(0x0A600001 + number * 7), PORTS, replicas[: number % 41])
        for number in range(300)
    )
    assert len(table) > 128 * 1024  # more than an argument may be
    with cluster.one.entered():
        balance.put(table, cluster.folder / "many.nft")
        assert balance.observe() == table


# --- Names ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(cluster: Cluster) -> Iterator[Path]:
    """Where `cluster.one` has its names; it has those of `write` at first."""
    cluster.one.ip(f"address add {LISTEN}/32 dev lo")
    folder = cluster.folder / "run" / "names"
    folder.mkdir(parents=True)
    write(folder)
    with answering_names(cluster.one, folder):
        yield folder


def write(folder: Path, *more: IPv4Address) -> None:
    text = make_text(
        [Entry(("web", "front"), (SERVICE,)), Entry(("db",), (A, C, *more)), Entry(("none",), ())],
        host="h1",
    )
    assert names.put(folder, text)


def resolved(place: Namespace, name: str, kind: str = "A") -> Answer | None:
    answer = ask(place, LISTEN, name, kind)
    return answer and Answer(answer.code, tuple(sorted(answer.addresses)))


def test_names_are_answered_to_containers_and_to_the_host(cluster: Cluster, folder: Path) -> None:
    # `a` is a replica, and so known to aardvark-dns; `b` and the host are not.
    for place in (cluster.a, cluster.b, cluster.one):
        for name in ("web", f"web.{DOMAIN}", "front", f"front.{DOMAIN}", f"WEB.{DOMAIN}"):
            assert resolved(place, name) == Answer(0, (str(SERVICE),)), (place, name)
        for name in ("db", f"db.{DOMAIN}"):
            assert resolved(place, name) == Answer(0, (str(A), str(C))), (place, name)
        assert resolved(place, f"db.{DOMAIN}", "AAAA") == Answer(0, ())
    assert not names.put(folder, (folder / names.FILE).read_text())


def test_the_domain_stays_inside_and_other_names_are_forwarded(
    cluster: Cluster, folder: Path
) -> None:
    assert folder.is_dir()
    for place in (cluster.a, cluster.b, cluster.one):
        for name in (f"none.{DOMAIN}", f"nobody.{DOMAIN}"):
            assert resolved(place, name) == Answer(3, ()), (place, name)
        assert resolved(place, "www.example.org") == Answer(0, (OUTSIDE,)), place


def test_names_follow_a_change(cluster: Cluster, folder: Path) -> None:
    write(folder, B)
    wanted = Answer(0, tuple(map(str, (A, B, C))))
    wait_for(lambda: resolved(cluster.b, "db") == wanted, "the change is answered")
