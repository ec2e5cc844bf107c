import math
import time
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostkit.timing import Timing, boottime
from overlay import holding as life
from overlay.holding import Holding, Step, Task, next_step
from overlay.lease import Lease, Terms, parse_subnets
from updater.errors import InputError

HOUR = 3600.0
TIMING = Timing()
LEASE = Lease(parse_subnets("10.5.1.0-24"), Terms(IPv4Address("10.0.0.1"), backend="vxlan"), 7, 9)


def held(sent: float = 1000.0, seconds: float = 24 * HOUR) -> Holding:
    return life.held(TIMING, LEASE, sent, seconds, 1.0)


def test_at_first_there_is_one_thing_to_do() -> None:
    assert next_step(Holding(), 5.0) == Step(Task.JOIN, 0.0)


def test_a_lease_is_renewed_hourly_and_fenced_an_hour_before_its_end() -> None:
    holding = held()
    assert next_step(holding, 1001.0).task is Task.WAIT
    assert next_step(holding, 1001.0).at == holding.due == 1000 + 23 * HOUR / 24
    assert next_step(holding, holding.due).task is Task.RENEW
    end = 1000 + 23 * HOUR
    assert next_step(holding, end - 1).task is Task.RENEW
    assert holding.may_forward(end - 1)
    assert next_step(holding, end) == Step(Task.FENCE, end)
    assert not holding.may_forward(end)


def test_the_fence_counts_from_the_sending_and_from_what_etcd_gave() -> None:
    assert held(sent=50.0).until == 50 + 23 * HOUR
    assert held(sent=50.0, seconds=2 * HOUR).until == 50 + HOUR


def test_an_answer_that_came_too_late_is_none() -> None:
    assert next_step(held(sent=0.0), 23 * HOUR).task is Task.FENCE


def test_a_reservation_is_looked_after_but_never_fenced() -> None:
    holding = held(seconds=math.inf)
    assert holding.until == math.inf
    assert next_step(holding, 99 * 24 * HOUR).task is Task.RENEW


def test_retries_come_later_each_time_and_never_later_than_the_fence() -> None:
    holding, now, pauses = held(), 2 * HOUR, []
    for _ in range(9):
        holding = life.failed(TIMING, holding, "down", now, 1.0)
        pauses.append(holding.due - now)
        now = holding.due
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    late = life.failed(TIMING, holding, "down", holding.until - 1, 1.0)
    assert next_step(late, holding.until - 1) == Step(Task.WAIT, holding.until)


def test_jitter_parts_hosts_that_joined_at_once() -> None:
    early, late = (life.held(TIMING, LEASE, 0.0, 24 * HOUR, jitter).due for jitter in (0.0, 1.0))
    assert late - early == pytest.approx(23 * HOUR / 24 / 4)
    soon = life.failed(TIMING, Holding(), "down", 0.0, 0.0).due
    assert soon == 0.5


def test_what_is_lost_is_fenced_at_once_and_begun_anew() -> None:
    holding = life.lost(held(), "the key was deleted")
    assert not holding.may_forward(1001.0)
    assert next_step(holding, 1001.0) == Step(Task.FENCE, 1001.0)
    after = life.fenced(holding, 1001.0)
    assert next_step(after, 1001.0).task is Task.JOIN
    assert (after.previous, after.problem) == (LEASE.subnets, "the key was deleted")
    assert life.lost(after, "again") == after


def test_haste_makes_a_renewal_due_and_moves_no_fence() -> None:
    holding = life.hurry(held(), 1500.0)
    assert next_step(holding, 1500.0).task is Task.RENEW
    assert holding.until == held().until


@pytest.mark.parametrize("holding", [Holding(), held(), held(seconds=math.inf)])
def test_an_agent_that_is_started_again_goes_on(holding: Holding) -> None:
    restored = life.restore(life.save(holding), 2000.0)
    assert (restored.lease, restored.until) == (holding.lease, holding.until)
    if holding.lease:
        assert next_step(restored, 2000.0).task is Task.RENEW
        assert next_step(restored, 30 * HOUR).task in (Task.FENCE, Task.RENEW)


@given(
    st.binary().filter(lambda text: text.strip() != b"{}")
    | st.sampled_from([b"[]", b'"x"', b'{"subnets":1}', b"7", b"null"])
)
def test_what_was_not_saved_is_not_restored(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the reason
        life.restore(text, 0.0)


@pytest.mark.parametrize(("ttl", "margin"), [(60, 60), (60, 0), (60, 61)])
def test_a_margin_lies_within_the_lease(ttl: int, margin: int) -> None:
    with pytest.raises(InputError, match=f"{ttl} s"):
        Timing(ttl, margin)


@given(st.integers(2, 10**6), st.data())
def test_there_are_three_tries_to_renew_before_the_fence(ttl: int, data: st.DataObject) -> None:
    timing = Timing(ttl, data.draw(st.integers(1, ttl - 1)))
    assert 0 < timing.renewal <= (ttl - timing.margin) / 3 + 1e-9


def test_the_clock_counts_sleep_and_is_not_the_time_of_day() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


@given(
    st.lists(
        st.tuples(st.floats(0, 50 * HOUR), st.sampled_from(("renewed", "failed", "hurry", "lost"))),
        max_size=30,
    )
)
def test_traffic_never_outlives_the_last_renewal(events: list[tuple[float, str]]) -> None:
    now, sent, holding = 0.0, 0.0, held(sent=0.0)
    for pause, event in events:
        now += pause
        step = next_step(holding, now)
        if holding.may_forward(now):
            assert now < sent + 23 * HOUR
        if step.task is Task.FENCE:
            holding = life.fenced(holding, now)
        elif event == "renewed":
            sent, holding = now, held(sent=now)
        elif event == "failed":
            holding = life.failed(TIMING, holding, "down", now, 0.5)
        elif event == "hurry":
            holding = life.hurry(holding, now)
        else:
            holding = life.lost(holding, "gone")
            assert not holding.may_forward(now)
        assert next_step(replace(holding, due=now + 1), now).at >= min(now, holding.until)
