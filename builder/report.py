"""What a person sees while a build works: live on a terminal, plain lines elsewhere.

Everything here goes to stderr; only `emit_json` writes to stdout, where results belong.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

PLAIN_OUTPUT_GAP = 10.0  # seconds between two lines of a tool's output in a plain log
LINE_LIMIT = 200  # characters of a tool's line that are kept

Clock = Callable[[], float]


def format_size(size: int) -> str:
    """Bytes for people: "812 B", "9.4 KiB", "220 MiB" (binary units)."""
    sign, value = ("-" if size < 0 else ""), float(abs(size))
    if value < 1024:
        return f"{size} B"
    units = ["KiB", "MiB", "GiB", "TiB"]
    value /= 1024
    while value >= 999.5 and len(units) > 1:
        value /= 1024
        del units[0]
    digits = 1 if value < 99.95 else 0
    return f"{sign}{value:.{digits}f} {units[0]}"


def emit_json(result: Mapping[str, object]) -> None:
    """Write one result to stdout as JSON: the answer to `--json`."""
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def printable(line: str) -> str:
    """A tool's line without control characters, at most `LINE_LIMIT` long.

    Of a line that redraws itself with carriage returns, the last drawing is kept.
    """
    last = line.rstrip().rpartition("\r")[2]
    return "".join(char if char.isprintable() else " " for char in last)[:LINE_LIMIT].strip()


class Step:
    """One running step; its notes stand on the line that reports its end."""

    def __init__(
        self,
        name: str,
        show_output: Callable[["Step", str], None],
        show_progress: Callable[["Step", int, int], None],
        clock: Clock,
    ) -> None:
        self.name = name
        self.notes: list[str] = []
        self._show_output = show_output
        self._show_progress = show_progress
        self._clock = clock
        self._started = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return self._clock() - self._started

    def note(self, text: str) -> None:
        """Say something of the result, such as a size; kept for the final line."""
        self.notes.append(text)

    def output(self, line: str) -> None:
        """Show the latest line of a tool's output."""
        if text := printable(line):
            self._show_output(self, text)

    def progress(self, done: int, total: int) -> None:
        """Show that `done` of `total` (bytes, files, ...) is behind us."""
        self._show_progress(self, done, total)


class Reporter:
    """Reports steps to stderr. Steps may nest and may run in several threads."""

    def __init__(self, console: Console | None = None, clock: Clock = time.monotonic) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._started = clock()
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._tasks: dict[Step, TaskID] = {}
        self._last_shown: dict[Step, float] = {}
        self._progress: Progress | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Report `name` from here to the end of the block, failed if an exception leaves it."""
        step = Step(name, self._show_output, self._show_progress, self._clock)
        self._begin(step)
        verdict = "failed"
        try:
            yield step
            verdict = "done"
        finally:
            self._end(step, verdict)

    def info(self, text: str) -> None:
        """Print one line that belongs to no step."""
        self._print(escape(text), text)

    def summary(self, text: str) -> None:
        """Print the last line of a run: what came of it, and how long all of it took."""
        seconds = self._clock() - self._started
        self._print(
            f"[bold green]{escape(text)}[/] [dim]in {seconds:.1f} s[/]",
            f"{text} in {seconds:.1f} s",
        )

    def _begin(self, step: Step) -> None:
        if not self._live:
            self._print_plain(step, "started")
            self._last_shown[step] = self._clock()
            return
        if self._progress is None:
            self._progress = _live_display(self._console)
            self._progress.start()
        self._tasks[step] = self._progress.add_task(escape(step.name), total=None, line="")

    def _end(self, step: Step, verdict: str) -> None:
        if not self._live:
            self._last_shown.pop(step)
            self._print_plain(step, ", ".join([verdict, *step.notes]))
            return
        if self._progress is not None:
            self._progress.remove_task(self._tasks.pop(step))
            if not self._tasks:
                self._progress.stop()
                self._progress = None
        mark = "[green]✓[/]" if verdict == "done" else "[red]✗[/]"
        words = step.notes if verdict == "done" else [verdict, *step.notes]
        name, notes = escape(f"{step.name:<24}"), escape(", ".join(words))
        self._console.print(
            f"{mark} {name} [dim]{step.elapsed:7.1f} s[/]  {notes}", highlight=False
        )

    def _show_output(self, step: Step, line: str) -> None:
        if self._progress is not None:
            self._progress.update(self._tasks[step], line=escape(line))
        elif self._clock() - self._last_shown[step] >= PLAIN_OUTPUT_GAP:
            self._last_shown[step] = self._clock()
            self._print_plain(step, line)

    def _show_progress(self, step: Step, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress.update(self._tasks[step], completed=done, total=total)
        elif total > 0:
            self._show_output(step, f"{100 * done // total} %")

    def _print_plain(self, step: Step, text: str) -> None:
        line = f"[{step.elapsed:5.1f}s] {step.name}: {text}"
        self._print(escape(line), line)

    def _print(self, markup: str, plain: str) -> None:
        if self._live:
            self._console.print(markup, highlight=False)
        else:
            # Past rich, which would wrap a long line at 80 columns in a log.
            self._console.file.write(plain + "\n")
            self._console.file.flush()


def _live_display(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        BarColumn(bar_width=16),
        TextColumn("[dim]{task.fields[line]}[/]", table_column=Column(ratio=1, no_wrap=True)),
        console=console,
        transient=True,
        expand=True,
    )
