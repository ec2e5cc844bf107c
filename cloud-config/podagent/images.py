"""Which images to pull before a pod is played, and which to remove. Pure.

As kubelet does: `Always` asks the registry once for each change of a manifest, `IfNotPresent` when
podman has no such image, `Never` not at all; images go when nothing has used them for long, and
sooner, the longest unused first, when /var fills up (kubelet's image garbage collection).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from podagent.actions import RemoveImage
from podagent.observed import Disk, ImageState, Observed
from podagent.types import Instance

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When to make room; shares are of /var's file system."""

    new_pods: float = 0.10  # with less than this free, pods that are new wait
    clean_below: float = 0.15  # with less than this free, unused images go
    clean_up_to: float = 0.20  # until this much is
    longest_unused: float = 3 * _DAY  # seconds
    shortest_unused: float = 600.0  # seconds; somebody may have pulled it to use it soon


@lru_cache(maxsize=4096)
def full_name(image: str) -> str:
    """An image's name as podman keeps it: registry, repository, and a digest or else a tag.

    The rule is that of the reference format (github.com/distribution/reference): without a
    registry it is docker.io's, without a tag `latest`; beside a digest a tag says nothing.
    """
    rest, _, digest = image.partition("@")
    head, slash, tail = rest.rpartition("/")
    name, _, tag = tail.partition(":")
    path = head + slash + name
    first = path.split("/")[0]
    if "/" not in path:
        path = f"docker.io/library/{path}"
    elif "." not in first and ":" not in first and first != "localhost":
        path = f"docker.io/{path}"
    return f"{path}@{digest}" if digest else f"{path}:{tag or 'latest'}"


@dataclass(frozen=True, slots=True)
class Names:
    """Image ids by the full names that podman has."""

    ids: Mapping[str, str]

    @classmethod
    def of(cls, images: Iterable[ImageState]) -> "Names":
        """Those of podman's images."""
        return cls({name: image.id for image in images for name in image.names})

    def find(self, image: str) -> str | None:
        """The id of an image as a manifest names it; None when podman has none."""
        return self.ids.get(full_name(image))


def by_digest(image: str) -> bool:
    """Whether a name can only ever mean one image."""
    return "@" in image


def wanted_ids(desired: Iterable[Instance], names: Names) -> frozenset[str]:
    """The images that desired pods name."""
    found = (
        names.find(container.image)
        for instance in desired
        for container in (*instance.manifest.pod.init, *instance.manifest.pod.containers)
    )
    return frozenset(each for each in found if each is not None)


def removals(
    observed: Observed,
    wanted: Collection[str],
    unused: Mapping[str, float],
    now: float,
    limits: Limits,
) -> tuple[list[RemoveImage], float | None]:
    """The images to remove, the longest unused first, and when the next may be due.

    Args:
        observed: podman's images, those in use, and the disk.
        wanted: ids of images that desired pods name.
        unused: ids, and since when nobody has used them (Memory.unused).
        now: Unix seconds.
        limits: see there.
    """
    kept = observed.images_in_use | set(wanted)
    candidates = sorted(
        (image for image in observed.images if image.id not in kept and image.id in unused),
        key=lambda image: (unused[image.id], image.id),
    )
    short = _missing(observed.disk, limits)
    actions: list[RemoveImage] = []
    later: list[float] = []
    for image in candidates:
        since = unused[image.id]
        if now >= since + limits.longest_unused:
            actions.append(RemoveImage(image.id, "nothing has used it for long"))
        elif short > 0 and now >= since + limits.shortest_unused:
            actions.append(RemoveImage(image.id, "/var is nearly full"))
        else:
            pause = limits.shortest_unused if short > 0 else limits.longest_unused
            later.append(since + pause)
            continue
        short -= image.size
    return actions, min(later, default=None)


def _missing(disk: Disk, limits: Limits) -> float:
    """How many bytes to free; 0 or less for none."""
    if disk.free_share >= limits.clean_below:
        return 0
    return limits.clean_up_to * disk.total - disk.free
