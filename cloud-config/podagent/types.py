"""What is to run: manifests, checked, and the instances of them that this host is to have.

Plain values without behaviour. What podman has is in podagent.observed, and what to do about it in
podagent.actions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# Labels that podman's pods and containers of ours have.
POD_LABEL = "org.bedplate.pod"  # the instance's id
DIGEST_LABEL = "org.bedplate.digest"  # Manifest.digest
SLOT_LABEL = "org.bedplate.slot"  # a replica's number
OUR_LABELS = "org.bedplate."  # no manifest has labels of its own that begin so


class Kind(StrEnum):
    """The kinds of workload."""

    POD = "Pod"
    DEPLOYMENT = "Deployment"
    DAEMON_SET = "DaemonSet"


class RestartPolicy(StrEnum):
    """When a container that ended is started again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class PullPolicy(StrEnum):
    """When an image is asked for at its registry."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Origin(StrEnum):
    """Where a manifest came from; the document's pods arrive in the folder."""

    FOLDER = "folder"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Exec:
    """Run a program in the container; it is well when it exits with 0."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Http:
    """GET; it is well when the status is from 200 to 399."""

    path: str  # begins with /
    port: int
    scheme: str  # "http" or "https"
    host: str | None  # None: the pod's address
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Tcp:
    """Connect; it is well when that succeeds."""

    port: int
    host: str | None  # None: the pod's address


@dataclass(frozen=True, slots=True)
class Probe:
    """What to ask a container, and how often; Kubernetes' defaults are filled in."""

    action: Exec | Http | Tcp
    delay: float  # seconds from the container's start to the first probe
    period: float  # seconds between probes
    timeout: float  # seconds a probe may take
    successes: int  # in a row, to be well
    failures: int  # in a row, to be unwell


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod, as far as the agent decides about it."""

    name: str
    image: str  # as written in the manifest
    pull: PullPolicy  # filled in by Kubernetes' rule where the manifest has none
    startup: Probe | None
    liveness: Probe | None
    readiness: Probe | None
    restart_always: bool = False  # an init container that goes on beside the others (a sidecar)


@dataclass(frozen=True, slots=True)
class PodSpec:
    """A pod, as far as the agent decides about it."""

    labels: Mapping[str, str]
    init: tuple[Container, ...]
    containers: tuple[Container, ...]
    restart: RestartPolicy
    grace: float  # seconds between asking its containers to end and killing them
    host_network: bool


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a service, and the port of its pods that it leads to."""

    name: str  # "" where the only port has none
    protocol: str  # "tcp" or "udp"
    port: int
    target: int


@dataclass(frozen=True, slots=True)
class Service:
    """A stable address in front of a workload's ready replicas."""

    name: str
    address: str | None  # asked for by clusterIP
    ports: tuple[ServicePort, ...]  # none: headless, just a name


@dataclass(frozen=True, slots=True)
class Manifest:
    """One workload and what belongs to it, checked."""

    name: str
    kind: Kind
    replicas: int | None  # None: it has no slots
    max_unavailable: int  # of `replicas`, while a change rolls out; at least 1
    node: str | None
    selector: Mapping[str, str]  # labels of the hosts it is for
    pod: PodSpec
    service: Service | None
    digest: str  # SHA-256 of all that is run, in hex
    # What render() needs: the pod's template, ConfigMaps and Secrets, as JSON has them.
    documents: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Instance:
    """One pod that this host is to run."""

    id: str  # "web", or "web-2" for slot 2: podman's name of the pod
    manifest: Manifest
    origin: Origin
    slot: int | None
