"""The client against three real members, of which some die, hang or are alone."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from etcd_server import Cluster, Member, serving
from hostkit.etcd import Access, Client, Compare, Get, Limits, Put, Unavailable

# A member that hangs is waited for so long.
QUICK = Limits(connect_seconds=4, call_seconds=4, watch_gap_seconds=60)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Cluster]:
    with serving(tmp_path, members=3) as cluster:
        yield cluster


def write(client: Client, key: str, seconds: float = 60) -> int:
    """Create a key as our lease code does: asked again until it is known to be there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            outcome = client.transact([Compare.absent(key)], [Put(key, b"mine")], [Get(key)])
        except Unavailable:
            assert time.monotonic() < deadline, f"no write within {seconds} s"
            time.sleep(0.05)
        else:
            return outcome.revision


def first(cluster: Cluster, member: Member) -> Access:
    """An access that asks this member before the others."""
    rest = tuple(url for url in cluster.endpoints if url != member.url)
    return replace(cluster.access(), endpoints=(member.url, *rest))


def test_writes_go_on_when_the_leader_dies(etcd: Cluster) -> None:
    leader = etcd.leader()
    client = Client(first(etcd, leader), limits=QUICK)
    start = write(client, "/0")
    lease = client.grant(60).id
    leader.kill()
    for number in range(1, 21):
        write(client, f"/{number}")
    assert client.keep_alive(lease) == 60
    assert etcd.leader() is not leader
    leader.start()
    back = Client(Access((leader.url,)), limits=QUICK)
    assert sorted(item.key for item in back.list("/").items) == sorted(f"/{n}" for n in range(21))
    with back.watch("/", after=start - 1) as changes:
        assert [next(changes).key for _ in range(21)] == [f"/{number}" for number in range(21)]


def test_a_watch_goes_on_elsewhere_when_its_member_dies(etcd: Cluster) -> None:
    leader = etcd.leader()
    client = Client(first(etcd, leader), limits=QUICK)
    after = write(client, "/0")
    with client.watch("/", after=after) as changes:
        leader.kill()
        with pytest.raises(Unavailable):
            next(changes)
    write(client, "/1")
    with client.watch("/", after=changes.revision) as changes:
        assert next(changes).key == "/1"


def test_what_works_stays_first(etcd: Cluster) -> None:
    dead, *_ = etcd.members
    client = Client(first(etcd, dead), limits=QUICK)
    client.put("/a", b"")
    dead.pause()
    begun = time.monotonic()
    # It may have come through, so that it is not sent twice.
    with pytest.raises(Unavailable, match=f"{dead.url}: no answer in time$") as caught:
        client.put("/a", b"")
    assert caught.value.applied
    assert time.monotonic() - begun >= QUICK.call_seconds
    write(client, "/b")
    begun = time.monotonic()
    for _ in range(10):
        client.get("/b")
    with client.watch("/", after=1) as changes:
        next(changes)
    assert time.monotonic() - begun < 10 * QUICK.call_seconds
    dead.resume()


def test_what_may_be_done_twice_goes_to_the_next_by_itself(etcd: Cluster) -> None:
    leader = etcd.leader()
    dead = next(member for member in etcd.members if member is not leader)
    client = Client(first(etcd, dead), limits=QUICK)
    client.put("/a", b"x")
    lease = client.grant(60).id
    calls: tuple[Callable[[Client], object], ...] = (
        lambda asked: asked.get("/a"),
        lambda asked: asked.list("/"),
        lambda asked: asked.keep_alive(lease),
        lambda asked: asked.time_to_live(lease),
        lambda asked: asked.grant(60),
        lambda asked: asked.revoke(lease),
        lambda asked: asked.watch("/", after=1).close(),
    )
    dead.pause()
    for call in calls:
        call(Client(first(etcd, dead), limits=QUICK))
    dead.resume()


def test_a_hanging_member_ends_a_watch(etcd: Cluster) -> None:
    hanging, other, _ = etcd.members
    limits = replace(QUICK, watch_gap_seconds=4)
    after = write(Client(Access((other.url,)), limits=QUICK), "/0")
    client = Client(first(etcd, hanging), limits=limits)
    with client.watch("/", after=after) as changes:
        hanging.pause()
        write(Client(Access((other.url,)), limits=QUICK), "/1")
        assert list(changes) == []
    with client.watch("/", after=changes.revision) as changes:
        assert next(changes).key == "/1"
    hanging.resume()


def test_a_member_without_a_leader_is_unavailable(etcd: Cluster) -> None:
    alone, *others = etcd.members
    client = Client(etcd.access(), limits=QUICK)
    only = Client(Access((alone.url,)), limits=QUICK)
    after = write(client, "/0")
    with only.watch("/", after=after) as changes, ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, changes)
        for other in others:
            other.kill()
        with pytest.raises(Unavailable, match="no leader"):
            following.result(60)
    calls: tuple[Callable[[], object], ...] = (
        lambda: only.put("/a", b""),
        lambda: only.get("/a"),
        lambda: only.grant(9),
    )
    for call in calls:
        with pytest.raises(Unavailable, match="etcdserver: no leader") as caught:
            call()
        assert not caught.value.applied
    with pytest.raises(Unavailable):
        only.watch("/", after=after)
    with pytest.raises(Unavailable) as caught:
        client.get("/a")
    # One line, with what each said.
    assert str(caught.value).count("http://") == 3
    assert str(caught.value).count("Connection refused") == 2
    assert "\n" not in str(caught.value)
    others[0].start()
    write(client, "/1")
