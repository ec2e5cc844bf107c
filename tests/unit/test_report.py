import io
import json

import pytest
from rich.console import Console

from builder.report import Reporter, emit_json, format_size, printable


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plain() -> tuple[Reporter, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return Reporter(Console(file=stream, force_terminal=False), clock), stream, clock


def live() -> tuple[Reporter, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    return Reporter(console, clock), stream, clock


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (9_600, "9.4 KiB"),
        (220 * 2**20, "220 MiB"),
        (1023 * 2**20, "1.0 GiB"),
        (-2048, "-2.0 KiB"),
        (2**60, "1048576 TiB"),
    ],
)
def test_sizes_read_well(size: int, text: str) -> None:
    assert format_size(size) == text


def test_plain_lines_name_step_time_and_notes() -> None:
    reporter, stream, clock = plain()
    with reporter.step("rootfs") as step:
        clock.now += 12.34
        step.note("220 MiB")
    assert stream.getvalue().splitlines() == [
        "[  0.0s] rootfs: started",
        "[ 12.3s] rootfs: done, 220 MiB",
    ]


def test_plain_long_lines_are_not_wrapped() -> None:
    reporter, stream, _ = plain()
    reporter.info("x" * 300)
    assert stream.getvalue() == "x" * 300 + "\n"


def test_plain_output_is_thinned() -> None:
    reporter, stream, clock = plain()
    with reporter.step("rootfs") as step:
        step.output("too soon")
        clock.now += 11
        step.output("Unpacking [libc6] ...")
        step.output("too soon again")
        clock.now += 11
        step.progress(1, 3)
    assert stream.getvalue().splitlines()[1:-1] == [
        "[ 11.0s] rootfs: Unpacking [libc6] ...",
        "[ 22.0s] rootfs: 33 %",
    ]


def test_a_failing_step_says_so_and_lets_the_error_through() -> None:
    reporter, stream, _ = plain()
    with pytest.raises(KeyError), reporter.step("seal"):
        raise KeyError
    assert "seal: failed" in stream.getvalue()


def test_live_display_ends_with_one_line_a_step() -> None:
    reporter, stream, clock = live()
    with reporter.step("outer") as outer:
        with reporter.step("in[red]ner") as inner:
            inner.output("[/] not markup")
            inner.progress(3, 9)
            assert reporter._progress is not None
            reporter._progress.refresh()
            clock.now += 2
        outer.note("9 MiB")
    with pytest.raises(OSError, match="full"), reporter.step("disk"):
        raise OSError("full")
    reporter.summary("built")
    text = stream.getvalue()
    assert "in[red]ner" in text
    assert "[/] not markup" in text
    assert "9 MiB" in text
    assert "disk" in text
    assert "failed" in text


def test_tool_lines_lose_control_characters() -> None:
    assert printable("10%\r 20%\r 30% \x1b[K\n") == "30%  [K"
    assert len(printable("x" * 5000)) == 200


def test_json_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"image": "ü", "size": 1})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"image": "ü", "size": 1}
    assert err == ""
