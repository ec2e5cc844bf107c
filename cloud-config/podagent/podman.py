"""Podman's state, and what the plan decided done with podman. Thin: it decides nothing.

Every call is one process that lives for a tenth of a second or so; what does not change is not
asked again. Podman's own locks let several run at once, so `apply` may be called by any thread,
while `observe` is for one.
"""

import math
import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from podagent import listing
from podagent.actions import (
    Action,
    Kill,
    Play,
    Pull,
    RemoveImage,
    RemovePod,
    StartContainer,
    StopContainer,
    StopPod,
)
from podagent.listing import Details, Listed, ListedPod
from podagent.manifest import render, volume_prefix
from podagent.observed import Disk, ImageState, Observed
from podagent.types import POD_LABEL, Instance
from updater.errors import BedplateError
from updater.files import write_atomic
from updater.programs import ProgramError, run

_TRIES = 5
_PROMPT = 60.0  # seconds for what only podman itself takes part in
_START = 300.0  # seconds for containers to be made and started, on a busy disk
_PULL = 1800.0  # seconds for an image to come, however slow the way
_REMOVAL = 300.0  # seconds for a pod to go: one that is ended half-way is left in pieces
_NETWORK = "podman"
# Its layer is gone, it is not: a removal was cut off (containers/storage, ErrContainerUnknown).
_LOST = "container not known"
_FAILED = re.compile(r"ended with -?\d+: (.*)", re.DOTALL)


class PodmanError(BedplateError):
    """Podman failed; the message has what was tried, and podman's last line."""


class Podman:
    """Root's podman on this host.

    `services` is whether pods that are played from now on know the names of services.

    Args:
        folder: ours, on a tmpfs: manifests with secrets in them are there while they are played.
        var: what podman stores its images in.
        cgroups: where version 2 of them is mounted.
    """

    def __init__(
        self,
        folder: Path = Path("/run/bedplate-pods"),
        *,
        var: Path = Path("/var"),
        cgroups: Path = Path("/sys/fs/cgroup"),
    ) -> None:
        self._folder = folder
        self._var = var
        self._cgroups = cgroups
        self.services = False
        self._doubt = True  # there may be pods without containers
        self._pods: Mapping[str, ListedPod] = {}
        self._details: Mapping[tuple[object, ...], Details] = {}
        self._containers: Collection[Listed] = ()
        self._images: Mapping[str, ImageState] = {}

    # --- What there is ----------------------------------------------------------------------------

    def observe(self) -> Observed:
        """Podman's pods, containers and images, and how full /var is.

        Raises:
            PodmanError: podman cannot be asked.
            ListingError: its answer is not understood.
        """
        left = _TRIES
        while True:
            try:
                return self._observe()
            except PodmanError as error:
                self._doubt = True
                left -= 1
                # A container may go between two calls.
                if not left or "no such" not in str(error):
                    raise

    def _observe(self) -> Observed:
        containers = listing.read_containers(_ask("ps", "--all", "--pod", "--format", "json"))
        if self._doubt or {each.pod for each in containers if each.pod} != set(self._pods):
            self._doubt = False
            pods = listing.read_pods(_ask("pod", "ps", "--format", "json"))
            self._pods = {each.id: each for each in pods}
        ours = {each.id for each in self._pods.values() if POD_LABEL in each.labels}
        members = [each for each in containers if each.pod in ours]
        details = self._inspect(members)
        # What is left of a removal that was cut off: a pod without containers, to be removed again.
        broken = {each.pod for each in members if each.id not in details}
        containers = tuple(each for each in containers if each.pod not in broken)
        images = listing.read_images(_ask("images", "--format", "json"))
        self._containers, self._images = members, {each.id: each for each in images}
        status = os.statvfs(self._var)
        disk = Disk(status.f_blocks * status.f_frsize, status.f_bfree * status.f_frsize)
        return listing.observed(containers, self._pods.values(), details, images, disk)

    def _inspect(self, containers: Collection[Listed]) -> dict[str, Details]:
        """Details by container, but for broken ones; only what may have changed is asked."""
        new = [each.id for each in containers if each.seen not in self._details]
        found = _details(new) if new else {}
        known = {
            each.seen: found.get(each.id) or self._details.get(each.seen) for each in containers
        }
        self._details = {seen: details for seen, details in known.items() if details}
        return {
            each.id: self._details[each.seen] for each in containers if each.seen in self._details
        }

    # --- What to do -------------------------------------------------------------------------------

    def apply(self, action: Action) -> None:
        """Do it, and return when it is done.

        Raises:
            PodmanError: podman failed, or took too long; observe() tells how far it came.
            OSError: the manifest cannot be written.
        """
        match action:
            case Kill():
                self._kill(action.pod)
            case StopPod():
                _stop(action.grace, "--filter", f"label={POD_LABEL}={action.pod}")
            case RemovePod():
                self._remove(action.pod)
            case Play():
                self._play(action.instance, starts=action.starts)
            case StartContainer():
                _start(action.pod, f"{action.pod}-{action.container}")
            case StopContainer():
                _stop(action.grace, f"{action.pod}-{action.container}")
            case Pull():
                _ask("pull", "--quiet", "--retry", "0", action.image, time_out=_PULL)
            case RemoveImage():
                # By its id alone, podman refuses an image that has two names.
                found = self._images.get(action.image)
                names = [name for name in found.names if "@" not in name] if found else []
                _ask("image", "rm", *(names or [action.image]))

    def container_id(self, podman_name: str) -> str | None:
        """Podman's id of a container of ours, as it was last seen; what runs inside needs it."""
        found = (each.id for each in self._containers if each.name == podman_name)
        return next(found, None)

    def _kill(self, pod: str) -> None:
        """The kernel ends what runs now, at once and whatever state podman is in; podman follows.

        The names are podman's where systemd manages the cgroups (libpod, systemdSliceFromPath and
        createCgroupPath). Podman alone does it too, if the cgroups are elsewhere.
        """
        for each in self._containers:
            if each.pod_name == pod:
                pods = self._cgroups / f"machine.slice/machine-libpod_pod_{each.pod}.slice"
                with suppress(OSError):
                    (pods / f"libpod-{each.id}.scope/cgroup.kill").write_text("1")
        _ask("pod", "kill", pod)

    def _play(self, instance: Instance, *, starts: bool) -> None:
        argv = ["kube", "play", "--quiet", "--build=false", f"--start={str(starts).lower()}"]
        # Its own default is a network with a DNS server; given for a pod in the host's network, an
        # option would take it out of there.
        argv += [] if instance.manifest.pod.host_network else ["--network", _NETWORK]
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{instance.id}.yaml"
        try:
            text = render(instance.manifest, instance.id, services=self.services)
            write_atomic(path, text, mode=0o600)
            _ask(*argv, str(path), time_out=_START)
        except PodmanError:
            self._doubt = True
            raise
        finally:
            path.unlink(missing_ok=True)

    def _remove(self, pod: str) -> None:
        self._doubt = True
        _ask("pod", "rm", "--force", "--time", "0", "--ignore", pod, time_out=_REMOVAL)
        # Files of ConfigMaps and Secrets; podman itself removes what began empty.
        names = _ask("volume", "ls", "--quiet").split()
        own = [name for name in names if name.startswith(volume_prefix(pod))]
        if own:
            _ask("volume", "rm", *own)


def _ask(*arguments: str, time_out: float = _PROMPT) -> str:
    """Podman's stdout.

    Raises:
        PodmanError: it failed, or took longer than `time_out` seconds.
    """
    try:
        return run(["podman", *arguments], time_out=time_out)
    except ProgramError as error:
        failed = _FAILED.search(str(error))
        lines = failed[1].split(" | ") if failed else [str(error)]
        # What `kube play` says at last is how many containers failed.
        last = lines[-2 if "failed to start" in lines[-1] and lines[1:] else -1]
        verb = " ".join(each for each in arguments[:2] if not each.startswith("-"))
        raise PodmanError(f"podman {verb}: {last.removeprefix('Error: ')}") from error


def _details(ids: Collection[str]) -> dict[str, Details]:
    """Details of containers by their ids, without those that podman itself cannot look at."""
    try:
        return listing.read_details(_ask("container", "inspect", *ids))
    except PodmanError as error:
        if _LOST not in str(error):
            raise
        if len(ids) == 1:
            return {}
    return {name: details for each in ids for name, details in _details([each]).items()}


def _stop(grace: float, *which: str) -> None:
    """Containers one by one, all at once: `pod stop` would hold the pod's lock all the while."""
    seconds = math.ceil(grace)
    _ask("stop", "--time", str(seconds), *which, time_out=seconds + _PROMPT)


def _start(pod: str, name: str) -> None:
    """Start a container, and see to it that it has a network.

    When a pod's last container ends, podman stops the infra container, which holds the network. It
    may do so while one is started again, which then fails, or runs without.
    """
    failure = PodmanError(f"podman start {name}: its pod's network did not come back")
    for _ in range(_TRIES):
        try:
            _ask("start", name, time_out=_START)
            done = True
        except PodmanError as error:
            failure, done = error, False
        members = listing.read_containers(
            _ask("ps", "--all", "--pod", "--filter", f"pod={pod}", "--format", "json")
        )
        runs = any(each.name == name and each.running for each in members)
        connected = any(each.infra and each.running for each in members)
        if done and (connected or not runs):
            return
        if connected:
            break
        if runs:
            _ask("stop", "--time", "0", name)
    raise failure
