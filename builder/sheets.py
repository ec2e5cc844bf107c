"""What people read: tables, live on a terminal and in plain columns elsewhere, and facts."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GOOD, BUSY, BAD = "green", "yellow", "bold red"
_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a line, in the order of the columns, and its style on a terminal."""

    cells: tuple[str, ...]
    style: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as it is to be shown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def show(sheet: Sheet) -> None:
    """Write a sheet to stdout."""
    if sys.stdout.isatty():
        # Only here: who is not at a terminal need not wait for rich.
        from rich import box  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(*sheet.columns, title=sheet.title, title_justify="left", box=box.SIMPLE_HEAD)
        for row in sheet.rows:
            table.add_row(*map(Text, row.cells), style=row.style)
        Console().print(table)
        return
    sys.stdout.write("".join(f"{line}\n" for line in plain(sheet)) + "\n")


def plain(sheet: Sheet) -> list[str]:
    """A sheet as lines in columns; what is empty is a dash.

    Only the last cell of a line has blanks in it, so that other programs find the others by their
    number.
    """
    lines = [sheet.columns, *(row.cells for row in sheet.rows)]
    filled = [[cell or _NOTHING for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*filled, strict=True)]
    return [_columns(line, widths) for line in filled]


def facts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Names and what is known of each as lines; a name that is that of the line before is empty."""
    lines, last = [], ""
    for name, text in pairs:
        lines.append(f"{'' if name == last else name:<14}{text or 'none'}".rstrip())
        last = name
    return lines


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
