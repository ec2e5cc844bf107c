"""A workload changes a few replicas at a time, halts, goes on, and goes back."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from podagent.cluster.records import RolloutRecord, SlotRecord, decode, manifest_key, rollout_key
from podagent.cluster.rollout import (
    AVAILABLE_SECONDS,
    PROGRESS_SECONDS,
    Progress,
    Summary,
    available,
    stuck,
    summary,
)
from podagent.types import Manifest
from pods_cluster_hosts import READY_AFTER, World, manifest, view_of

LONG = 400.0


@pytest.fixture(params=range(2))
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Three hosts with six replicas, all up."""
    found = World(int(request.param), 3)
    with found.running():
        for host in found.hosts:
            host.start()
        assert found.run(LONG, until=lambda: len(view_of(found.etcd).hosts) == 3)
        apply(found, manifest(replicas=6, unavailable=2), "complete")
        yield found


def state(world: World) -> Summary:
    view = view_of(world.etcd)
    return summary(view, view.workloads["web"])


def apply(world: World, each: Manifest, phase: str) -> None:
    """Put a manifest, and wait until its workload is so."""
    world.put(each)
    least = [6]

    def so() -> bool:
        least.append(world.up("web"))
        return state(world).progress == phase

    assert world.run(LONG, until=so), state(world)
    world.least = min(least[1:])  # type: ignore[attr-defined]


def least(world: World) -> int:
    return int(world.least)  # type: ignore[attr-defined]


def test_from_fresh_the_hosts_have_two_each(world: World) -> None:
    assert world.spread("web") == [2, 2, 2]
    assert state(world) == Summary("web", Progress.COMPLETE, 6, 6, 6, 6)


@pytest.mark.parametrize("unavailable", [1, 2, 4])
def test_a_change_ends_and_never_takes_down_more(world: World, unavailable: int) -> None:
    apply(world, manifest(replicas=6, unavailable=unavailable, digest="good-2"), "complete")
    assert world.digests("web") == ["good-2"] * 6
    assert least(world) >= 6 - unavailable
    assert world.spread("web") == [2, 2, 2]


@pytest.mark.parametrize("bad", ["crash-1", pytest.param("never-1", marks=pytest.mark.thorough)])
def test_a_bad_change_halts_and_the_old_manifest_goes_back(world: World, bad: str) -> None:
    world.run(1.0)
    world.put(manifest(replicas=6, unavailable=2, digest=bad))
    halted = world.run(
        PROGRESS_SECONDS + LONG, until=lambda: state(world).progress is Progress.HALTED
    )
    assert halted, state(world)
    world.run(LONG)
    now = state(world)
    assert now.progress is Progress.HALTED
    assert world.up("web") >= 4
    assert 1 <= now.updated <= 2
    assert "host-" in now.why
    assert "put another manifest" in now.why
    apply(world, manifest(replicas=6, unavailable=2), "complete")
    assert world.digests("web") == ["good-1"] * 6
    assert least(world) >= 4


def test_another_manifest_goes_on_after_a_halt(world: World) -> None:
    apply(world, manifest(replicas=6, unavailable=2, digest="crash-1"), "halted")
    apply(world, manifest(replicas=6, unavailable=2, digest="good-3"), "complete")
    assert world.digests("web") == ["good-3"] * 6
    item = world.etcd.keys[rollout_key("web")]
    assert decode(RolloutRecord, item.value) == RolloutRecord("good-3")


def test_what_starts_and_ends_at_once_is_not_taken_for_well(world: World) -> None:
    # It seems ready for a while each time, less than what a change counts on.
    assert READY_AFTER < AVAILABLE_SECONDS
    apply(world, manifest(replicas=6, unavailable=1, digest="crash-1"), "halted")
    assert world.digests("web").count("crash-1") == 1


def test_other_numbers_of_replicas(world: World) -> None:
    apply(world, manifest(replicas=2, unavailable=2), "complete")
    assert world.run(LONG, until=lambda: len(world.digests("web")) == 2)
    apply(world, manifest(replicas=7, unavailable=2), "complete")
    assert sum(world.spread("web")) == 7


def test_a_manifest_that_is_gone_takes_all_with_it(world: World) -> None:
    apply(world, manifest(replicas=6, unavailable=2, digest="good-2"), "complete")
    assert rollout_key("web") in world.etcd.keys
    world.etcd.delete(manifest_key("web"))
    gone = world.run(LONG, until=lambda: not any("web" in key for key in world.etcd.keys))
    assert gone, world.etcd.keys
    assert not world.digests("web")


def test_a_manifest_that_is_refused_changes_nothing(world: World) -> None:
    before = world.digests("web")
    world.etcd.put(manifest_key("web"), b"garbage")
    world.run(60.0)
    assert (world.digests("web"), state(world).progress) == (before, Progress.REFUSED)
    assert "no manifest" in state(world).why


def drained(world: World) -> Callable[[], bool]:
    return lambda: not world.hosts[0].pods and world.up("web") == 6


def test_a_drain_takes_down_no_more_than_a_change_does(world: World) -> None:
    world.put(manifest(replicas=6, unavailable=1))
    world.hosts[0].draining = True
    least = [6]

    def so() -> bool:
        least.append(world.up("web"))
        return drained(world)()

    assert world.run(LONG, until=so)
    assert min(least) >= 5
    assert world.spread("web") == [0, 3, 3]


def test_a_drain_that_cannot_wait_goes_all_the_same(world: World) -> None:
    for host in world.hosts:
        host.draining = True
    world.run(LONG)
    # Nobody takes what they give back, so each may give no more.
    assert sum(world.spread("web")) == 4
    world.hosts[0].forced = True
    assert world.run(LONG, until=lambda: not world.hosts[0].pods)


def test_labels_that_match_no_more_move_the_replicas() -> None:
    labels = [{"disk": "ssd"}, {}, {"disk": "ssd"}]
    world = World(1, 3, labels=labels)
    with world.running():
        for host in world.hosts:
            host.start()
        assert world.run(LONG, until=lambda: len(view_of(world.etcd).hosts) == 3)
        apply(world, manifest(replicas=3), "complete")
        assert world.spread("web") == [1, 1, 1]
        world.put(manifest(replicas=3, selector={"disk": "ssd"}))
        assert world.run(LONG, until=lambda: world.spread("web")[1] == 0)
        assert world.run(LONG, until=lambda: state(world).progress is Progress.COMPLETE)
        world.put(manifest(replicas=4, selector={"disk": "none"}))
        world.run(60.0)
        assert "have no host that accepts them" in state(world).why


# --- Rules about time -----------------------------------------------------------------------------


def test_a_replica_counts_after_a_while() -> None:
    assert not available(None, 99.0)
    assert not available(90.0, 99.9)
    assert available(90.0, 100.0)


def test_a_replica_is_stuck_when_it_crashes_or_is_late() -> None:
    slot = SlotRecord("h", "d", since=100.0)
    late = 100.0 + PROGRESS_SECONDS
    assert stuck(slot, is_available=False, crashing="", now=late - 1) == ""
    assert stuck(slot, is_available=False, crashing="", now=late) == "not ready within 600 s"
    assert stuck(slot, is_available=True, crashing="", now=late) == ""
    assert stuck(slot, is_available=False, crashing="exit 1", now=101.0) == "exit 1"
    assert stuck(replace(slot, since=late), is_available=False, crashing="", now=late) == ""
