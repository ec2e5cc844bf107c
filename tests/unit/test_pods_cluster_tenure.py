import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_model import EtcdModel
from hostkit.etcd import Granted, Unavailable
from podagent.cluster import tenure as life
from podagent.cluster.tenure import TIMING, Tenure
from pods_cluster_hosts import dice

HELD = life.held(TIMING, 7, 100.0, 30, 1.0)


def test_the_lease_is_of_30_seconds_renewed_every_5_and_fenced_10_before_its_end() -> None:
    assert Tenure(7, until=120.0, due=105.0) == HELD
    assert HELD.may_run(119.9)
    assert not HELD.may_run(120.0)
    assert not Tenure().may_run(0.0)


def test_what_is_next_is_the_renewal_then_the_fence_then_the_renewal() -> None:
    assert HELD.next_time(101.0) == 105.0
    late = life.failed(TIMING, HELD, "down", 119.0, 1.0)
    assert late.next_time(119.0) == 120.0
    assert late.next_time(120.0) == late.due == 120.0
    assert (late.lease, late.problem) == (7, "down")


def test_retries_are_never_further_apart_than_a_few_seconds() -> None:
    tenure, now, pauses = HELD, 105.0, []
    for _ in range(4):
        tenure = life.failed(TIMING, tenure, "down", now, 1.0)
        pauses.append(tenure.due - now)
        now = tenure.due
    assert pauses == [1.0, 2.0, 2.5, 2.5]


class Slow(EtcdModel):
    """Etcd that takes a second to answer."""

    def grant(self, seconds: int) -> Granted:
        granted = super().grant(seconds)
        self.move(self.now + 1)
        return granted

    def keep_alive(self, lease: int) -> int:
        if self.now > 500:
            raise Unavailable("down")
        seconds = super().keep_alive(lease)
        self.move(self.now + 1)
        return seconds


def test_the_fence_counts_from_the_sending() -> None:
    etcd = Slow(now=100.0)
    tenure = life.tend(etcd, TIMING, Tenure(), lambda: etcd.now, dice(1))
    assert tenure.until == 120.0
    etcd.move(105.0)
    tenure = life.tend(etcd, TIMING, tenure, lambda: etcd.now, dice(1))
    assert tenure.until == 125.0


def test_beyond_the_fence_the_lease_is_kept_as_long_as_etcd_has_it() -> None:
    etcd = Slow(now=100.0)
    tenure = life.tend(etcd, TIMING, Tenure(), lambda: etcd.now, dice(1))
    etcd.move(125.0)
    assert not tenure.may_run(etcd.now)
    again = life.tend(etcd, TIMING, tenure, lambda: etcd.now, dice(1))
    assert (again.lease, again.until) == (tenure.lease, 145.0)
    etcd.move(200.0)
    gone = life.tend(etcd, TIMING, again, lambda: etcd.now, dice(1))
    assert (gone.lease, gone.due) == (0, 201.0)
    assert "has ended" in (gone.problem or "")
    new = life.tend(etcd, TIMING, gone, lambda: etcd.now, dice(1))
    assert new.lease not in {0, again.lease}


def test_without_etcd_the_fence_stays_where_it_is() -> None:
    etcd = Slow(now=501.0)
    tenure = life.held(TIMING, 7, 500.0, 30, 1.0)
    failed = life.tend(etcd, TIMING, tenure, lambda: etcd.now, dice(1))
    assert (failed.until, failed.failures, failed.problem) == (520.0, 1, "down")
    assert life.hurry(failed, 501.0).due == 501.0


@pytest.mark.parametrize("tenure", [Tenure(), HELD])
def test_an_agent_that_is_started_again_goes_on(tenure: Tenure) -> None:
    restored = life.restore(TIMING, life.save(tenure), 110.0)
    assert restored == Tenure(tenure.lease, tenure.until, due=110.0)


@pytest.mark.parametrize("until", [131.0, math.inf, math.nan, -math.inf])
def test_a_lease_of_another_boot_is_none(until: float) -> None:
    with pytest.raises(ValueError, match="lease of this boot"):
        life.restore(TIMING, json.dumps({"lease": 7, "until": until}).encode(), 100.0)


@given(st.binary() | st.sampled_from([b"[]", b"{}", b'{"lease":1}', b'{"lease":{},"until":1}']))
def test_what_was_not_saved_is_not_restored(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the reason
        life.restore(TIMING, text, 0.0)
