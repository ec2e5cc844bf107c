from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater import channel
from updater.channel import Channel, Promotion, Wave
from updater.strict import FormatError
from updater.version import Version

START = datetime(2026, 11, 22, tzinfo=UTC)
CHANNEL = Channel(
    "stable",
    (
        Promotion(
            Version.parse("2"), START, (Wave(START, 10), Wave(START + timedelta(hours=2), 100))
        ),
        Promotion(Version.parse("1.5"), START, (Wave(START, 0),)),
    ),
)


def test_a_channel_survives_rendering() -> None:
    assert channel.parse(CHANNEL.render()) == CHANNEL


def test_waves_open_with_time() -> None:
    promotion = CHANNEL.releases[0]
    assert promotion.percent(START - timedelta(seconds=1)) == 0
    assert promotion.percent(START) == 10
    assert promotion.percent(START + timedelta(hours=2)) == 100


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"stable"', b'"Stable"', "channel"),
        (b'"percent":100', b'"percent":101', "percent"),
        (b'"percent":100', b'"percent":9', "waves"),
        (b"T02:00:00Z", b"T02:00:00", "start"),
        (b"22T02:00", b"21T02:00", "waves"),
        (b'"version":"1.5"', b'"version":"2"', "twice"),
        (b'"waves":[{"percent":0,"start":"2026-11-22T00:00:00Z"}]', b'"waves":[]', "waves"),
        (b'"schema":1', b'"schema":2', "schema"),
        (b'"schema":1', b'"schema":1,"colour":1', "colour"),
    ],
)
def test_wrong_channels_are_refused(old: bytes, new: bytes, reason: str) -> None:
    data = CHANNEL.render()
    assert old in data
    with pytest.raises(FormatError, match=reason):
        channel.parse(data.replace(old, new))


@given(st.text(max_size=40))
def test_a_place_is_a_percentage(machine: str) -> None:
    assert 0 <= channel.place(machine, Version.parse("2")) < 100


def test_places_are_known_and_differ_between_releases() -> None:
    # Fixed values: hosts of any release must agree with the documented rule.
    places = [channel.place("machine", Version.parse(version)) for version in ("1", "2", "3")]
    assert places == [80, 93, 46]
