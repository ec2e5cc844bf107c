"""Why something does not run yet: Kubernetes' words where it has one, and ours."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a pod or a container waits."""

    IMAGE_NEVER = "ErrImageNeverPull"
    IMAGE_BACK_OFF = "ImagePullBackOff"
    PULLING = "Pulling"
    CREATING = "ContainerCreating"
    INITIALIZING = "PodInitializing"
    CREATE_ERROR = "CreateContainerError"
    START_ERROR = "RunContainerError"
    CRASH_LOOP = "CrashLoopBackOff"
    DISK_PRESSURE = "DiskPressure"
    NAME_TAKEN = "NameTaken"
    OTHER_POD_ENDS = "OtherPodEnds"
    FENCED = "Fenced"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits, for what, and until when (Unix seconds; None: until something else changes)."""

    pod: str  # the instance's id
    reason: Reason
    message: str
    until: float | None = None
    container: str = ""  # one of its containers; "" for the pod as a whole
