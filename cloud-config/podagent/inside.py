"""Programs inside containers, as probes need them: often, briefly, and to an end.

The OCI runtime starts them itself. `podman exec` takes ten times as long, leaves a monitor beside
each, and what it started goes on when it is killed. No output is kept: a container may print
without end.
"""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from updater.programs import TimedOut, start

_END = 5.0  # seconds for the runtime to see that what it waits for is gone


def run_inside(container: str, argv: Sequence[str], *, time_out: float, folder: Path) -> int | None:
    """Run a program in a container as its own first process is run, and return its exit status.

    Args:
        container: podman's id of it, in full.
        argv: the program, by the container's PATH, and its arguments.
        time_out: seconds until it is killed.
        folder: of ours, on a tmpfs; it exists.

    Returns:
        The status, of crun where the program cannot be started; None when time was up.

    Raises:
        OSError: crun cannot be run.
    """
    pid_file = folder / f"exec-{container[:12]}-{os.getpid()}-{os.urandom(4).hex()}"
    runtime = ["crun", "exec", "--pid-file", str(pid_file), container, *argv]
    process = start(runtime)
    try:
        return process.wait(time_out)
    except TimedOut:
        # As long as crun has not waited for it, the number means this process and no other.
        with suppress(OSError, ValueError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
        with suppress(TimedOut):
            process.wait(_END)
        return None
    finally:
        process.kill()
        process.wait()
        pid_file.unlink(missing_ok=True)
