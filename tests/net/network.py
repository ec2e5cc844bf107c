"""Hosts as network namespaces on bridges, with containers in them: a cluster's wires.

The lab's own root namespace is the router between the links, and where etcd servers run: every
link's bridge has the address .254 (`Link.router`), which is the hosts' default gateway.
"""

import ctypes
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from pathlib import Path

_TIME_OUT = 30.0
_CLONE_NEWNET = 0x40000000
_ALL = {4: "0.0.0.0/0", 6: "::/0"}
_HEADERS = {4: 28, 6: 48}  # bytes of IP and ICMP before a ping's payload


class NetworkError(Exception):
    """A command that lays wires failed."""


def run(argv: Sequence[str], *, text: str | None = None) -> str:
    """A command's stdout in the lab's own namespace.

    Raises:
        NetworkError: it failed.
    """
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, timeout=_TIME_OUT, check=False
    )
    if done.returncode:
        raise NetworkError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}{text}")
    return done.stdout


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Ask again and again until it is so.

    Raises:
        TimeoutError: it was not so within these seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


def _set_namespace(descriptor: int) -> None:
    """Python has it from 3.12 on (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@dataclass(frozen=True, slots=True)
class Link:
    """A bridge in the lab's root namespace; 192.168.<number>.0/24 and fd00:<number>::/64."""

    number: int
    mtu: int

    @property
    def bridge(self) -> str:
        return f"link{self.number}"

    @property
    def router(self) -> IPv4Address:
        return IPv4Address(f"192.168.{self.number}.254")

    @property
    def router6(self) -> IPv6Address:
        return IPv6Address(f"fd00:{self.number}::fe")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A place with a network stack of its own."""

    name: str

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in here, for Popen as well."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *command]

    def run(self, *command: str) -> str:
        """A command's stdout.

        Raises:
            NetworkError: it failed.
        """
        return run(self.argv(command))

    def ip(self, *commands: str) -> None:
        """Commands of ip(8), one string each."""
        run([*self.argv(["ip", "-batch", "-"])], text="\n".join(commands) + "\n")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in here for a while; sockets that are made meanwhile stay in here."""
        with Path("/proc/thread-self/ns/net").open("rb") as home:
            try:
                with Path("/run/netns", self.name).open("rb") as inside:
                    _set_namespace(inside.fileno())
                yield
            finally:
                _set_namespace(home.fileno())

    def sysctl(self, key: str, value: object) -> None:
        path = Path("/proc/sys") / key.replace(".", "/")
        run(self.argv(["tee", str(path)]), text=str(value))

    def reaches(self, address: object, *, size: int | None = None, seconds: float = 30.0) -> bool:
        """Whether a ping comes back, asked until `seconds` are over.

        `size`: the whole IP packet's bytes; it must not be fragmented.
        """
        deadline = time.monotonic() + seconds
        while True:
            if self._ping(str(address), size):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)

    def fails_to_reach(self, address: object, *, size: int | None = None, tries: int = 2) -> bool:
        """Whether no ping of a few comes back."""
        return not any(self._ping(str(address), size) for _ in range(tries))

    def _ping(self, address: str, size: int | None) -> bool:
        command = ["ping", "-n", "-q", "-c", "1", "-W", "1"]
        if size is not None:
            headers = _HEADERS[6 if ":" in address else 4]
            command += ["-M", "do", "-s", str(size - headers)]
        try:
            self.run(*command, address)
        except NetworkError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Host(Namespace):
    """A host: eth0 on a link, and its containers on a bridge `podman0`."""

    link: Link
    outer: IPv4Interface
    outer6: IPv6Interface

    @property
    def address(self) -> IPv4Address:
        return self.outer.ip

    @property
    def address6(self) -> IPv6Address:
        return self.outer6.ip

    @property
    def port(self) -> str:
        """The name of eth0's other end on the link's bridge."""
        return f"p-{self.name}"

    def container(self, *subnets: object, mtu: int | None = None) -> Namespace:
        """A container at the second address of each subnet; the first is the host's bridge's."""
        inside = Namespace(f"{self.name}c")
        interfaces = [ip_interface(str(subnet)) for subnet in subnets]
        size = "" if mtu is None else f" mtu {mtu}"
        run(["ip", "netns", "add", inside.name])
        self.ip(
            f"link add podman0{size} type bridge",
            f"link add c0{size} type veth peer name eth0{size} netns {inside.name}",
            "link set c0 master podman0 up",
            "link set podman0 up",
            *(
                f"address add {each.network[1]}/{each.network.prefixlen} dev podman0"
                + (" nodad" if each.version == 6 else "")
                for each in interfaces
            ),
        )
        inside.ip(
            "link set lo up",
            "link set eth0 up",
            *(
                f"address add {each.network[2]}/{each.network.prefixlen} dev eth0"
                + (" nodad" if each.version == 6 else "")
                for each in interfaces
            ),
            *(f"route add {_ALL[each.version]} via {each.network[1]}" for each in interfaces),
        )
        return inside

    def unplug(self) -> None:
        """Cut the host off its link, as a pulled cable does on the far side: eth0 stays up."""
        run(["ip", "link", "set", self.port, "nomaster"])

    def plug(self) -> None:
        run(["ip", "link", "set", self.port, "master", self.link.bridge])

    def move(self, last: int) -> "Host":
        """The host with another outer address, as after a new DHCP lease."""
        moved = make_host(self.name, self.link, last)
        self.ip(
            f"address del {self.outer} dev eth0",
            f"address del {self.outer6} dev eth0",
            f"address add {moved.outer} dev eth0",
            f"address add {moved.outer6} dev eth0 nodad",
            # The default route goes with the last address of its family.
            f"route replace 0.0.0.0/0 via {self.link.router}",
            f"route replace ::/0 via {self.link.router6}",
        )
        return moved


def make_host(name: str, link: Link, last: int) -> Host:
    """A host by the last number of its addresses."""
    return Host(
        name,
        link,
        IPv4Interface(f"192.168.{link.number}.{last}/24"),
        IPv6Interface(f"fd00:{link.number}::{last:x}/64"),
    )


@dataclass
class Network:
    """Links and hosts; `close` takes all of them away."""

    _links: list[Link] = field(default_factory=list)
    _hosts: list[Host] = field(default_factory=list)

    def add_link(self, mtu: int = 1500) -> Link:
        """A further link, routed to the others by the lab's root namespace."""
        link = Link(len(self._links) + 1, mtu)
        commands = (
            "link set lo up",
            f"link add {link.bridge} mtu {mtu} type bridge",
            f"link set {link.bridge} up",
            f"address add {link.router}/24 dev {link.bridge}",
            f"address add {link.router6}/64 dev {link.bridge} nodad",
        )
        run(["ip", "-batch", "-"], text="\n".join(commands) + "\n")
        for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", key).write_text("1")
        self._links.append(link)
        return link

    def add_host(self, link: Link | None = None, name: str = "") -> Host:
        """A host h1, h2, ... with eth0 on the link (by default the first); it forwards."""
        where = link or (self._links[0] if self._links else self.add_link())
        number = len(self._hosts) + 1
        host = make_host(name or f"h{number}", where, number)
        run(["ip", "netns", "add", host.name])
        self._hosts.append(host)
        host.sysctl("net.ipv4.ip_forward", 1)
        host.sysctl("net.ipv6.conf.all.forwarding", 1)
        # Else the bridge asks for its containers only after two seconds (RFC 4862, section 5.4).
        host.sysctl("net.ipv6.conf.default.accept_dad", 0)
        veth = f"link add {host.port} mtu {where.mtu} type veth peer name eth0 mtu {where.mtu}"
        commands = (
            f"{veth} netns {host.name}",
            f"link set {host.port} master {where.bridge} up",
        )
        run(["ip", "-batch", "-"], text="\n".join(commands) + "\n")
        host.ip(
            "link set lo up",
            "link set eth0 up",
            f"address add {host.outer} dev eth0",
            f"address add {host.outer6} dev eth0 nodad",
            f"route add 0.0.0.0/0 via {where.router}",
            f"route add ::/0 via {where.router6}",
        )
        return host

    def add_hosts(self, count: int, link: Link | None = None) -> list[Host]:
        return [self.add_host(link) for _ in range(count)]

    def close(self) -> None:
        for link in self._links:
            run(["ip", "link", "delete", link.bridge])
        for host in self._hosts:
            # A namespace dies later than its name; its wires would live on with it.
            run(["ip", "link", "delete", host.port])
            for name in (f"{host.name}c", host.name):
                if Path("/run/netns", name).exists():
                    run(["ip", "netns", "delete", name])


@contextmanager
def laid() -> Iterator[Network]:
    """A network with nothing in it, gone at the end."""
    network = Network()
    try:
        yield network
    finally:
        network.close()
