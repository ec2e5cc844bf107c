"""The one place that runs external programs: argv lists, closed stdin, a minimal environment.

Build tools run inside a `Sandbox`, a bubblewrap view in which the tool tree is the root file
system, so that a result depends on the tree and not on the machine.
"""

import os
import shlex
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from updater.errors import BedplateError

_KEPT_LINES = 30
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("HOME", "TERM", "TMPDIR", "http_proxy", "https_proxy", "no_proxy")


class CommandError(BedplateError):
    """A program failed; the message holds its command line, to paste, and its last output."""


def _nothing(_line: str) -> None:
    """Drop a line of output."""


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {"PATH": _SYSTEM_PATH, "LC_ALL": "C.UTF-8", **inherited, **extra}


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    on_line: Callable[[str], None] = _nothing,
) -> str:
    """Run a program to its end and return its stdout.

    Args:
        argv: the program and its arguments.
        env: variables besides the minimal environment.
        cwd: the folder to run in.
        stdin: what the program reads; nothing by default.
        on_line: called with each line of stderr while the program runs.

    Raises:
        CommandError: it could not start, or ended with a non-zero status.
    """
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        process = subprocess.Popen(
            argv,
            env=_environment(env or {}),
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        hint = "is it installed?" if error.filename == argv[0] else str(error.filename)
        raise CommandError(f"cannot run {argv[0]}: {error.strerror}; {hint}") from error
    with process:
        stdout = _drive(process, stdin, last, on_line)
    if process.returncode:
        tail = "\n".join(f"  | {line}" for line in (*last, *stdout.splitlines()[-_KEPT_LINES:]))
        status = process.returncode
        raise CommandError(
            f"{argv[0]} ended with {status}\n  $ {shlex.join(argv)}\n{tail}".rstrip()
        )
    return stdout


def _drive(
    process: subprocess.Popen[bytes],
    stdin: bytes | None,
    last: deque[str],
    on_line: Callable[[str], None],
) -> str:
    """Feed stdin, follow stderr line by line and collect stdout, all at once."""
    # Threads take stdout and stdin, so that no pipe can fill up while another is waited for.
    collected: list[bytes] = []

    def read_stdout() -> None:
        assert process.stdout is not None  # noqa: S101 - Popen was given a pipe
        collected.append(process.stdout.read())

    def write_stdin() -> None:
        if stdin is not None and process.stdin is not None:
            try:
                process.stdin.write(stdin)
                process.stdin.close()
            except BrokenPipeError:
                pass  # the program ended first; its status tells why

    threads = [Thread(target=read_stdout), Thread(target=write_stdin)]
    try:
        for thread in threads:
            thread.start()
        assert process.stderr is not None  # noqa: S101 - Popen was given a pipe
        for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            if line:
                last.append(line)
                on_line(line)
    except BaseException:
        process.kill()
        raise
    finally:
        for thread in threads:
            thread.join()
    return b"".join(collected).decode(errors="replace")


def spawn(argv: Sequence[str], *, output: Path) -> subprocess.Popen[bytes]:
    """Start a program that goes on beside us, its stdout and stderr appended to `output`."""
    with output.open("ab") as stream:
        return subprocess.Popen(
            argv, env=_environment({}), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A view of the machine in which a tree is the root file system (bwrap(1)).

    Attributes:
        tree: the folder whose usr/ and etc/ are seen.
        writable: folders seen at their own path, read and write.
        readable: folders and files seen at their own path, read only.
        devices: device nodes passed through, such as /dev/kvm.
    """

    tree: Path
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside; its network is the machine's."""
        view = ["bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--die-with-parent"]
        for name in ("usr", "etc"):
            view += ["--ro-bind", str(self.tree / name), f"/{name}"]
        for name in ("bin", "sbin", "lib", "lib64"):
            view += ["--symlink", f"usr/{name}", f"/{name}"]
        # The machine's TMPDIR is not in the view.
        view += ["--unsetenv", "TMPDIR", "--proc", "/proc", "--dev", "/dev"]
        view += ["--tmpfs", "/tmp", "--tmpfs", "/var/tmp"]  # noqa: S108
        for path in self.writable:
            view += ["--bind", str(path), str(path)]
        for path in self.readable:
            view += ["--ro-bind", str(path), str(path)]
        for path in self.devices:
            view += ["--dev-bind", str(path), str(path)]
        for name, value in self.env.items():
            view += ["--setenv", name, value]
        return [*view, "--", *command]

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        on_line: Callable[[str], None] = _nothing,
    ) -> str:
        """Run `command` inside to its end and return its stdout; see `run`."""
        return run(self.argv(command), stdin=stdin, cwd=cwd, on_line=on_line)
