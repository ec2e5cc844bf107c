"""The reboot lock in a real etcd."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from etcd_server import Authority, Cluster, Tls, serving
from hostkit.etcd import Client, Limits, Refused, Unavailable
from rebootlock.manager import Contended, Manager
from rebootlock.semaphore import ROOT, Holder, semaphore_key

PATIENT = Limits(connect_seconds=20, call_seconds=30)
ENOUGH = 120.0
HOSTS = 8


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Cluster]:
    with serving(tmp_path / "etcd") as cluster:
        yield cluster


@pytest.fixture
def client(etcd: Cluster) -> Iterator[Client]:
    with closing(Client(etcd.access(), limits=PATIENT)) as found:
        yield found


def test_it_is_taken_handed_on_and_seen(etcd: Cluster, client: Client) -> None:
    lock = Manager(client, "")
    assert lock.look().holders == ()
    assert lock.take(Holder("a", 100, "web-1", "2")).held_by("a")
    key = semaphore_key("")
    assert etcd.get(ROOT)[key] == '{"semaphore":0,"max":1,"holders":["a"]}'
    standing = lock.take(Holder("b", 200))
    assert not standing.held_by("b")
    assert standing.holders == (Holder("a", 100, "web-1", "2"),)
    assert lock.give_back("a")
    assert etcd.get(ROOT) == {key: '{"semaphore":1,"max":1,"holders":[]}'}


def test_locksmiths_first_value_is_taken(etcd: Cluster, client: Client) -> None:
    etcd.put(semaphore_key("web"), '{"semaphore":2,"max":2,"holders":null}')
    lock = Manager(client, "web")
    for each in ("a", "b"):
        assert lock.take(Holder(each, 1)).held_by(each)
    assert not lock.take(Holder("c", 1)).held_by("c")


class Updating(threading.Thread):
    """A host that wants the lock once, and gives it back."""

    def __init__(self, etcd: Cluster, name: str, inside: list[str], most: list[int]) -> None:
        super().__init__(name=name, daemon=True)
        self._client = Client(etcd.access(), limits=PATIENT)
        self._inside = inside
        self._most = most
        self.done = False

    def run(self) -> None:
        lock = Manager(self._client, "")
        while not self._taken(lock):
            pass
        self._inside.append(self.name)
        self._most.append(len(self._inside))
        self._inside.remove(self.name)
        while True:
            try:
                lock.give_back(self.name)
                break
            except (Contended, Unavailable):
                continue
        self._client.close()
        self.done = True

    def _taken(self, lock: Manager) -> bool:
        try:
            return lock.take(Holder(self.name, 1)).held_by(self.name)
        except (Contended, Unavailable):
            return False


def test_many_hosts_at_once_are_never_too_many(etcd: Cluster, client: Client) -> None:
    Manager(client, "").set_max(2)
    inside: list[str] = []
    most: list[int] = []
    hosts = [Updating(etcd, f"h{number}", inside, most) for number in range(HOSTS)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join(ENOUGH)
    assert all(host.done for host in hosts)
    assert len(most) == HOSTS
    assert max(most) <= 2
    assert Manager(client, "").look().holders == ()


def test_without_etcd_nothing_is_taken_and_all_is_there_later(
    etcd: Cluster, client: Client
) -> None:
    lock = Manager(client, "")
    assert lock.take(Holder("a", 1)).held_by("a")
    (member,) = etcd.members
    member.stop()
    with pytest.raises(Unavailable):
        lock.take(Holder("b", 1))
    with pytest.raises(Unavailable):
        lock.give_back("a")
    member.start()
    assert lock.look().held_by("a")
    assert lock.give_back("a")


def test_a_user_needs_the_locks_keys_alone(tmp_path: Path) -> None:
    tls = Tls(Authority(tmp_path / "ca"), client_certificates=False)
    with serving(tmp_path / "etcd", tls=tls) as etcd:
        etcd.enable_users()
        etcd.add_user("lock", "its word", ROOT)
        etcd.add_user("other", "its word", "/other/")
        with closing(Client(etcd.access("lock"), limits=PATIENT)) as client:
            assert Manager(client, "web").take(Holder("a", 1)).held_by("a")
        other = Client(etcd.access("other"), limits=PATIENT)
        with closing(other), pytest.raises(Refused, match="permission denied"):
            Manager(other, "web").take(Holder("b", 1))
