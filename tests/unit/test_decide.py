import itertools
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_samples import image_of, make_release
from updater import decide
from updater.channel import Channel, Promotion, Wave, place
from updater.config import Strategy, Weekday, Window
from updater.decide import Decision, Situation, Verdict
from updater.manifest import ReleaseManifest
from updater.version import Version

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SITUATION = Situation(NOW, "bedplate", "x86-64", Version((1,)), "0123", frozenset())


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> ReleaseManifest:
    return make_release(tmp_path_factory.mktemp("sample"), image_of([1, 2])).manifest


def promotion(version: int, *waves: tuple[int, int]) -> Promotion:
    """`waves` are (hours from now, percent)."""
    made = tuple(Wave(NOW + timedelta(hours=hours), percent) for hours, percent in waves)
    return Promotion(Version((version,)), NOW, made or (Wave(NOW, 100),))


def decided(
    sample: ReleaseManifest,
    situation: Situation,
    promotions: list[Promotion],
    minimum: dict[int, int] | None = None,
) -> Decision:
    channel = Channel("stable", tuple(promotions))
    manifests = {
        version: replace(
            sample,
            version=version,
            minimum_version=Version(((minimum or {}).get(version.parts[0], 0),)),
        )
        for version in decide.eligible(situation, channel)
    }
    return decide.decide(situation, channel, manifests)


def test_the_newest_is_taken(sample: ReleaseManifest) -> None:
    decision = decided(sample, SITUATION, [promotion(2), promotion(10), promotion(9)])
    assert (decision.verdict, decision.version) == (Verdict.UPDATE, Version((10,)))


def test_nothing_newer_nothing_older(sample: ReleaseManifest) -> None:
    decision = decided(sample, SITUATION, [promotion(1), promotion(0)])
    assert decision.verdict is Verdict.CURRENT
    assert decision.version is None


def test_a_rejected_release_is_told_of(sample: ReleaseManifest) -> None:
    situation = replace(SITUATION, rejected=frozenset([Version((2,))]))
    decision = decided(sample, situation, [promotion(2)])
    assert decision.verdict is Verdict.REJECTED
    assert "unreject 2" in decision.reason
    assert decided(sample, situation, [promotion(2), promotion(3)]).version == Version((3,))


def test_a_wave_is_waited_for(sample: ReleaseManifest) -> None:
    decision = decided(sample, SITUATION, [promotion(2, (0, 0), (5, 100))])
    assert decision.verdict is Verdict.WAITING
    assert "2026-11-22 17:00" in decision.reason
    later = replace(SITUATION, now=NOW + timedelta(hours=5))
    assert decided(sample, later, [promotion(2, (0, 0), (5, 100))]).verdict is Verdict.UPDATE
    assert "no wave" in decided(sample, SITUATION, [promotion(2, (0, 0))]).reason


def test_another_architecture_is_unfit(sample: ReleaseManifest) -> None:
    situation = replace(SITUATION, architecture="arm64")
    assert decided(sample, situation, [promotion(2)]).verdict is Verdict.UNFIT


def test_an_intermediate_release_is_stepped_through(sample: ReleaseManifest) -> None:
    offered = [promotion(2), promotion(3)]
    assert decided(sample, SITUATION, offered, {3: 2}).version == Version((2,))
    at_two = replace(SITUATION, running=Version((2,)))
    assert decided(sample, at_two, offered, {3: 2}).version == Version((3,))
    without = replace(SITUATION, rejected=frozenset([Version((2,))]))
    decision = decided(sample, without, offered, {3: 2})
    assert decision.verdict is Verdict.INTERMEDIATE
    assert decision.version == Version((3,))


def farthest(running: int, minimum: dict[int, int], allowed: set[int]) -> int:
    """The highest version that any sequence of allowed steps reaches."""
    reached = {running}
    while more := {
        to
        for here, to in itertools.product(reached, allowed)
        if to > here and minimum[to] <= here and to not in reached
    }:
        reached |= more
    return max(reached)


@given(
    running=st.integers(0, 9),
    minimum=st.dictionaries(st.integers(0, 9), st.integers(0, 9), max_size=10),
    rejected=st.sets(st.integers(0, 9)),
    percent=st.dictionaries(st.integers(0, 9), st.integers(0, 100)),
    machine=st.text("0123456789abcdef", min_size=1, max_size=8),
)
def test_steps_end_at_the_farthest_that_is_allowed(
    sample: ReleaseManifest,
    *,
    running: int,
    minimum: dict[int, int],
    rejected: set[int],
    percent: dict[int, int],
    machine: str,
) -> None:
    minimum = {version: min(least, version) for version, least in minimum.items()}
    promotions = [promotion(each, (-1, percent.get(each, 100)), (1, 100)) for each in minimum]
    versions = frozenset(Version((each,)) for each in rejected)
    allowed = {
        each
        for each in minimum
        if each not in rejected and place(machine, Version((each,))) < percent.get(each, 100)
    }
    at = running
    for _ in range(11):
        situation = Situation(NOW, "bedplate", "x86-64", Version((at,)), machine, versions)
        decision = decided(sample, situation, promotions, minimum)
        if decision.verdict is not Verdict.UPDATE:
            break
        assert decision.version is not None
        [step] = decision.version.parts
        assert step > at
        assert step in allowed
        assert minimum[step] <= at
        at = step
    assert at == farthest(running, minimum, allowed)


# --- When to reboot -------------------------------------------------------------------------------

MONDAYS = Window(time(3), timedelta(hours=2), frozenset([Weekday.MON]))


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        (datetime(2026, 11, 23, 2, tzinfo=UTC), 1.0),
        (datetime(2026, 11, 23, 3, tzinfo=UTC), 0.0),
        (datetime(2026, 11, 23, 4, 59, tzinfo=UTC), 0.0),
        (datetime(2026, 11, 23, 5, tzinfo=UTC), 7 * 24 - 2.0),
        (datetime(2026, 11, 22, 3, tzinfo=UTC), 24.0),
    ],
)
def test_a_window(now: datetime, hours: float) -> None:
    assert decide.window_wait(MONDAYS, now) == timedelta(hours=hours)


def test_a_window_past_midnight_belongs_to_the_day_it_opens() -> None:
    window = Window(time(23), timedelta(hours=2), frozenset([Weekday.MON]))
    assert decide.window_wait(window, datetime(2026, 11, 24, 0, 30, tzinfo=UTC)) == timedelta()
    assert decide.window_wait(window, datetime(2026, 11, 23, 0, 30, tzinfo=UTC)) > timedelta()


@given(
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - made aware below
    start=st.times().map(lambda each: each.replace(second=0, microsecond=0)),
    minutes=st.integers(1, 1440),
    days=st.sets(st.sampled_from(Weekday), min_size=1).map(frozenset),
)
def test_a_window_is_open_when_the_wait_is_over(
    now: datetime, start: time, minutes: int, days: frozenset[Weekday]
) -> None:
    window = Window(start, timedelta(minutes=minutes), days)
    aware = now.replace(tzinfo=UTC)
    wait = decide.window_wait(window, aware)
    assert timedelta() <= wait <= timedelta(days=7)
    assert decide.window_wait(window, aware + wait) == timedelta()
    if wait:
        assert decide.window_wait(window, aware + wait - timedelta(microseconds=1)) > timedelta()


def test_strategies() -> None:
    assert decide.reboot_wait(Strategy.OFF, None, NOW) is None
    assert decide.reboot_wait(Strategy.REBOOT, None, NOW) == timedelta()
    assert decide.reboot_wait(Strategy.WINDOW, MONDAYS, NOW) == timedelta(hours=15)


@given(st.floats(1, 1e6), st.integers(0, 100))
def test_back_off_grows_and_ends(interval: float, failures: int) -> None:
    assert decide.back_off(interval, 0) == interval
    now, later = decide.back_off(interval, failures + 1), decide.back_off(interval, failures + 2)
    assert 0 < now <= later <= 12 * interval
