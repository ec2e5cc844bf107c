"""Ends this host's replicas at their fence where no agent is there to do it.

Started whenever the agent's unit fails (its OnFailure=), and so at each crash. An agent that is
back before the fence does its own work, and nothing happens here.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hostkit.timing import boottime
from podagent import reading
from podagent.cluster.tenure import TIMING, restore
from podagent.places import Places
from podagent.types import SLOT_LABEL
from updater import programs
from updater.errors import BedplateError
from updater.programs import ProgramError

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
# An agent that fails at each start is not to be started all the time.
_REST_SECONDS = 10.0
_PODMAN_SECONDS = 30.0


def fence(
    places: Places,
    *,
    proc: Path = Path("/proc"),
    cgroups: Path = Path("/sys/fs/cgroup"),
    clock: Callable[[], float] = boottime,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Wait for the fence, end the replicas and start the agent again; 1 if podman failed.

    The kernel comes first: whatever podman does, what it knew to run has ended then.

    Args:
        places: where the files are.
        proc: the kernel's list of processes.
        cgroups: where version 2 of them is mounted.
        clock: seconds by `boottime`.
        sleep: waits for so many seconds.
    """
    while (now := clock()) < fence_time(_saved(places), now):
        if reading.agent_state() == "active":
            return 0
        sleep(_LOOK_SECONDS)
    if reading.agent_state() == "active":
        return 0
    _LOG.warning("no agent runs and the lease's fence has passed: replicas of this host end")
    with suppress(BedplateError):
        pods = reading.status(places)["pods"]
        for container in sorted(doomed(conmons(proc), pods)):
            _kill(cgroups, container)
    code = _stop()
    if reading.agent_state() in reading.DOWN:
        sleep(_REST_SECONDS)
        # It may have been started too often for another start.
        programs.run(("systemctl", "reset-failed", reading.AGENT))
        programs.start_unit(reading.AGENT)
    return code


def fence_time(saved: bytes | None, now: float) -> float:
    """When replicas must have ended, by the lease that the agent left. Pure.

    Where there is none that can be relied on, that is now.
    """
    try:
        return restore(TIMING, saved or b"", now).until
    except ValueError:
        return now


def doomed(conmons: Iterable[tuple[str, str]], pods: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of the containers that are replicas'. Pure.

    A container's name is its pod's and its own (`naming.podman_names`); where it begins as the
    names of two pods do, it is the longer one's.

    Args:
        conmons: ids and names of the containers that run.
        pods: those of the status document.
    """
    slots = {each["id"]: each["slot"] for each in pods}
    found = set()
    for container, name in conmons:
        owners = [pod for pod in slots if name.startswith(f"{pod}-")]
        if owners and slots[max(owners, key=len)] is not None:
            found.add(container)
    return found


def conmons(proc: Path) -> Iterator[tuple[str, str]]:
    """Ids and names of the containers that run, by conmon(8), of which each has one."""
    for process in proc.glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            # It has ended.
            continue
        if Path(argv[0]).name == "conmon" and {"-c", "-n"} <= set(argv):
            yield argv[argv.index("-c") + 1], argv[argv.index("-n") + 1]


def _saved(places: Places) -> bytes | None:
    try:
        return places.tenure.read_bytes()
    except OSError:
        return None


def _kill(cgroups: Path, container: str) -> None:
    """End a container's processes; see `podman.Podman` for the names."""
    pattern = f"machine-libpod_pod_*.slice/libpod-{container}.scope/cgroup.kill"
    for path in (cgroups / "machine.slice").glob(pattern):
        # It may have ended by itself.
        with suppress(OSError):
            path.write_text("1")


def _stop() -> int:
    """Let podman end what is left, and know of what has ended."""
    argv = ("podman", "stop", "--time", "0", "--filter", f"label={SLOT_LABEL}")
    try:
        programs.run(argv, time_out=_PODMAN_SECONDS)
    except ProgramError as error:
        _LOG.error("%s", error)
        return 1
    return 0
