"""What podman 5 says as JSON, and what that means for the plan. Pure; podagent.podman asks.

The fields are those of its Go structs (containers/podman: pkg/domain/entities ListContainer,
ListPodsReport and ImageSummary, libpod/define InspectContainerData).
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from podagent.observed import NEVER, ContainerState, Disk, HostPort, ImageState, Observed, PodState
from podagent.types import DIGEST_LABEL, POD_LABEL, SLOT_LABEL
from updater.errors import BedplateError

# After `stopping` comes `stopped`, when its processes are gone, and `exited`, when all is tidied.
_RUNNING = frozenset(("running", "paused", "stopping"))
_Value = TypeVar("_Value")


class ListingError(BedplateError):
    """Podman's answer is not what podman 5 answers."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A container, as `podman ps` has it; `seen` changes whenever anything about it may have."""

    id: str
    name: str
    pod: str  # its pod's id; "" without one
    pod_name: str
    infra: bool  # the one that holds the pod's namespaces
    labels: Mapping[str, str]
    image: str  # ImageState.id
    running: bool
    ended: bool  # its last run was seen to end; the end of a host under it is not
    ports: frozenset[HostPort]
    seen: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ListedPod:
    """A pod, as `podman pod ps` has it."""

    id: str
    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Details:
    """What only `podman container inspect` tells."""

    image: str
    image_digest: str
    exit_code: int
    started: float
    finished: float
    grace: float
    addresses: tuple[str, ...]
    host_network: bool


def read_containers(text: str) -> tuple[Listed, ...]:
    """The answer of `podman ps --all --pod --format json`.

    Raises:
        ListingError: it is none.
    """
    return tuple(_each(text, "podman ps", _listed))


def read_pods(text: str) -> tuple[ListedPod, ...]:
    """The answer of `podman pod ps --format json`.

    Raises:
        ListingError: it is none.
    """
    return tuple(
        _each(
            text,
            "podman pod ps",
            lambda each: ListedPod(each["Id"], each["Name"], dict(each["Labels"] or {})),
        )
    )


def read_details(text: str) -> dict[str, Details]:
    """The answer of `podman container inspect`, by the containers' ids.

    Raises:
        ListingError: it is none.
    """
    return dict(_each(text, "podman container inspect", lambda each: (each["Id"], _details(each))))


def read_images(text: str) -> tuple[ImageState, ...]:
    """The answer of `podman images --format json`.

    Raises:
        ListingError: it is none.
    """
    # An image is told of once for each of its names, and each time with all of them.
    found = {each.id: each for each in _each(text, "podman images", _image)}
    return tuple(found.values())


def observed(
    containers: Collection[Listed],
    pods: Collection[ListedPod],
    details: Mapping[str, Details],
    images: tuple[ImageState, ...],
    disk: Disk,
) -> Observed:
    """All together; `details` has at least the containers of our pods."""
    ours = {each.id: each for each in pods if POD_LABEL in each.labels}
    return Observed(
        pods=tuple(
            _pod(pod, [each for each in containers if each.pod == pod.id], details)
            for pod in ours.values()
        ),
        foreign=frozenset(
            (
                *(each.name for each in pods if each.id not in ours),
                *(each.name for each in containers if each.pod not in ours),
            )
        ),
        images=images,
        images_in_use=frozenset(each.image for each in containers),
        disk=disk,
    )


def _each(text: str, asked: str, read: Callable[[dict[str, Any]], _Value]) -> Iterator[_Value]:
    try:
        for each in json.loads(text):
            yield read(each)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ListingError(f"the answer of `{asked}` is not podman 5's: {error!r}") from error


def _listed(each: dict[str, Any]) -> Listed:
    return Listed(
        id=each["Id"],
        name=each["Names"][0],
        pod=each["Pod"],
        pod_name=each["PodName"],
        infra=each["IsInfra"],
        labels=dict(each["Labels"] or {}),
        image=each["ImageID"],
        running=each["State"] in _RUNNING,
        ended=each["Exited"],
        ports=frozenset(_ports(each["Ports"] or ())),
        seen=tuple(each[name] for name in ("Id", "State", "Pid", "StartedAt", "ExitedAt")),
    )


def _ports(mappings: Iterable[dict[str, Any]]) -> Iterator[HostPort]:
    for each in mappings:
        for number in range(each["range"]):
            for protocol in each["protocol"].split(","):
                yield protocol, each["host_port"] + number


def _details(each: dict[str, Any]) -> Details:
    state, network = each["State"], each["NetworkSettings"]
    found = [
        address
        for one in (network.get("Networks") or {}).values()
        for address in (one["IPAddress"], one["GlobalIPv6Address"])
    ]
    return Details(
        image=each["ImageName"],
        image_digest=each["ImageDigest"],
        exit_code=state["ExitCode"],
        started=_time(state["StartedAt"]),
        finished=_time(state["FinishedAt"]),
        grace=float(each["Config"]["StopTimeout"]),
        addresses=tuple(filter(None, found)),
        host_network=each["HostConfig"]["NetworkMode"] == "host",
    )


def _time(text: str) -> float:
    """Go's zero time, which is in the year 1, is never."""
    return max(datetime.fromisoformat(text).timestamp(), NEVER)


def _image(each: dict[str, Any]) -> ImageState:
    names = (*(each.get("Names") or ()), *(each.get("RepoDigests") or ()))
    return ImageState(each["Id"], tuple(dict.fromkeys(names)), each["Size"])


def _pod(pod: ListedPod, members: Collection[Listed], details: Mapping[str, Details]) -> PodState:
    infra = [each for each in members if each.infra]
    # Without it there is no network: podman stops it when the last container has ended, and may do
    # so just as one is started again. Such a container is to be started once more.
    connected = any(each.running for each in infra)
    own = [each for each in members if not each.infra]
    inner = [details[each.id] for each in infra]
    return PodState(
        id=pod.labels[POD_LABEL],
        digest=pod.labels.get(DIGEST_LABEL, ""),
        slot=_slot(pod.labels.get(SLOT_LABEL, "")),
        grace=max((details[each.id].grace for each in own), default=0.0),
        addresses=tuple(address for each in inner for address in each.addresses),
        containers=tuple(_container(each, details[each.id], connected=connected) for each in own),
        ports=frozenset(port for each in infra for port in each.ports),
        host_network=any(each.host_network for each in inner),
    )


def _slot(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


def _container(listed: Listed, details: Details, *, connected: bool) -> ContainerState:
    # Podman notes a start after it and an end by the clock of a file: what ends at once may have
    # ended before it began.
    at_least = details.started if listed.ended else NEVER
    return ContainerState(
        name=listed.name.removeprefix(f"{listed.pod_name}-"),
        podman_name=listed.name,
        image=details.image,
        image_digest=details.image_digest,
        running=listed.running and connected,
        exit_code=None if details.started == NEVER else details.exit_code,
        started=details.started,
        finished=max(details.finished, at_least),
    )
