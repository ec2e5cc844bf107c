"""What the plan asks of podman. Plain values; podagent.podman applies them.

Actions that name one pod are applied in the plan's order; those of different pods do not depend on
each other and may run at the same time, as long as the plan is made anew with what is `busy`.
"""

from dataclasses import dataclass

from podagent.types import Instance


@dataclass(frozen=True, slots=True)
class Kill:
    """End all of a pod's containers now, unasked: its fence has fallen.

    It may come while a StopPod of the same pod runs, and must not wait for that: `podman pod stop`
    holds the pod's lock for the whole grace period, so the containers are killed one by one with
    `podman kill`, which needs only theirs.
    """

    pod: str


@dataclass(frozen=True, slots=True)
class StopPod:
    """Ask a pod's containers to end, and kill those that have not after `grace` seconds."""

    pod: str
    grace: float


@dataclass(frozen=True, slots=True)
class RemovePod:
    """Take away a pod and its containers, by force if any still runs; nothing if it is gone.

    Volumes of the host stay.
    """

    pod: str


@dataclass(frozen=True, slots=True)
class Play:
    """Make an instance's pod and containers; images are there, and podman shall pull none.

    With init containers nothing is started (`kube play --start=false`): podman would wait for them
    under the pod's lock, in which time nobody could stop or remove the pod, and would not try again
    what fails. Each is started by StartContainer when its turn has come.
    """

    instance: Instance

    @property
    def pod(self) -> str:
        """The name of the pod that is made."""
        return self.instance.id

    @property
    def starts(self) -> bool:
        """Whether the containers are started too."""
        return not self.instance.manifest.pod.init


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start a container that does not run, init containers too, and do not wait for its end.

    `ended` is when its last run did; 0 for a first start.
    """

    pod: str
    container: str  # as in the manifest
    ended: float = 0


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Ask one container to end, and kill it if it has not after `grace` seconds; the pod stays."""

    pod: str
    container: str  # as in the manifest
    grace: float
    why: str


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask the registry for an image, whether or not podman has one of that name.

    `needed_by` has the pods (instance id, manifest digest) that wait for it.
    """

    image: str
    needed_by: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RemoveImage:
    """Take away an image that nothing uses; without force, so that podman has the last word."""

    image: str  # ImageState.id
    why: str


OfPod = Kill | StopPod | RemovePod | Play | StartContainer | StopContainer
Action = OfPod | Pull | RemoveImage


def describe(action: Action) -> str:
    """An action for people and logs."""
    match action:
        case Play():
            text = f"play pod {action.pod}"
        case Kill():
            text = f"kill pod {action.pod}: its lease does not hold"
        case StopPod():
            text = f"stop pod {action.pod}"
        case RemovePod():
            text = f"remove pod {action.pod}"
        case StartContainer():
            text = f"start container {action.container} of pod {action.pod}"
        case StopContainer():
            text = f"stop container {action.container} of pod {action.pod}: {action.why}"
        case Pull():
            text = f"pull image {action.image}"
        case RemoveImage():
            text = f"remove image {action.image}: {action.why}"
    return text
