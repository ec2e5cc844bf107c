"""What the bench's host tells on its console."""

import pytest

from tests.bench.host import read

_TOLD = """\
MemTotal:         984292 kB
MemFree:          866852 kB
MemAvailable:     868092 kB

Id=boot-complete.target
InactiveExitTimestampMonotonic=30562412
ActiveEnterTimestampMonotonic=30562412

Id=bedplate-config.service
InactiveExitTimestampMonotonic=15013460
ActiveEnterTimestampMonotonic=16877596
all told
"""


def test_the_figures_are_read() -> None:
    found = read(_TOLD)
    assert (found["boot"], found["memory"]) == (30.562412, (984292 - 868092) * 1024)
    assert found["config"] == pytest.approx(1.864136)
