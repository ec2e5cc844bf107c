"""Members of etcd as hosts run them: the unit's command with what a cloud-config is rendered to."""

import base64
import json
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudconfig.desired import File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.render import etcd
from etcd_certificates import Authority
from network import Host, Network, NetworkError, wait_for

pytestmark = pytest.mark.thorough

PROJECT = Path(__file__).parents[2]
UNIT = PROJECT / "images/etcd/root/usr/lib/systemd/system" / etcd.UNIT
SECONDS = 60.0
NAMES = ("etcd-1", "etcd-2", "etcd-3")
# One document for three hosts; each is called by its source's metadata.
PLAIN = """\
  etcd:
    listen_client_urls: http://$private_ipv4:2379
    initial_cluster:
      etcd-1: http://192.168.1.1:2380
      etcd-2: http://192.168.1.2:2380
      etcd-3: http://192.168.1.3:2380
"""
SECURE = """\
  etcd:
    listen_client_urls: https://$private_ipv4:2379
    initial_cluster:
      etcd-1: https://192.168.1.1:2380
      etcd-2: https://192.168.1.2:2380
      etcd-3: https://192.168.1.3:2380
    cert_file: /member.crt
    key_file: /member.key
    trusted_ca_file: /ca.crt
    peer_cert_file: /member.crt
    peer_key_file: /member.key
    peer_trusted_ca_file: /ca.crt
"""
# The gateway is a client of etcd's own, which shows the member's certificate as a client's.
_ASK = """
import sys, requests
url, key, *tls = sys.argv[1:]
given = {"verify": tls[0], "cert": tuple(tls[1:])} if tls else {}
print(requests.post(f"{url}/v3/kv/range", json={"key": key}, timeout=10, **given).text)
"""


@dataclass(slots=True)
class Member:
    """A host's etcd; `files` are those that its document names."""

    host: Host
    folder: Path
    document: str
    files: dict[str, Path] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _notices: socket.socket | None = None

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def url(self) -> str:
        return f"{'https' if self.files else 'http'}://{self.host.address}:2379"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """What systemd does: the environment, the credentials, a socket for its word."""
        self.folder.mkdir(exist_ok=True)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.settimeout(0)
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        self._notices.bind(str(path))
        environment = {**self._rendered(), "NOTIFY_SOCKET": str(path)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.host.argv(self._command()),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit status after this signal."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        return process.wait(SECONDS)

    def ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def ready(self) -> bool:
        """Whether it has told systemd that it is up."""
        assert self._notices is not None
        try:
            return b"READY=1" in self._notices.recv(4096)
        except BlockingIOError:
            return False

    def until_ready(self) -> None:
        wait_for(lambda: self.ready() or self.ended(), f"{self.name} is up", SECONDS)
        assert not self.ended(), self.log[-3000:]

    def ctl(self, *arguments: str) -> str:
        """Run etcdctl on this member; its stdout."""
        return self.host.run("etcdctl", "--endpoints", self.url, *self._tls(), *arguments)

    def gateway(self, key: str) -> object:
        """A value as the overlay asks for it, by JSON over HTTP."""
        encoded = base64.b64encode(key.encode()).decode()
        answer = self.host.run(
            "/usr/bin/python3", "-c", _ASK, self.url, encoded, *self._tls()[1::2]
        )
        return json.loads(answer)["kvs"][0]["value"]

    def fails(self, *arguments: str) -> bool:
        try:
            self.ctl("--command-timeout", "1s", *arguments)
        except NetworkError:
            return True
        return False

    def _tls(self) -> list[str]:
        if not self.files:
            return []
        pairs = {"--cacert": "/ca.crt", "--cert": "/member.crt", "--key": "/member.key"}
        return [word for flag, name in pairs.items() for word in (flag, str(self.files[name]))]

    def _rendered(self) -> dict[str, str]:
        variables = {"private_ipv4": str(self.host.address)}
        text = f"#cloud-config\nbedplate:\n{self.document}"
        config = read_document(text.encode(), Path("c.yaml"), variables).config
        items = etcd.render(config, Facts(hostname=self.name)).items
        files = {item.path: item.content.decode() for item in items if isinstance(item, File)}
        credentials = self.folder / "credentials"
        for path, content in files.items():
            if path != etcd.ENVIRONMENT:
                self._load_credentials(content, credentials)
        lines = files[etcd.ENVIRONMENT].splitlines()
        pairs = (line.partition("=") for line in lines)
        # On a host each unit has its own.
        own = f"/run/credentials/{etcd.UNIT}"
        return {name: value.replace(own, str(credentials)) for name, _, value in pairs}

    def _load_credentials(self, drop_in: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for line in drop_in.splitlines()[1:]:
            name, _, path = line.removeprefix("LoadCredential=").partition(":")
            (folder / name).write_bytes(self.files[path].read_bytes())

    def _command(self) -> list[str]:
        (line,) = [each for each in UNIT.read_text().splitlines() if each.startswith("ExecStart=")]
        line = line.removeprefix("ExecStart=").replace("${STATE_DIRECTORY}", str(self.data))
        return shlex.split(line)


@pytest.fixture(autouse=True)
def systemd_runs() -> None:
    """What etcd looks for before it tells systemd anything (sd_booted(3))."""
    Path("/run/systemd/system").mkdir(parents=True, exist_ok=True)


@contextmanager
def members(network: Network, folder: Path, document: str) -> Iterator[list[Member]]:
    """Three of them; none runs yet, and none runs afterwards."""
    made = [Member(network.add_host(name=name), folder / name, document) for name in NAMES]
    try:
        yield made
    finally:
        for member in made:
            if member._process is not None:
                member.end(signal.SIGKILL)


@pytest.fixture
def cluster(network: Network, tmp_path: Path) -> Iterator[list[Member]]:
    with members(network, tmp_path, PLAIN) as made:
        _start_all(made)
        yield made


def _start_all(made: list[Member]) -> None:
    for member in made:
        member.start()
    for member in made:
        member.until_ready()


def _known(member: Member) -> dict[str, str]:
    """Identities by name, as the cluster has them."""
    rows = [line.split(", ") for line in member.ctl("member", "list").splitlines()]
    return {name: identity for identity, _, name, *_ in rows}


def test_a_member_is_up_once_the_cluster_has_a_quorum(network: Network, tmp_path: Path) -> None:
    with members(network, tmp_path, PLAIN) as (first, second, third):
        first.start()
        wait_for(lambda: first.log.count("is starting a new election") > 1, "it asks", SECONDS)
        assert not first.ready()
        second.start()
        first.until_ready()
        second.until_ready()
        first.ctl("put", "a", "1")
        third.start()
        third.until_ready()
        assert third.ctl("get", "a", "--print-value-only").strip() == "1"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_cluster_survives_any_one_of_its_members(cluster: list[Member], number: int) -> None:
    lost, left = cluster[number], cluster[number - 1]
    before = _known(left)
    assert before.keys() == set(NAMES)
    lost.end(signal.SIGKILL)
    wait_for(lambda: not left.fails("put", "a", "1"), "the others go on", SECONDS)
    lost.start()
    lost.until_ready()
    assert lost.ctl("get", "a", "--print-value-only").strip() == "1"
    # It came back as who it was, though its document says that the cluster is new.
    assert _known(left) == before


def test_a_member_that_is_cut_off_decides_nothing(cluster: list[Member]) -> None:
    lost, left = cluster[:2]
    lost.host.unplug()
    wait_for(lambda: not left.fails("put", "a", "1"), "the others go on", SECONDS)
    # A write would fail here too, but may come through once the wire is back.
    assert lost.fails("get", "a")
    lost.host.plug()
    wait_for(lambda: not lost.fails("get", "a"), "it is back", SECONDS)
    assert lost.ctl("get", "a", "--print-value-only").strip() == "1"


def test_a_member_with_data_looks_no_more_at_the_document(cluster: list[Member]) -> None:
    before = _known(cluster[0])
    changed = cluster[1]
    changed.end()
    changed.document = PLAIN.replace("192.168.1.3:2380", "192.168.1.77:2380")
    changed.start()
    changed.until_ready()
    assert _known(changed) == before


def test_a_member_that_lost_its_data_comes_back_as_another(cluster: list[Member]) -> None:
    lost, left = cluster[2], cluster[0]
    old = _known(left)[lost.name]
    lost.end()
    shutil.rmtree(lost.data)
    lost.start()
    wait_for(lost.ended, "it is refused", SECONDS)
    assert "has already been bootstrapped" in lost.log
    left.ctl("member", "remove", old)
    # A cluster takes nobody in until its members have been together for some seconds.
    url = f"--peer-urls=http://{lost.host.address}:2380"
    wait_for(lambda: not left.fails("member", "add", lost.name, url), "it is let in", SECONDS)
    lost.document = f"{PLAIN}    initial_cluster_state: existing\n"
    lost.start()
    lost.until_ready()
    assert _known(lost).keys() == set(NAMES)
    assert _known(lost)[lost.name] != old


def test_members_and_clients_show_certificates(network: Network, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "stranger")
    with members(network, tmp_path, SECURE) as made:
        for member in made:
            pair = authority.issue(member.name, str(member.host.address))
            member.files = {
                "/ca.crt": authority.certificate,
                "/member.crt": pair.certificate,
                "/member.key": pair.key,
            }
        _start_all(made)
        first, second, third = made
        first.ctl("put", "a", "1")
        assert third.ctl("get", "a", "--print-value-only").strip() == "1"
        assert second.gateway("a") == base64.b64encode(b"1").decode()
        pair = stranger.client
        second.files |= {"/member.crt": pair.certificate, "/member.key": pair.key}
        assert second.fails("get", "a")


def test_the_environment_is_all_that_etcd_takes(network: Network, tmp_path: Path) -> None:
    with members(network, tmp_path, PLAIN) as (first, *_):
        first.start()
        wait_for(lambda: "starting an etcd server" in first.log, "it says with what", SECONDS)
        assert "unrecognized environment variable" not in first.log
        assert "shadowed" not in first.log
