"""What podman has, as podagent.podman reads it and the plan judges it. Times are Unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass

NEVER = 0.0  # a time that has not been

HostPort = tuple[str, int]  # protocol ("tcp", "udp", "sctp") and number


@dataclass(frozen=True, slots=True)
class ContainerState:
    """A container of one of our pods, init containers too; not podman's own infra container.

    `started` and `finished` are podman's StartedAt and FinishedAt of the last run, unchanged:
    a container that a power cut ended has a `finished` before its `started`, and the plan
    knows by that.
    """

    name: str  # as in the manifest
    podman_name: str
    image: str
    image_digest: str  # "sha256:..."
    running: bool
    exit_code: int | None = None  # of the last run; None when it never ran
    started: float = NEVER
    finished: float = NEVER

    @property
    def ended(self) -> bool:
        """It ran, and does not run now."""
        return not self.running and self.started != NEVER

    @property
    def cut_off(self) -> bool:
        """Nobody saw its end: the host went down under it.

        After a boot podman calls each container that ran `exited`, with what it knew of the run
        before (libpod's resetContainerState).
        """
        return self.ended and self.finished < self.started

    @property
    def succeeded(self) -> bool:
        """It ended by itself with 0."""
        return self.ended and not self.cut_off and self.exit_code == 0


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod of ours, by our labels; it may be half-made."""

    id: str  # org.bedplate.pod, which is podman's name of it too
    digest: str  # org.bedplate.digest
    slot: int | None  # org.bedplate.slot
    grace: float  # seconds: the longest StopTimeout of its containers
    addresses: tuple[str, ...]
    containers: tuple[ContainerState, ...]
    ports: frozenset[HostPort] = frozenset()  # of the host, that lead to it
    host_network: bool = False

    @property
    def running(self) -> bool:
        """Whether anything of it runs."""
        return any(each.running for each in self.containers)

    def by_name(self) -> Mapping[str, ContainerState]:
        """Its containers by their names in the manifest."""
        return {each.name: each for each in self.containers}


@dataclass(frozen=True, slots=True)
class ImageState:
    """An image of podman's store."""

    id: str
    names: tuple[str, ...]  # "repository:tag" and "repository@sha256:...", in full
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of /var, in bytes; `free` is what root can still use."""

    total: int
    free: int

    @property
    def free_share(self) -> float:
        """From 0 to 1; an unknown disk counts as empty."""
        return self.free / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class Observed:
    """All of podman's state that a plan depends on."""

    pods: tuple[PodState, ...] = ()
    foreign: frozenset[str] = frozenset()  # names of pods and containers without our labels
    images: tuple[ImageState, ...] = ()
    images_in_use: frozenset[str] = frozenset()  # ImageState.id, by any container, foreign too
    disk: Disk = Disk(0, 0)
