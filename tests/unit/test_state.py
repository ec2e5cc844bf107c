import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater import state
from updater.state import Phase, State, TransitionError
from updater.store import BusyError, Store, locked
from updater.strict import FormatError
from updater.version import Version

AT = datetime(2026, 11, 22, tzinfo=UTC)
ONE, TWO = Version((1,)), Version((2,))
HASH = "ab" * 32


def staging() -> State:
    return state.start_staging(State(), TWO, HASH, AT)


def staged() -> State:
    return state.staged(staging(), AT)


def trial(boots: int = 1) -> State:
    known = staged()
    for number in range(boots):
        known = state.booted_trial(known, f"boot-{number}", AT)
    return known


STEPS = {
    "start_staging": lambda known: state.start_staging(known, TWO, HASH, AT),
    "staged": lambda known: state.staged(known, AT),
    "missed": lambda known: state.missed(known, "next"),
    "booted_trial": lambda known: state.booted_trial(known, "next", AT),
    "became_good": lambda known: state.became_good(known, AT),
    "rolled_back": lambda known: state.rolled_back(known, "bad", AT),
    "withdrawn": lambda known: state.withdrawn(known, "gone", AT),
}
ALLOWED = {
    Phase.IDLE: {"start_staging"},
    Phase.STAGING: {"start_staging", "staged", "booted_trial", "rolled_back", "withdrawn"},
    Phase.STAGED: {"start_staging", "missed", "booted_trial", "rolled_back", "withdrawn"},
    Phase.TRIAL: {"booted_trial", "became_good", "rolled_back"},
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("known", [State(), staging(), staged(), trial()], ids=lambda s: s.phase)
def test_steps_are_taken_only_from_where_they_mean_something(known: State, step: str) -> None:
    if step in ALLOWED[known.phase]:
        STEPS[step](known)
    else:
        with pytest.raises(TransitionError):
            STEPS[step](known)


def test_a_rolled_back_version_is_never_staged_again() -> None:
    known = state.rolled_back(trial(), "it hung", AT)
    assert known.phase is Phase.IDLE
    assert known.rejected[0].reason == "it hung"
    with pytest.raises(TransitionError, match="rejected"):
        state.start_staging(known, TWO, HASH, AT)
    allowed = state.unreject(known, TWO, AT)
    assert state.start_staging(allowed, TWO, HASH, AT).phase is Phase.STAGING
    with pytest.raises(TransitionError, match="rejected are: none"):
        state.unreject(allowed, TWO, AT)


def test_each_boot_counts_once() -> None:
    known = trial(3)
    assert known.tries == 3
    assert state.booted_trial(known, known.boot_id, AT) == known
    late = state.missed(state.missed(staged(), "a"), "a")
    assert late.pending is not None
    assert late.pending.missed == 1


def test_staging_again_says_so_once() -> None:
    assert len(state.start_staging(staging(), TWO, HASH, AT).history) == 1


def test_the_trusted_time_never_goes_back() -> None:
    known = state.trusted(State(), AT)
    assert state.trusted(known, AT - timedelta(days=1)).trusted_time == AT
    assert state.trusted(known, None).trusted_time == AT
    assert state.trusted(known, AT + timedelta(days=1)).trusted_time == AT + timedelta(days=1)


def test_lists_are_bounded() -> None:
    known = State()
    for number in range(200):
        known = state.reject(known, Version((number,)), "x" * 2000, AT)
    assert len(state.render(known)) < 128 * 1024
    assert known.is_rejected(Version((199,)))
    assert state.parse(state.render(known)) == known


TEXTS = st.text(max_size=40)
STATES = st.builds(
    lambda base, rejected, error, serial: replace(
        state.checked(replace(base, serial=serial), AT, error),
        rejected=state._add_rejections(base, rejected).rejected,
    ),
    st.sampled_from([State(), staging(), staged(), trial(), trial(2)]),
    st.lists(
        st.builds(
            state.Rejection,
            st.integers(0, 99).map(lambda number: Version((number,))),
            TEXTS,
            st.just(AT),
        ),
        max_size=5,
    ),
    TEXTS,
    st.integers(0, 1000),
)


@given(STATES)
def test_a_state_reads_back(known: State) -> None:
    assert state.parse(state.render(known)) == known
    assert state.recover([state.render(known)] * 2) == known


@given(known=STATES, cut=st.integers(0, 5000), junk=st.binary(max_size=20), first=st.booleans())
def test_any_torn_copy_is_made_good_by_the_other(
    known: State, cut: int, junk: bytes, *, first: bool
) -> None:
    whole = state.render(known)
    torn = whole[: cut % len(whole)] + junk
    copies = [torn, whole] if first else [whole, torn]
    assert state.recover(copies) == known


@given(old=STATES, new=STATES)
def test_what_any_copy_rejects_is_rejected(old: State, new: State) -> None:
    new = replace(new, serial=old.serial + 1)
    found = state.recover([state.render(new), state.render(old)])
    assert found.phase is new.phase
    for rejection in (*old.rejected, *new.rejected):
        assert found.is_rejected(rejection.version)


@given(st.lists(st.binary(max_size=200), max_size=2))
def test_junk_is_an_idle_host(copies: list[bytes]) -> None:
    assert state.recover(copies) == State()


def test_a_later_schema_still_tells_what_is_rejected() -> None:
    document = json.loads(state.render(state.reject(State(), TWO, "bad", AT)))
    document |= {"schema": 2, "more": True}
    data = json.dumps(document).encode()
    with pytest.raises(FormatError):
        state.parse(data)
    assert state.recover([data]).is_rejected(TWO)


def test_the_store_keeps_two_copies(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", tmp_path / "run")
    assert store.load() == State()
    written = store.update(lambda known: state.reject(known, TWO, "bad", AT))
    assert written.serial == 1
    for name in ("state.json", "state.json.bak"):
        other = (tmp_path / "state" / name).read_bytes()
        (tmp_path / "state" / name).write_bytes(b"torn")
        assert store.load() == written
        (tmp_path / "state" / name).write_bytes(other)
    (tmp_path / "state/state.json").unlink()
    assert store.load() == written
    assert store.update(lambda known: known).serial == 1


def test_the_lock_is_for_one(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", wait=False),
        pytest.raises(BusyError, match="at work"),
        locked(tmp_path / "lock", wait=False),
    ):
        pass
    with locked(tmp_path / "lock", wait=False):
        pass
