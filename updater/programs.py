"""The one module on the host that runs external programs: mount, systemctl, podman and the like."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from updater.errors import BedplateError

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_KEPT_LINES = 10
_REBOOT_UNIT = "bedplate-reboot.service"
_TIME_OUT = 60.0


TimedOut = subprocess.TimeoutExpired  # what waiting for a started program raises


class ProgramError(BedplateError):
    """A program failed; the message holds its command line and its last output."""


def run(argv: Sequence[str], *, time_out: float = _TIME_OUT) -> str:
    """Run a program with a minimal environment and closed stdin, and return its stdout.

    Args:
        argv: the program and its arguments.
        time_out: seconds until it is killed.

    Raises:
        ProgramError: it could not start, took too long, or ended with a non-zero status.
    """
    command = shlex.join(argv)
    try:
        done = subprocess.run(
            argv,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=time_out,
            check=False,
        )
    except OSError as error:
        raise ProgramError(f"cannot run `{command}`: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ProgramError(
            f"`{command}` took longer than {time_out:.0f} s and was ended"
        ) from error
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace").splitlines()
        last = " | ".join(line.strip() for line in output[-_KEPT_LINES:]) or "no output"
        raise ProgramError(f"`{command}` ended with {done.returncode}: {last}")
    return done.stdout.decode(errors="replace")


def start(argv: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a program whose output nobody wants; the caller waits for it and ends it.

    Raises:
        OSError: it cannot be started.
    """
    nothing = subprocess.DEVNULL
    return subprocess.Popen(argv, env=_ENVIRONMENT, stdin=nothing, stdout=nothing, stderr=nothing)


def mount_vfat(device: Path, folder: Path) -> None:
    """Mount an ESP so that only root may look into it (mount(8), vfat options).

    `errors=remount-ro` keeps a damaged file system from being damaged further.
    """
    options = "rw,nosuid,nodev,noexec,umask=0077,errors=remount-ro"
    run(("mount", "-t", "vfat", "-o", options, str(device), str(folder)))


def unmount(folder: Path) -> None:
    """Unmount `folder`; everything written to it is on the disk afterwards."""
    run(("umount", str(folder)))


def reboot() -> None:
    """Ask for a reboot once the host's pods have left it; it returns at once.

    The shutdown follows within minutes, whatever becomes of the pods (docs/adr/0050).
    """
    start_unit(_REBOOT_UNIT)


def reboot_by_lock() -> None:
    """Ask for a reboot once the reboot lock is ours; it returns at once, and may be repeated.

    What waits for the lock looks for itself whether a reboot is still wanted (docs/adr/0057).
    """
    start_unit("bedplate-reboot-locked.service")


def is_rebooting() -> bool:
    """Whether a reboot was asked for by `reboot`, and the pods are leaving.

    Raises:
        ProgramError: the service manager cannot be asked.
    """
    found = show_unit(_REBOOT_UNIT, ("ActiveState", "Job"))
    return bool(found.get("Job")) or found.get("ActiveState") == "activating"


def reboot_now() -> None:
    """Ask the service manager to reboot; it returns at once, the shutdown follows."""
    run(("systemctl", "--no-block", "reboot"))


def start_unit(unit: str) -> None:
    """Queue a start job for `unit` without waiting for it."""
    run(("systemctl", "--no-block", "start", unit))


def signal_unit(unit: str, name: str) -> None:
    """Send the main process of `unit` a signal, such as SIGHUP.

    Raises:
        ProgramError: it does not run, or the service manager cannot be asked.
    """
    run(("systemctl", "kill", "--kill-whom=main", f"--signal={name}", unit))


def show_unit(unit: str, properties: Sequence[str]) -> Mapping[str, str]:
    """Some properties of a unit by name; those that it does not have are left out (systemctl(1)).

    Raises:
        ProgramError: the service manager cannot be asked.
    """
    output = run(("systemctl", "show", f"--property={','.join(properties)}", unit))
    pairs = (line.partition("=") for line in output.splitlines())
    return {name: value for name, separator, value in pairs if separator}
