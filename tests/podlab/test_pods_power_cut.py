"""What podman makes of containers whose host went down under them."""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from pods import FOREVER, SERVER, instance, pod_of

from network import run, wait_for
from podagent.actions import Play, StartContainer
from podagent.podman import Podman

_ON_TMPFS = ("libpod", "containers", "crun", "netns", "user")


def _processes() -> dict[int, str]:
    """Names of all processes of the lab by their numbers; conmon comes before its container."""
    found = {}
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            with suppress(OSError):
                found[int(each.name)] = (each / "comm").read_text().strip()
    return found


def _gone(process: int) -> bool:
    """Ended, though nobody may wait for it in here."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return True


def _cut_the_power() -> None:
    """End all containers unseen, and lose what a host has on tmpfs (podman-system-refresh)."""
    pids = [int(pid) for pid in run(["podman", "ps", "--format", "{{.Pid}}"]).split()]
    for process in [pid for pid, name in _processes().items() if name == "conmon"] + pids:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    wait_for(lambda: all(map(_gone, pids)), "the containers are gone")
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in sorted(mounted, key=len, reverse=True):
        if path.startswith(("/var/lib/containers/", *(f"/run/{name}/" for name in _ON_TMPFS))):
            run(["umount", "--lazy", path])
    for name in _ON_TMPFS:
        shutil.rmtree(f"/run/{name}", ignore_errors=True)


def test_a_run_that_the_host_ended_is_told_from_one_that_ended(podman: Podman) -> None:
    quick = ("sh", "-c", "exit 5")
    podman.apply(Play(instance("web", {"main": SERVER, "quick": quick, "twice": FOREVER})))
    run(["podman", "kill", "web-twice"])
    podman.apply(StartContainer("web", "twice"))
    wait_for(lambda: pod_of(podman, "web").by_name()["quick"].ended, "one ended")
    _cut_the_power()
    pod = pod_of(Podman(), "web")
    states = pod.by_name()
    assert not pod.running
    assert states["main"].cut_off
    assert states["twice"].cut_off
    assert not states["quick"].cut_off
    assert states["quick"].exit_code == 5
    podman.apply(StartContainer("web", "main"))
    after = pod_of(podman, "web")
    assert after.by_name()["main"].running
    assert len(after.addresses) == 1
