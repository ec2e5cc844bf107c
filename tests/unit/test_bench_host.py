"""What the bench's host tells on its console."""

import pytest

from tests.bench.document import Pair, figures_of
from tests.bench.host import Told, read

_TOLD = """\
MemTotal:         984292 kB
MemFree:          866852 kB
MemAvailable:     868092 kB

Id=boot-complete.target
CPUUsageNSec=[not set]
InactiveExitTimestampMonotonic=30562412
ActiveEnterTimestampMonotonic=30562412

Id=bedplate-config.service
InactiveExitTimestampMonotonic=15013460
ActiveEnterTimestampMonotonic=16877596
CPUUsageNSec=849426000
all told
"""


def test_the_figures_are_read() -> None:
    found = read(_TOLD)
    assert (found["boot"], found["memory"]) == (30.562412, (984292 - 868092) * 1024)
    assert found["config"] == pytest.approx(1.864136)
    assert found["config_cpu"] == pytest.approx(0.849426)


def test_what_a_document_adds_is_the_median_of_the_pairs() -> None:
    def twice(*cpu: float) -> tuple[Told, Told]:
        first, later = ({"config_cpu": each, "boot": 20 + each} for each in cpu)
        return first, later

    pairs = [Pair(twice(2, 3), twice(2 + more, 3)) for more in (1, 9, 1.25)]
    assert [figure.value for figure in figures_of(pairs)] == [1.25, 1.25, 0, 0]
