"""One figure, its aim beside it, and how both are shown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.table import Table

MB = 1_000_000


class Unit(StrEnum):
    """What a figure counts."""

    SECONDS = "s"
    BYTES = "B"
    RATE = "B/s"
    COUNT = ""
    PER_SECOND = "1/s"
    SHARE = "%"


@dataclass(frozen=True, slots=True)
class Figure:
    """`aim` is what the value should stay under, in the same unit; None where there is none.

    A `value` of None was not measured; the `note` then says what measures it.
    """

    name: str
    value: float | None
    unit: Unit
    aim: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether it was measured, and is not under its aim."""
        return self.value is not None and self.aim is not None and self.value >= self.aim


# The targets whose VM tests are not among those of `make test`, by what a figure's key begins with.
_TARGETS = {"api": "test-host", "pods": "test-pods"}
# What the VM tests leave in build/vm-figures.json, and what is aimed for.
_VM = (
    Figure("VM: kernel start to boot-complete.target", 0, Unit.SECONDS, 20, "boot_seconds"),
    Figure("VM: memory in use after boot", 0, Unit.BYTES, 160 * MB, "memory_bytes"),
    Figure("VM: staging 1 -> 2", 0, Unit.SECONDS, None, "stage_seconds"),
    Figure("VM: bytes served for 1 -> 2", 0, Unit.BYTES, None, "stage_bytes"),
    Figure("VM: the API's own memory", 0, Unit.BYTES, 48 << 20, "api_memory_bytes"),
    Figure("VM: with 20 followers", 0, Unit.BYTES, 64 << 20, "api_memory_followed_bytes"),
    Figure("VMs: a rolling change of 3", 0, Unit.SECONDS, None, "pods_rolling_change_seconds"),
    Figure("VMs: a dead host's slots taken", 0, Unit.SECONDS, 40, "pods_taken_over_seconds"),
    Figure("VMs: its replicas ready", 0, Unit.SECONDS, None, "pods_ready_elsewhere_seconds"),
)


def of_vms(path: Path) -> list[Figure]:
    """What the VM tests measured last; without a value where they did not run."""
    try:
        kept: Mapping[str, object] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        kept = {}
    return [_of_vm(figure, kept.get(figure.note), path) for figure in _VM]


def _of_vm(figure: Figure, value: object, path: Path) -> Figure:
    if isinstance(value, int | float):
        return replace(figure, value=float(value), note=f"from {path}")
    target = _TARGETS.get(figure.note.partition("_")[0], "test")
    return replace(figure, value=None, note=f"make {target}")


def shown(value: float | None, unit: Unit) -> str:
    """A value for people."""
    if value is None:
        return "not measured"
    if unit is Unit.SECONDS:
        return _seconds(value)
    if unit is Unit.RATE:
        return f"{value / MB:.0f} MB/s"
    if unit is Unit.SHARE:
        return f"{value:.2%}"
    if unit in (Unit.COUNT, Unit.PER_SECOND):
        return f"{value:.3g} {unit.value}".rstrip()
    return f"{value / MB:.2f} MB" if value < 10 * MB else f"{value / MB:.1f} MB"


def _seconds(value: float) -> str:
    if value < 0.1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.1f} s"


def table(figures: Sequence[Figure]) -> None:
    """Print all figures to stdout; what misses its aim is marked, and that is all."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("figure")
    drawn.add_column("value", justify="right", no_wrap=True)
    drawn.add_column("aim", justify="right", no_wrap=True)
    drawn.add_column("note", style="dim")
    for figure in figures:
        aim = "" if figure.aim is None else f"under {shown(figure.aim, figure.unit)}"
        value = shown(figure.value, figure.unit)
        style = "yellow" if figure.missed else ""
        note = "; ".join(filter(None, ["over the aim" if figure.missed else "", figure.note]))
        drawn.add_row(figure.name, f"[{style}]{value}[/]" if style else value, aim, note)
    # A pipe has no width; without one rich would wrap at 80 columns.
    console = Console(highlight=False)
    Console(highlight=False, width=None if console.is_terminal else 140).print(drawn)


def to_plain(figures: Sequence[Figure]) -> dict[str, object]:
    """All figures as JSON values, in the units that they name."""
    return {"schema": 1, "figures": [asdict(figure) for figure in figures]}
