"""How the workstation's program ends when somebody ends it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

import pytest

from builder import cli
from builder.program import run_program
from config_documents import ROOT

Handler = signal.Handlers | Callable[[int, FrameType | None], object]
LINE = "bedplate: interrupted; what was half-done is gone\n"


@pytest.mark.parametrize("when", ["importlib.import_module", "argparse.ArgumentParser.parse_args"])
def test_an_interruption_before_the_command_is_one_line(
    when: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(when, interrupted)
    assert cli.main(["config", "validate", "x"]) == 130
    assert capsys.readouterr().err == LINE


def test_nothing_slow_is_imported_before_an_interruption_is_told() -> None:
    code = "import sys; from builder import cli; print(*sys.modules)"
    # Without site-packages, whose .pth files import things of their own.
    argv = [sys.executable, "-S", "-c", code]
    done = subprocess.run(argv, capture_output=True, check=True, text=True, cwd=ROOT)
    assert not {"argparse", "logging", "pathlib"} & set(done.stdout.split())


@pytest.fixture
def usual() -> Iterator[Mapping[signal.Signals, Handler]]:
    """What signals do where nobody has them ignored, as a shell has SIGINT in the background."""
    usual: Mapping[signal.Signals, Handler] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield usual
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_alike_and_are_then_as_usual(
    number: signal.Signals,
    usual: Mapping[signal.Signals, Handler],
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = []

    def work() -> int:
        try:
            return killing(number)()
        finally:
            gone.append(True)

    assert run_program(work, "interrupted") == 130
    assert gone == [True]
    assert capsys.readouterr().err == "bedplate: interrupted\n"
    assert signal.getsignal(number) is usual[number]


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_program(killing(signal.SIGHUP), "interrupted") == 7
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def killing(number: signal.Signals) -> Callable[[], int]:
    def work() -> int:
        os.kill(os.getpid(), number)
        return 7

    return work
