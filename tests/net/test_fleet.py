"""`bedplate fleet` below its command line, with a real etcd."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.fleet import listing
from builder.fleet.access import Given, find
from builder.fleet.apply import Change, plan, put, read_manifests
from builder.fleet.rollout import State, follow
from builder.host import hosts
from etcd_server import Authority, Cluster, Tls, serving
from hostkit.etcd import Client, Limits, Unavailable
from network import wait_for
from podagent.cluster.records import (
    ROOT,
    HostRecord,
    Report,
    RolloutRecord,
    SlotRecord,
    encode,
    host_key,
    manifest_key,
    report_key,
    rollout_key,
    slot_key,
)
from podagent.cluster.rollout import Progress
from podagent.cluster.view import View
from podagent.manifest import parse
from updater.errors import BedplateError

ENOUGH = 60.0
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "registry.example/web:VERSION"}]
"""
NOTHING = io.BytesIO(b"")


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Cluster]:
    with serving(tmp_path / "etcd") as cluster:
        yield cluster


@pytest.fixture
def client(etcd: Cluster) -> Iterator[Client]:
    found = Client(etcd.access(), limits=Limits(connect_seconds=20, call_seconds=30))
    yield found
    found.close()


def apply(client: Client, folder: Path, version: int) -> tuple[Change, str]:
    """What was done, and the manifest's digest."""
    file = folder / "web.yaml"
    file.write_text(MANIFEST.replace("VERSION", str(version)))
    (wanted,) = read_manifests([file], NOTHING)
    snapshot = client.list(f"{ROOT}pods/")
    view = View(parse)
    view.listed(snapshot)
    (step,) = plan([wanted], view, {item.key: item.value for item in snapshot.items})
    put(client, step)
    return step.change, wanted.manifest.digest


class Agent:
    """What a host of the name h1 would write."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.lease = client.grant(600).id
        self._put(host_key("h1"), HostRecord({}, ("10.0.0.1",), accepts=True))

    def _put(self, key: str, record: HostRecord | SlotRecord | Report) -> None:
        self._client.put(key, encode(record), lease=self.lease)

    def claim(self, digest: str) -> None:
        self._put(slot_key("web", 0), SlotRecord("h1", digest))

    def report(self, digest: str, *, ready: bool) -> None:
        phase = "Running" if ready else "Pending"
        self._put(report_key("h1", "web-0"), Report(phase, ready, digest, 0, available=ready))


class Following:
    """`follow` in a thread: what it told, and its end."""

    def __init__(self, etcd: Cluster, *, seconds: float = 10 * ENOUGH) -> None:
        self.told: list[State] = []
        self.notes: list[str] = []
        self.end: State | BedplateError | None = None
        self._client = Client(etcd.access())
        self._seconds = seconds
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.end = follow(
                self._client,
                "web",
                seconds=self._seconds,
                tell=self.told.append,
                note=self.notes.append,
            )
        except BedplateError as error:
            self.end = error
        finally:
            self._client.close()

    def until(self, why: str) -> None:
        wait_for(lambda: self.told and why in self.told[-1].why, f"{why} is told", ENOUGH)

    def ended(self) -> Progress | str:
        self._thread.join(ENOUGH)
        assert self.end is not None, "it follows for ever"
        return self.end.progress if isinstance(self.end, State) else str(self.end)


def test_manifests_are_put_as_they_were_given(
    etcd: Cluster, client: Client, tmp_path: Path
) -> None:
    assert apply(client, tmp_path, 1)[0] is Change.CREATED
    assert etcd.get(ROOT) == {"/bedplate/pods/web": MANIFEST.replace("VERSION", "1")}
    assert apply(client, tmp_path, 1)[0] is Change.UNCHANGED
    assert apply(client, tmp_path, 2)[0] is Change.CHANGED
    assert etcd.get(ROOT) == {"/bedplate/pods/web": MANIFEST.replace("VERSION", "2")}


def test_a_change_is_followed_to_its_end(etcd: Cluster, client: Client, tmp_path: Path) -> None:
    _, digest = apply(client, tmp_path, 1)
    following = Following(etcd)
    following.until("no host")
    agent = Agent(client)
    following.until("web-0 is not claimed yet")
    agent.claim(digest)
    following.until("no report yet")
    agent.report(digest, ready=False)
    following.until("Pending")
    agent.report(digest, ready=True)
    assert following.ended() is Progress.COMPLETE
    assert len(set(following.told)) == len(following.told)


def test_a_change_is_followed_to_its_halt(etcd: Cluster, client: Client, tmp_path: Path) -> None:
    _, old = apply(client, tmp_path, 1)
    agent = Agent(client)
    agent.claim(old)
    agent.report(old, ready=True)
    assert Following(etcd).ended() is Progress.COMPLETE
    _, new = apply(client, tmp_path, 2)
    following = Following(etcd)
    following.until("1 of 1 still run the former manifest")
    client.put(rollout_key("web"), encode(RolloutRecord(new, "web-0 on h1: it crashes")))
    assert following.ended() is Progress.HALTED
    assert "it crashes" in following.told[-1].why


def test_a_workload_that_is_deleted_is_not_waited_for(
    etcd: Cluster, client: Client, tmp_path: Path
) -> None:
    assert Following(etcd).ended() == "there is no workload web in etcd"
    apply(client, tmp_path, 1)
    following = Following(etcd)
    following.until("no host")
    client.delete(manifest_key("web"))
    assert following.ended() == "there is no workload web in etcd"


def test_the_time_may_be_up(etcd: Cluster, client: Client, tmp_path: Path) -> None:
    apply(client, tmp_path, 1)
    Agent(client)
    assert Following(etcd, seconds=5.0).ended() in (
        Progress.PROGRESSING,
        "etcd did not tell of web within 5 s",  # on a machine that is very slow
    )


def test_etcd_may_go_and_come_back_meanwhile(etcd: Cluster, client: Client, tmp_path: Path) -> None:
    _, digest = apply(client, tmp_path, 1)
    agent = Agent(client)
    following = Following(etcd)
    following.until("not claimed")
    (member,) = etcd.members
    member.stop()
    wait_for(lambda: following.notes, "it is told that etcd is away", ENOUGH)
    member.start()
    agent.claim(digest)
    agent.report(digest, ready=True)
    assert following.ended() is Progress.COMPLETE


def test_an_etcd_that_is_away_from_the_start_is_told_at_once(
    etcd: Cluster, client: Client, tmp_path: Path
) -> None:
    apply(client, tmp_path, 1)
    etcd.members[0].stop()
    assert "refused" in str(Following(etcd).ended())
    with pytest.raises(Unavailable):
        apply(client, tmp_path, 2)


def test_leases_are_listed_with_what_is_left_of_them(client: Client, tmp_path: Path) -> None:
    _, digest = apply(client, tmp_path, 1)
    agent = Agent(client)
    agent.claim(digest)
    key = "/coreos.com/network/subnets/10.5.7.0-24"
    client.put(key, b'{"PublicIP": "10.0.0.1", "BackendType": "vxlan"}', lease=agent.lease)
    view = View(parse)
    view.listed(client.list(ROOT))
    items = client.list("/coreos.com/network/subnets/").items
    left = {lease: client.time_to_live(lease) for lease in listing.leases_in_use(view, items)}
    (subnet,) = listing.subnets(view, items, left)
    (host,) = listing.host_leases(view, left)
    assert (subnet.host, host.slots) == ("h1", 1)
    assert subnet.seconds is not None
    assert 0 < subnet.seconds == host.seconds <= 600


def test_hosts_are_chosen_by_their_labels_in_etcd(
    etcd: Cluster, client: Client, tmp_path: Path
) -> None:
    lease = client.grant(600).id
    for name, labels in (("web-1", {"role": "web", "zone": "a"}), ("db-1", {"role": "db"})):
        record = HostRecord(labels, ("10.0.0.1", "10.5.1.1"), accepts=True)
        client.put(host_key(name), encode(record), lease=lease)
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(f"endpoints: {etcd.endpoints[0]}\n")
    (only,) = hosts.of_fleet(hosts.labels("role=web,zone=a"), fleet)
    assert (only.name, only.url) == ("web-1", "https://10.0.0.1:7443")
    # A host that is gone is one no more when its lease has ended.
    client.revoke(lease)
    with pytest.raises(BedplateError, match="no host in etcd has the labels role=web"):
        hosts.of_fleet({"role": "web"}, fleet)


def test_a_fleet_file_reaches_an_etcd_with_tls_and_users(tmp_path: Path) -> None:
    tls = Tls(Authority(tmp_path / "ca"), client_certificates=False)
    with serving(tmp_path / "etcd", tls=tls) as etcd:
        etcd.enable_users()
        etcd.add_user("ops", "its word", ROOT)
        (tmp_path / "password").write_text("its word\n")
        (tmp_path / "fleet.yaml").write_text(
            f"endpoints: {etcd.endpoints[0]}\n"
            f"ca_file: {tls.authority.certificate}\n"
            "username: ops\n"
            "password_file: password\n"
        )
        fleet = find(Given(fleet=tmp_path / "fleet.yaml"), {}, tmp_path)
        client = Client(fleet.access)
        assert apply(client, tmp_path, 1)[0] is Change.CREATED
        client.close()
        other = find(Given(endpoints=etcd.endpoints[0]), {}, tmp_path)
        with pytest.raises(BedplateError, match="certificate is not trusted"):
            Client(other.access).list(ROOT)
