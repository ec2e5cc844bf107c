"""When to try again."""

import pytest

from podagent.backoff import Backoff, due, failed, retry, tried


def test_the_first_try_is_at_once_and_each_further_one_twice_as_late() -> None:
    now, tries, waits = 1000.0, None, []
    for _ in range(8):
        at = due(tries, now, now)
        waits.append(at - now)
        tries = tried(tries, now, at)
        now = at + 5  # it runs for 5 s each time
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert tries is not None
    assert tries.total == 8


@pytest.mark.parametrize(("ran", "waits"), [(600, 40), (601, 0)])
def test_ten_good_minutes_make_it_forget(ran: float, waits: float) -> None:
    tries = Backoff(40, 1000, 3)
    ended = 1000 + ran
    assert due(tries, ended, ended) == ended + waits
    assert tried(tries, ended, ended).delay == (80 if waits else 10)


def test_failures_wait_from_the_last_of_them() -> None:
    tries = failed(None, 1000, "refused")
    assert (retry(None, 1000), retry(tries, 1000)) == (1000, 1010)
    assert retry(failed(tries, 1010, "refused"), 1010) == 1030
    assert tries.why == "refused"


def test_a_container_that_cannot_be_started_again_waits_from_the_try_not_from_its_end() -> None:
    assert due(Backoff(20, 1500, 2, "no such program"), 1000, 1501) == 1520


def test_times_that_are_to_come_do_not_hold_it_up() -> None:
    # The clock was set back by an hour: at worst the wait is once had in full.
    assert due(Backoff(20, 4600), 4700, 1000) == 1020
    assert due(Backoff(20, 4600), 900, 1000) == 920
