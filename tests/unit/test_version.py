import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.version import Version, VersionError

PARTS = st.lists(st.integers(0, 99999), min_size=1, max_size=4)


@given(PARTS, PARTS)
def test_versions_compare_as_numbers(left: list[int], right: list[int]) -> None:
    parsed = [Version.parse(".".join(map(str, parts))) for parts in (left, right)]
    assert (parsed[0] < parsed[1]) == (left < right)
    assert str(parsed[0]) == ".".join(map(str, left))


@pytest.mark.parametrize(
    "text",
    ["", "01", "1.", ".1", "1..2", "-1", "+1", "1.2.3.4.5", " 1", "1\n", "1a", "\u0661", "9" * 25],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(VersionError, match="is no version"):
        Version.parse(text)
