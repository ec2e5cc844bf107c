"""Real etcd members for tests in the lab: alone or as a cluster, with TLS, with users.

    with serving(tmp_path) as etcd:                      # one member, http
        Client(etcd.access())
    with serving(tmp_path, members=3) as etcd:           # 127.0.x.1, .2, .3
        etcd.leader().kill()
    with serving(tmp_path, addresses=["192.168.1.254"]) as etcd:

A member keeps its data over `stop` or `kill` and `start`. What is done here as an administrator
goes through etcdctl, so that it does not rest on the client under test.
"""

import base64
import itertools
import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from etcd_certificates import Authority, Pair
from hostkit.etcd import Access
from network import Namespace, NetworkError, run, wait_for

ROOT_PASSWORD = "root's own"  # noqa: S105 - a cluster that lives as long as a test
_START_SECONDS = 120.0
_clusters = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a member serves with; `client_certificates`: it wants them, signed by `authority`."""

    authority: Authority
    client_certificates: bool = True


@dataclass(slots=True)
class Member:
    """One etcd process; `url` is where clients reach it."""

    name: str
    address: str
    port: int
    peer_port: int
    folder: Path
    initial: str = ""
    tls: Tls | None = None
    namespace: Namespace | None = None
    options: Sequence[str] = ()
    has_users: bool = False
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self._host}:{self.port}"

    @property
    def peer_url(self) -> str:
        return f"http://{self._host}:{self.peer_port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def _host(self) -> str:
        return f"[{self.address}]" if ":" in self.address else self.address

    def start(self, *, wait: bool = True) -> None:
        """Start with the data it has; with `wait`, until it answers (it needs its quorum)."""
        assert self._process is None, f"{self.name} runs"
        self.folder.mkdir(parents=True, exist_ok=True)
        run(self._inside(["ip", "link", "set", "lo", "up"]))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._inside(self._command()), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until the member answers a linearizable read."""
        wait_for(self._answers, f"{self.name} answers at {self.url}", _START_SECONDS)

    def stop(self) -> None:
        """End it in order (SIGTERM); nothing if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL); nothing if it does not run."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing answers (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused one go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """Run etcdctl on this member, as root where there are users; its stdout."""
        argv = ["etcdctl", "--endpoints", self.url, "--command-timeout", "10s"]
        if self.tls:
            pair = self.tls.authority.client
            argv += ["--cacert", str(self.tls.authority.certificate)]
            argv += ["--cert", str(pair.certificate), "--key", str(pair.key)]
        argv += ["--user", f"root:{ROOT_PASSWORD}"] if self.has_users else []
        return run(self._inside([*argv, *arguments]))

    def _inside(self, argv: list[str]) -> list[str]:
        return self.namespace.argv(argv) if self.namespace else argv

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended by itself: {self.log[-2000:]}")
        try:
            self.ctl("endpoint", "health", "--command-timeout", "2s")
        except NetworkError:
            return False
        return True

    def _command(self) -> list[str]:
        argv = ["etcd", "--name", self.name, "--data-dir", str(self.folder / "data")]
        argv += ["--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        argv += ["--listen-peer-urls", self.peer_url]
        argv += ["--initial-advertise-peer-urls", self.peer_url, "--initial-cluster", self.initial]
        # The disks of the tests' machine are slow, and no power cut is meant here.
        argv += ["--unsafe-no-fsync", "--log-level", "warn"]
        if self.tls:
            pair = self.tls.authority.issue(self.name, self.address)
            argv += ["--cert-file", str(pair.certificate), "--key-file", str(pair.key)]
            if self.tls.client_certificates:
                argv += ["--client-cert-auth"]
                argv += ["--trusted-ca-file", str(self.tls.authority.certificate)]
        return [*argv, *self.options]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Members that form one cluster, started."""

    members: tuple[Member, ...]
    users: dict[str, str] = field(default_factory=dict)

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(member.url for member in self.members)

    def access(self, user: str | None = None) -> Access:
        """What a client has to know; `user`: one made by `add_user`."""
        tls = self.members[0].tls
        access = Access(self.endpoints)
        if tls:
            access = replace(access, ca=tls.authority.certificate)
        if tls and tls.client_certificates:
            pair = tls.authority.client
            access = replace(access, certificate=pair.certificate, key=pair.key)
        if user:
            access = replace(access, username=user, password=self.users[user])
        return access

    def running(self) -> list[Member]:
        return [member for member in self.members if member._process is not None]

    def leader(self) -> Member:
        """The running member that leads; waits until there is one."""
        found: list[Member] = []

        def leads() -> bool:
            found[:] = [member for member in self.running() if _leads(member)]
            return bool(found)

        wait_for(leads, "a member leads", _START_SECONDS)
        return found[0]

    def put(self, key: str, value: str) -> None:
        """Write as an administrator: the network's configuration, for instance."""
        self._ctl("put", "--", key, value)

    def get(self, prefix: str = "") -> dict[str, str]:
        """All keys below a prefix, with their values."""
        answer = json.loads(self._ctl("get", "--prefix", "-w", "json", "--", prefix))
        return {_text(each["key"]): _text(each.get("value", "")) for each in answer.get("kvs", ())}

    def compact(self) -> int:
        """Forget all history up to now; the revision that is now the oldest."""
        answer = json.loads(self._ctl("get", "-w", "json", "nothing"))
        revision = int(answer["header"]["revision"])
        self._ctl("compaction", str(revision))
        return revision

    def enable_users(self) -> None:
        """From now on everything takes a user: root, and those that `add_user` makes."""
        self._ctl("user", "add", f"root:{ROOT_PASSWORD}")
        self._ctl("user", "grant-role", "root", "root")
        self._ctl("auth", "enable")
        self.users["root"] = ROOT_PASSWORD
        for member in self.members:
            member.has_users = True

    def add_user(self, name: str, password: str, prefix: str) -> None:
        """A user who may read and write below `prefix`; after `enable_users`."""
        self._ctl("user", "add", f"{name}:{password}")
        self._ctl("role", "add", name)
        self._ctl("role", "grant-permission", name, "--prefix", "readwrite", prefix)
        self._ctl("user", "grant-role", name, name)
        self.users[name] = password

    def _ctl(self, *arguments: str) -> str:
        return self.running()[0].ctl(*arguments)


def _leads(member: Member) -> bool:
    try:
        (status,) = json.loads(member.ctl("endpoint", "status", "-w", "json"))
    except (NetworkError, ValueError):
        return False
    return bool(status["Status"]["leader"] == status["Status"]["header"]["member_id"])


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


@contextmanager
def serving(
    folder: Path,
    *,
    members: int = 1,
    addresses: Sequence[str] = (),
    port: int = 2379,
    tls: Tls | None = None,
    options: Sequence[str] = (),
    namespaces: Sequence[Namespace] = (),
) -> Iterator[Cluster]:
    """A cluster, started and answering; everything of it ends with the context.

    Args:
        folder: for its data and logs.
        members: how many, on loopback addresses of this cluster's own.
        addresses: one per member instead; they exist already.
        port: of the clients; the members among themselves use the next one.
        tls: for the clients' side.
        options: more of etcd's options, for every member.
        namespaces: one per member to run in; the lab's own if not given.
    """
    number = next(_clusters)
    places = list(addresses) or [f"127.0.{number}.{each}" for each in range(1, members + 1)]
    all_members = tuple(
        Member(
            name=f"etcd{number}-{index}",
            address=address,
            port=port,
            peer_port=port + 1,
            folder=folder / f"etcd{number}-{index}",
            tls=tls,
            namespace=namespaces[index] if namespaces else None,
            options=options,
        )
        for index, address in enumerate(places)
    )
    initial = ",".join(f"{member.name}={member.peer_url}" for member in all_members)
    try:
        for member in all_members:
            member.initial = initial
            member.start(wait=False)
        for member in all_members:
            member.wait()
        yield Cluster(all_members)
    finally:
        for member in all_members:
            member.kill()


__all__ = ["Authority", "Cluster", "Member", "Pair", "Tls", "serving"]
