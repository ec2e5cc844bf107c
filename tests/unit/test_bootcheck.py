from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater import state
from updater.bootcheck import Outcome, assess, needs_entries
from updater.bootentries import Entry, Found, fresh
from updater.state import State
from updater.version import Version

AT = datetime(2026, 11, 22, tzinfo=UTC)
ONE, TWO = Version((1,)), Version((2,))
STAGING = state.start_staging(State(serial=1), TWO, "ab" * 32, AT)
STAGED = state.staged(STAGING, AT)


def trial(boots: int) -> State:
    known = STAGED
    for number in range(1, boots + 1):
        known = state.booted_trial(known, f"boot-{number}", AT)
    return known


def found(*entries: Entry) -> tuple[Found, ...]:
    return tuple(Found(entry.name, entry) for entry in entries)


OLD = Entry(ONE)


@pytest.mark.parametrize(
    ("known", "running", "entries", "outcome"),
    [
        (State(), ONE, found(OLD), Outcome.NORMAL),
        (STAGING, ONE, found(OLD), Outcome.UNFINISHED),
        (STAGING, ONE, found(OLD, fresh(TWO)), Outcome.UNTRIED),
        (STAGED, ONE, found(OLD, fresh(TWO)), Outcome.UNTRIED),
        (STAGED, ONE, found(OLD), Outcome.UNFINISHED),
        (STAGED, ONE, None, Outcome.UNKNOWN),
        (STAGING, TWO, found(OLD, Entry(TWO, 2, 1)), Outcome.TRIAL),
        (STAGED, TWO, found(OLD, Entry(TWO, 2, 1)), Outcome.TRIAL),
        (STAGED, TWO, None, Outcome.TRIAL),
        (trial(1), TWO, found(OLD, Entry(TWO, 1, 2)), Outcome.TRIAL),
        (trial(1), TWO, found(OLD, Entry(TWO)), Outcome.PROVEN),
        (trial(3), TWO, found(OLD, Entry(TWO, 3)), Outcome.EXHAUSTED),
        (trial(3), TWO, None, Outcome.EXHAUSTED),
        (trial(1), ONE, found(OLD, Entry(TWO, 0, 3)), Outcome.ROLLED_BACK),
        (trial(1), ONE, None, Outcome.ROLLED_BACK),
        (STAGED, ONE, found(OLD, Entry(TWO, 0, 3)), Outcome.ROLLED_BACK),
        (STAGING, ONE, found(OLD, Entry(TWO, 1, 2)), Outcome.ROLLED_BACK),
        (state.reject(State(), TWO, "bad", AT), TWO, found(OLD), Outcome.UNWANTED),
    ],
)
def test_witnesses(
    known: State, running: Version, entries: tuple[Found, ...] | None, outcome: Outcome
) -> None:
    assert assess(known, running, "now", entries).outcome is outcome


def test_the_last_boot_of_a_trial_is_not_one_too_many() -> None:
    known = trial(3)
    entries = found(OLD, Entry(TWO, 3))
    assert assess(known, TWO, known.boot_id, entries).outcome is Outcome.TRIAL
    assert assess(trial(2), TWO, "now", entries).outcome is Outcome.TRIAL


COUNTS = st.integers(0, 3)
ENTRIES = st.none() | st.lists(
    st.builds(Entry, st.sampled_from([ONE, TWO]), st.none() | COUNTS, COUNTS), max_size=3
).map(lambda entries: found(*entries))
STATES = st.sampled_from(
    [State(), STAGING, STAGED, *(trial(boots) for boots in range(1, 5))]
) | st.sampled_from([state.reject(STAGED, ONE, "bad", AT)])


@given(known=STATES, running=st.sampled_from([ONE, TWO]), entries=ENTRIES)
def test_no_verdict_from_nothing(
    known: State, running: Version, entries: tuple[Found, ...] | None
) -> None:
    boot = assess(known, running, "now", entries)
    if boot.outcome is Outcome.ROLLED_BACK:
        tried = known.phase is state.Phase.TRIAL
        counted = any(each.entry.done or each.entry.bad for each in entries or ())
        assert tried or counted
        assert running != TWO
    if boot.outcome is Outcome.EXHAUSTED:
        assert known.tries >= state.MAXIMUM_TRIES
    if boot.outcome is not Outcome.NORMAL:
        assert needs_entries(known, running)
