import shlex
import sys
from pathlib import Path

import pytest

from builder.run import CommandError, Sandbox, run, spawn

PYTHON = sys.executable


def python(code: str) -> list[str]:
    return [PYTHON, "-c", code]


def test_stdout_comes_back_and_stderr_goes_line_by_line() -> None:
    lines: list[str] = []
    code = "import sys; print('result'); print('one\\n\\ntwo', file=sys.stderr)"
    assert run(python(code), on_line=lines.append) == "result\n"
    assert lines == ["one", "two"]


def test_stdin_is_closed_unless_given() -> None:
    code = "import sys; print(repr(sys.stdin.read()))"
    assert run(python(code)) == "''\n"
    assert run(python(code), stdin=b"fed") == "'fed'\n"


def test_no_pipe_fills_up_whatever_is_large() -> None:
    code = (
        "import sys; data = sys.stdin.buffer.read(); sys.stderr.write('x' * 300000 + '\\n');"
        "sys.stdout.buffer.write(data)"
    )
    assert len(run(python(code), stdin=bytes(1 << 20))) == 1 << 20


def test_a_program_may_end_before_it_has_read_its_stdin() -> None:
    assert run(python("print('done')"), stdin=bytes(1 << 20)) == "done\n"


def test_an_environment_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERL5LIB", "/elsewhere")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    code = "import os; print(*(f'{k}={v}' for k, v in sorted(os.environ.items())), sep='\\n')"
    told = run(python(code), env={"SOURCE_DATE_EPOCH": "7"}).splitlines()
    assert "LC_ALL=C.UTF-8" in told
    assert "SOURCE_DATE_EPOCH=7" in told
    assert "https_proxy=http://proxy:3128" in told
    assert not [line for line in told if line.startswith("PERL5LIB")]


def test_a_failure_says_its_command_line_to_paste_and_its_last_output() -> None:
    code = "import sys; [print(f'line {n}', file=sys.stderr) for n in range(99)]; sys.exit(3)"
    argv = [*python(code), "two words", "it's"]
    with pytest.raises(CommandError) as caught:
        run(argv)
    first, pasted, *tail = str(caught.value).splitlines()
    assert first == f"{PYTHON} ended with 3"
    assert shlex.split(pasted.removeprefix("  $ ")) == argv
    assert tail == [f"  | line {number}" for number in range(69, 99)]
    assert caught.value.exit_code == 1


def test_a_failure_shows_what_a_tool_told_on_stdout_too() -> None:
    code = "import sys; print('the reason'); sys.exit(1)"
    with pytest.raises(CommandError, match=r"\| the reason$"):
        run(python(code))


def test_a_signal_is_a_failure() -> None:
    with pytest.raises(CommandError, match="ended with -9"):
        run(python("import os; os.kill(os.getpid(), 9)"))


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(CommandError) as caught:
        run(["no-such-program", "--help"])
    assert str(caught.value) == (
        "cannot run no-such-program: No such file or directory; is it installed?"
    )


def test_a_folder_that_is_not_there_is_not_taken_for_the_program(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=rf"No such file or directory; {tmp_path}/gone$"):
        run(python(""), cwd=tmp_path / "gone")


def test_the_program_ends_if_who_listens_fails() -> None:
    def stop(_line: str) -> None:
        raise KeyboardInterrupt

    code = "import sys, time; print('here', file=sys.stderr, flush=True); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        run(python(code), on_line=stop)


def test_what_is_spawned_writes_to_its_file(tmp_path: Path) -> None:
    output = tmp_path / "log"
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    process = spawn(python(code), output=output)
    assert process.wait(timeout=60) == 0
    assert output.read_text().split() == ["out", "err"]


def test_what_a_sandbox_shows() -> None:
    sandbox = Sandbox(
        Path("/tools"),
        writable=(Path("/work"),),
        readable=(Path("/code"),),
        devices=(Path("/dev/kvm"),),
        env={"SOURCE_DATE_EPOCH": "7"},
    )
    argv = sandbox.argv(["mkfs.erofs", "--quiet", "/work/image"])
    text = shlex.join(argv)
    before, command = text.split(" -- ")
    assert command == "mkfs.erofs --quiet /work/image"
    assert argv[0] == "bwrap"
    for part in (
        "--unshare-user --uid 0 --gid 0 --die-with-parent",
        "--ro-bind /tools/usr /usr",
        "--ro-bind /tools/etc /etc",
        "--symlink usr/lib64 /lib64",
        "--unsetenv TMPDIR",
        "--bind /work /work",
        "--ro-bind /code /code",
        "--dev-bind /dev/kvm /dev/kvm",
        "--setenv SOURCE_DATE_EPOCH 7",
    ):
        assert part in before
    binds = [argv[at + 1] for at, word in enumerate(argv) if word == "--bind"]
    assert binds == ["/work"]


def test_what_looks_like_an_option_of_the_sandbox_is_the_commands() -> None:
    argv = Sandbox(Path("/tools")).argv(["true", "--bind", "/", "/"])
    assert argv[-5:] == ["--", "true", "--bind", "/", "/"]


def test_a_sandbox_runs_its_whole_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def view(_self: Sandbox, command: list[str]) -> list[str]:
        return python(f"print({command!r})")

    monkeypatch.setattr(Sandbox, "argv", view)
    assert Sandbox(Path("/tools")).run(["true"]) == "['true']\n"
