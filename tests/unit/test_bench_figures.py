"""The bench's table: what was not measured has its row, too."""

import json
from pathlib import Path

import pytest

from tests.bench.figures import MB, Figure, Unit, of_vms, table, to_plain


def rows(figures: list[Figure], capsys: pytest.CaptureFixture[str]) -> list[str]:
    table(figures)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[1:]]


def test_a_value_is_beside_its_aim(capsys: pytest.CaptureFixture[str]) -> None:
    figures = [
        Figure("wire", 60 * MB, Unit.BYTES, 80 * MB),
        Figure("boot", 21, Unit.SECONDS, 20, "TCG"),
        Figure("staging", 3, Unit.SECONDS),
    ]
    assert rows(figures, capsys) == [
        "wire 60.0 MB under 80.0 MB",
        "boot 21.0 s under 20.0 s over the aim; TCG",
        "staging 3.0 s",
    ]


def test_what_was_not_measured_says_what_measures_it(capsys: pytest.CaptureFixture[str]) -> None:
    figure = Figure("cold build", None, Unit.SECONDS, 20, "make bench BENCH=--cold")
    assert rows([figure], capsys) == [
        "cold build not measured under 20.0 s make bench BENCH=--cold"
    ]
    (plain,) = json.loads(json.dumps(to_plain([figure])))["figures"]
    assert plain["value"] is None


@pytest.mark.parametrize("content", [None, "", "{}", '{"memory_bytes": "much"}'])
def test_without_vms_each_of_their_figures_has_a_row(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "vm-figures.json"
    if content is not None:
        path.write_text(content)
    found = {figure.name: figure for figure in of_vms(path)}
    assert len(found) >= 9
    assert {figure.value for figure in found.values()} == {None}
    assert found["VM: memory in use after boot"].note == "make test"
    assert found["VM: memory in use after boot"].aim == 160 * MB
    assert found["VM: the API's own memory"].note == "make test-host"
    assert found["VMs: a rolling change of 3"].note == "make test-pods"


def test_what_vms_measured_is_in_its_row_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "vm-figures.json"
    path.write_text('{"memory_bytes": 7}')
    found = {figure.name: figure for figure in of_vms(path)}
    assert found["VM: memory in use after boot"].value == 7
    assert found["VM: memory in use after boot"].note == f"from {path}"
    assert found["VM: staging 1 -> 2"].value is None
