"""What the cluster is told of a pod."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from podagent.cluster.part import Joined
from podagent.cluster.records import Report, SlotRecord
from podagent.cluster.reporting import (
    Ready,
    addresses,
    leaving,
    next_available,
    ready_since,
    to_report,
)
from podagent.cluster.rollout import AVAILABLE_SECONDS, PROGRESS_SECONDS
from podagent.observed import PodState
from podagent.phase import ContainerReport, Doing, Phase, PodReport
from podagent.types import Origin

NOW = 1000.0


def container(reason: str = "", message: str = "") -> ContainerReport:
    doing = Doing.WAITING if reason else Doing.RUNNING
    return ContainerReport(
        "main", doing, not reason, 1, reason, message, "a:1", "sha256:a", None, 1.0, 0.0
    )


def pod(*containers: ContainerReport, ready: bool = True, digest: str = "d") -> PodReport:
    inside = containers or (container(),)
    reason, message = inside[0].reason, inside[0].message
    return PodReport(
        *("web-0", Origin.CLUSTER, digest, 0, Phase.RUNNING, ready, reason, message, ("10.0.0.2",)),
        restarts=3,
        containers=inside,
    )


def told(
    what: PodReport,
    ready: float | None = None,
    *,
    slot: float | None = None,
    now: float = NOW,
    ends: bool = False,
) -> Report:
    """A report on a pod that is ready since `ready`, and whose slot was written at `slot`."""
    record = None if slot is None else SlotRecord("one", "d", since=slot)
    since = None if ready is None else Ready("d", ready)
    return to_report(what, record, since, ("10.0.0.9",), now, leaving=ends)


def test_all_of_it_is_told() -> None:
    assert told(pod(), NOW) == Report(
        phase="Running",
        ready=True,
        digest="d",
        slot=0,
        addresses=("10.0.0.9",),
        restarts=3,
        images={"main": "sha256:a"},
    )
    wrong = told(pod(container("ErrImagePull", "m" * 1000), ready=False))
    assert wrong.error.startswith("ErrImagePull: mmm")
    assert len(wrong.error) == 500


def test_it_is_available_once_it_has_been_ready_for_so_long() -> None:
    assert not told(pod(), NOW - AVAILABLE_SECONDS + 0.1).available
    assert told(pod(), NOW - AVAILABLE_SECONDS).available
    assert not told(pod(ready=False)).available


def test_one_that_is_being_ended_is_sent_nothing_new() -> None:
    found = told(pod(), NOW - AVAILABLE_SECONDS, ends=True)
    assert not found.ready
    assert not found.available


def test_a_replica_that_crashes_or_takes_too_long_is_stuck() -> None:
    crash = pod(container("CrashLoopBackOff", "it ended with 1"), ready=False)
    assert told(crash, slot=NOW).stuck == "CrashLoopBackOff: main: it ended with 1"
    assert not told(crash).stuck, "it has no slot"
    slow = pod(container("Pulling", "a:1"), ready=False)
    assert not told(slow, slot=NOW - PROGRESS_SECONDS + 1).stuck
    assert told(slow, slot=NOW - PROGRESS_SECONDS).stuck
    assert not told(pod(), 0, slot=NOW - PROGRESS_SECONDS).stuck


def test_readiness_counts_from_its_beginning() -> None:
    first = ready_since({}, [pod()], {}, NOW)
    assert first == {"web-0": Ready("d", NOW)}
    assert ready_since(first, [pod()], {}, NOW + 5) == first
    assert ready_since(first, [pod(digest="e")], {}, NOW + 5) == {"web-0": Ready("e", NOW + 5)}
    assert ready_since(first, [pod(ready=False)], {}, NOW + 5) == {}
    assert ready_since(first, [], {}, NOW + 5) == {}


def test_an_agent_that_is_started_again_believes_what_was_told() -> None:
    last = replace(told(pod()), available=True)
    assert ready_since({}, [pod()], {"web-0": last}, NOW)["web-0"].since <= NOW - AVAILABLE_SECONDS
    assert ready_since({}, [pod(digest="e")], {"web-0": last}, NOW)["web-0"].since == NOW


@given(st.lists(st.floats(0, 2000)), st.floats(0, 2000))
def test_the_next_time_is_one_at_which_something_becomes_available(
    since: list[float], now: float
) -> None:
    soon = next_available((Ready("d", each) for each in since), now)
    assert soon > now
    due = [each + AVAILABLE_SECONDS for each in since]
    assert soon in {*due, math.inf}
    assert not [each for each in due if now < each < soon]


def test_only_addresses_that_others_reach_are_told() -> None:
    bridge = PodState("web-0", "d", 0, 1.0, ("10.88.0.2",), ())
    host = replace(bridge, addresses=(), host_network=True)
    assert addresses(bridge, ("192.0.2.1",), overlay=False) == ()
    assert addresses(bridge, ("192.0.2.1",), overlay=True) == ("10.88.0.2",)
    assert addresses(host, ("192.0.2.1",), overlay=False) == ("192.0.2.1",)
    assert addresses(None, ("192.0.2.1",), overlay=True) == ()


def test_what_makes_room_for_another_manifest_is_leaving() -> None:
    old = PodState("web-0", "d", 0, 1.0, (), ())
    assert leaving([old], {"web-0": "e"}, {"web-0"}) == {"web-0"}
    assert leaving([old], {"web-0": "e"}, set()) == set()
    assert leaving([old], {"web-0": "d"}, {"web-0"}) == set()


def test_a_host_that_joins_waits_and_one_whose_agent_begins_anew_does_not() -> None:
    joins = Joined().now(7, 5.0, first=False)
    assert joins.since == 5.0
    assert joins.now(7, 9.0, first=False).since == 5.0
    assert joins.now(0, 9.0, first=False).since == math.inf
    assert joins.now(8, 9.0, first=False).since == 9.0
    assert Joined().now(7, 5.0, first=True).since == -math.inf
    assert Joined().now(0, 5.0, first=True).since == math.inf
