"""A part of etcd is followed whatever happens to the watch: nothing twice, nothing left out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import cast

import pytest

from hostkit.etcd import Change, Client, Compacted, KeyValue, Snapshot, Unavailable
from hostkit.following import Follower, Listener
from hostkit.worker import Worker


def change(revision: int) -> Change:
    return Change(f"/k{revision}", b"v", revision, 0)


class Watching:
    """A watch that gives what it was told to, then ends or fails."""

    def __init__(self, after: int, script: list[Change | Exception]) -> None:
        self.revision = after
        self._script = script

    def __iter__(self) -> Iterator[Change]:
        for each in self._script:
            if isinstance(each, Exception):
                raise each
            yield each
            self.revision = each.revision

    def close(self) -> None:
        pass


class Etcd:
    """Answers by a script, one entry for each call."""

    def __init__(
        self, lists: list[int | Exception], watches: list[list[Change | Exception]]
    ) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[object] = []

    def list(self, prefix: str) -> Snapshot:
        self.asked.append("list")
        found = self.lists.pop(0)
        if isinstance(found, Exception):
            raise found
        return Snapshot(found, (KeyValue(f"{prefix}a", b"v", 1, found, 1, 0),))

    @contextmanager
    def watch(self, _prefix: str, *, after: int) -> Iterator[Watching]:
        self.asked.append(after)
        if not self.watches:
            raise SystemExit  # the script is over
        yield Watching(after, self.watches.pop(0))


def followed(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """All that is told until the script is over."""
    return _followed(etcd, monkeypatch)[0]


def _followed(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], Follower]:
    monkeypatch.setattr("hostkit.following._FIRST_PAUSE", 0.001)
    told: list[object] = []
    queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
    listener = Listener(
        lambda snapshot: told.append(("all", snapshot.revision)),
        lambda each: told.append(each.revision),
        told.append,
    )
    follower = Follower(cast("Client", etcd), "/p/", listener, queue.put)
    while True:
        try:
            queue.get(timeout=10)()
        except SystemExit:
            return told, follower


def test_all_then_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = Etcd([5], [[change(6), change(8)], []])
    assert followed(etcd, monkeypatch) == [("all", 5), "", 6, 8, ""]
    assert etcd.asked == ["list", 5, 8, 8]


def test_a_broken_watch_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = Etcd([5], [[change(6), Unavailable("gone")], [change(7)]])
    assert followed(etcd, monkeypatch) == [("all", 5), "", 6, "gone", "", 7]
    assert etcd.asked == ["list", 5, 6, 7]


def test_a_forgotten_history_is_listed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = Etcd([5, 9], [[Compacted("old")], [change(10)]])
    assert followed(etcd, monkeypatch) == [("all", 5), "", "old", ("all", 9), "", 10]
    assert etcd.asked == ["list", 5, "list", 9, 10]


def test_an_etcd_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = Etcd([Unavailable("away"), Unavailable("away"), 5], [[]])
    assert followed(etcd, monkeypatch) == ["away", "away", ("all", 5), ""]


def test_a_member_that_ends_watches_at_once_is_asked_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it says why or not: it must not cost a processor."""
    etcd = Etcd([5], [[], [Unavailable("no leader")], []])
    assert _followed(etcd, monkeypatch)[1]._failures == 3
    monkeypatch.setattr("hostkit.following._LONGEST_PAUSE", 0.0)  # each lived for longer than that
    etcd = Etcd([5], [[], [Unavailable("no leader")], []])
    assert _followed(etcd, monkeypatch)[1]._failures == 1


def test_what_is_stopped_tells_nothing() -> None:
    told: list[object] = []
    etcd = Etcd([Unavailable("away")] * 3, [])
    follower = Follower(
        cast("Client", etcd),
        "/p/",
        Listener(told.append, told.append, told.append),
        lambda call: call(),
    )
    follower.stop()
    told.clear()
    follower._tell(lambda: told.append("late"))
    assert told == []


def test_a_worker_does_one_thing_after_the_other() -> None:
    queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
    worker = Worker("test", queue.put)
    found: list[int] = []
    assert not worker.busy
    for number in (1, 2):
        worker.do(partial(int, number), found.append)
    queue.get(timeout=10)()
    assert (found, worker.busy) == ([1], True)
    queue.get(timeout=10)()
    assert (found, worker.busy) == ([1, 2], False)


def test_a_workers_own_failure_is_the_agents() -> None:
    queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
    Worker("test", queue.put).do(lambda: 1 // 0, lambda _: None)
    with pytest.raises(ZeroDivisionError):
        queue.get(timeout=10)()
