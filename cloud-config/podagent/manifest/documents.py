# ruff: noqa: RUF009 (`key` is a dataclass field)
"""What is supported of the documents of a manifest: their kinds, and all but the pod itself.

Fields are those of Kubernetes' core/v1 and apps/v1; what stands nowhere here is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hostkit.document.kinds import Choice, Parsed, Text
from hostkit.document.schema import ListOf, MapOf, Section, key
from podagent.manifest.kinds import (
    BASE64,
    DATA_KEY,
    FILE,
    FLAG,
    LABEL_KEY,
    LABEL_VALUE,
    LINE,
    NAME,
    PORT,
    PORT_NAME,
    PORT_OR_NAME,
    SHARE,
    Only,
    Share,
    Whole,
    address,
)
from podagent.manifest.pod import POD_SPEC, PodSpec
from podagent.types import OUR_LABELS

REPLICA_LIMIT = 1000
NO_ADDRESS = "None"  # a Service that is only a name
_ANNOTATION = Text("an annotation", limit=65_536)
# Annotations that mean something to podman or crun, which no manifest's are handed to.
_MEANT = r"(io\.podman\.|io\.containers\.|io\.kubernetes\.cri|run\.oci\.|bind-mount-options)"
_LABELS = MapOf(
    rf"(?!{OUR_LABELS.replace('.', '[.]')}){LABEL_KEY}",
    LABEL_VALUE,
)
_ANNOTATIONS = MapOf(rf"(?!{_MEANT}){LABEL_KEY}", _ANNOTATION)
_ADDRESS_OR_NONE = Parsed(
    "an address, or None", lambda text: text if text == NO_ADDRESS else address(text)
)
_BY_TOOLS = "only a Kubernetes server writes it; take it out"
_META_REFUSED = {
    **dict.fromkeys(
        ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"),
        _BY_TOOLS,
    ),
    **dict.fromkeys(("deletionGracePeriodSeconds", "deletionTimestamp"), _BY_TOOLS),
    "generateName": "write it out in name",
    "finalizers": "nothing here waits for them",
    "ownerReferences": "nothing here owns another thing",
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a document is called."""

    name: str = key(NAME, "Its name.")
    labels: Mapping[str, str] = key(
        _LABELS, "Labels, of a Pod those that a Service finds it by.", default={}
    )
    annotations: Mapping[str, str] = key(
        _ANNOTATIONS, "Notes; a change of a pod's makes a new pod.", default={}
    )
    namespace: str | None = key(
        Only(("default",), "there are no namespaces"), "Only default.", default=None
    )


@dataclass(frozen=True, slots=True)
class TemplateMetadata:
    """What the pods of a workload are called; their names are the workload's with a number."""

    labels: Mapping[str, str] = key(_LABELS, "Labels.", default={})
    annotations: Mapping[str, str] = key(
        _ANNOTATIONS, "Notes; a change makes new pods.", default={}
    )


@dataclass(frozen=True, slots=True)
class Selector:
    """Labels that the template's pods must have."""

    labels: Mapping[str, str] = key(
        MapOf(LABEL_KEY, LABEL_VALUE), "Labels, one at least.", name="matchLabels"
    )


@dataclass(frozen=True, slots=True)
class RollingUpdate:
    """How a change goes from replica to replica."""

    unavailable: Share = key(
        SHARE,
        "How many replicas may be down at once; a percentage is rounded down, to 1 at least.",
        default=Share(25, percent=True),
        name="maxUnavailable",
    )
    surge: str | None = key(
        Only(("0", "0%"), "there are never more replicas than asked for; use maxUnavailable"),
        "Only 0.",
        default=None,
        name="maxSurge",
    )


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a change is rolled out."""

    type: str | None = key(
        Only(("RollingUpdate",), "use rollingUpdate.maxUnavailable: 100%"),
        "Only RollingUpdate.",
        default=None,
    )
    rolling: RollingUpdate | None = key(
        Section(RollingUpdate), "How.", default=None, name="rollingUpdate"
    )


@dataclass(frozen=True, slots=True)
class Template:
    """The pods of a workload."""

    spec: PodSpec = key(POD_SPEC, "The pod.")
    metadata: TemplateMetadata | None = key(
        Section(TemplateMetadata, refused={"name": "pods are named by their workload"}),
        "What they are called.",
        default=None,
    )


_SELECTOR = Section(Selector, refused={"matchExpressions": "use matchLabels"})
_METADATA = Section(Metadata, refused=_META_REFUSED)
_KIND = Text("a kind", "[A-Za-z]+", limit=63)
_CORE = Only(("v1",), "it is v1")
_APPS = Only(("apps/v1",), "it is apps/v1")


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """Replicas of a pod on any of its hosts."""

    template: Template = key(Section(Template), "The pod.")
    selector: Selector = key(_SELECTOR, "Labels that its pods have.")
    replicas: int = key(Whole(0, REPLICA_LIMIT), "How many.", default=1)
    strategy: Strategy | None = key(Section(Strategy), "How it changes.", default=None)


@dataclass(frozen=True, slots=True)
class DaemonSetSpec:
    """A pod on each of its hosts."""

    template: Template = key(Section(Template), "The pod.")
    selector: Selector = key(_SELECTOR, "Labels that its pods have.")


class ServiceProtocol(StrEnum):
    """What a Service's port speaks."""

    TCP = "TCP"
    UDP = "UDP"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service."""

    port: int = key(PORT, "Its number.")
    name: str | None = key(PORT_NAME, "Its name; needed where there are several.", default=None)
    protocol: ServiceProtocol = key(
        Choice(ServiceProtocol), "What it speaks.", default=ServiceProtocol.TCP
    )
    target: int | str | None = key(
        PORT_OR_NAME,
        "The pods' port, or its name; the same number when not said.",
        default=None,
        name="targetPort",
    )


def _unlike(spec: "ServiceSpec") -> str | None:
    if not spec.selector:
        return "selector is empty; it names labels of the workload's pods"
    if spec.address == NO_ADDRESS:
        return None
    if not spec.ports:
        return "ports is missing; only a Service with clusterIP: None has none"
    names = [port.name for port in spec.ports]
    if len(names) > 1 and (None in names or len(set(names)) < len(names)):
        return "each of several ports needs a name of its own"
    if len({(port.protocol, port.port) for port in spec.ports}) < len(spec.ports):
        return "two ports with the same number and protocol"
    return None


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A name and an address in front of a workload's ready pods."""

    selector: Mapping[str, str] = key(
        MapOf(LABEL_KEY, LABEL_VALUE), "Labels that the workload's pods have."
    )
    ports: tuple[ServicePort, ...] = key(
        ListOf(Section(ServicePort, refused={"nodePort": "use a container's hostPort"})),
        "Its ports.",
        default=(),
    )
    address: str | None = key(
        _ADDRESS_OR_NONE, "Its address; None: only a name.", default=None, name="clusterIP"
    )
    type: str | None = key(
        Only(("ClusterIP",), "use ClusterIP, and a container's hostPort for what is outside"),
        "Only ClusterIP.",
        default=None,
    )
    affinity: str | None = key(
        Only(("None",), "a client's connections go to any replica"),
        "Only None.",
        default=None,
        name="sessionAffinity",
    )


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod: on this host, on the host it names, or on one of all that match."""

    api: str = key(_CORE, "v1.", name="apiVersion")
    kind: str = key(_KIND, "Pod.")
    metadata: Metadata = key(_METADATA, "What it is called.")
    spec: PodSpec = key(POD_SPEC, "The pod.")


@dataclass(frozen=True, slots=True)
class Deployment:
    """Replicas of a pod, on any of the hosts that match its template's nodeSelector."""

    api: str = key(_APPS, "apps/v1.", name="apiVersion")
    kind: str = key(_KIND, "Deployment.")
    metadata: Metadata = key(_METADATA, "What it is called.")
    spec: DeploymentSpec = key(
        Section(
            DeploymentSpec,
            refused={
                "minReadySeconds": "use a readinessProbe",
                "paused": "put the old manifest back",
                "progressDeadlineSeconds": "a change halts while replicas are not ready",
                "revisionHistoryLimit": "there is no history: put the old manifest back",
            },
        ),
        "How many of what.",
    )


@dataclass(frozen=True, slots=True)
class DaemonSet:
    """A pod on every host that matches its template's nodeSelector."""

    api: str = key(_APPS, "apps/v1.", name="apiVersion")
    kind: str = key(_KIND, "DaemonSet.")
    metadata: Metadata = key(_METADATA, "What it is called.")
    spec: DaemonSetSpec = key(
        Section(
            DaemonSetSpec,
            refused={
                "minReadySeconds": "use a readinessProbe",
                "revisionHistoryLimit": "there is no history: put the old manifest back",
                "updateStrategy": "each host changes by itself; a Deployment goes step by step",
            },
        ),
        "What.",
    )


@dataclass(frozen=True, slots=True)
class Service:
    """A name and an address in front of a workload."""

    api: str = key(_CORE, "v1.", name="apiVersion")
    kind: str = key(_KIND, "Service.")
    metadata: Metadata = key(_METADATA, "What it is called.")
    spec: ServiceSpec = key(
        Section(
            ServiceSpec,
            _unlike,
            dict.fromkeys(("clusterIPs", "ipFamilies", "ipFamilyPolicy"), "use clusterIP")
            | dict.fromkeys(
                ("externalIPs", "externalName", "loadBalancerIP", "externalTrafficPolicy"),
                "a Service is reached from hosts and pods; use a container's hostPort",
            )
            | {
                "internalTrafficPolicy": "a connection goes to any replica",
                "publishNotReadyAddresses": "only ready replicas are named",
            },
        ),
        "Where it leads.",
    )


@dataclass(frozen=True, slots=True)
class ConfigMap:
    """Texts and bytes that containers see as variables or files."""

    api: str = key(_CORE, "v1.", name="apiVersion")
    kind: str = key(_KIND, "ConfigMap.")
    metadata: Metadata = key(_METADATA, "What it is called.")
    data: Mapping[str, str] = key(MapOf(DATA_KEY, FILE), "Texts.", default={})
    binary: Mapping[str, bytes] = key(
        MapOf(DATA_KEY, BASE64), "Bytes, for files only.", default={}, name="binaryData"
    )
    immutable: bool = key(FLAG, "Taken; a change makes new pods anyway.", default=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """Like a ConfigMap, and no message shows what is in it."""

    api: str = key(_CORE, "v1.", name="apiVersion")
    kind: str = key(_KIND, "Secret.")
    metadata: Metadata = key(_METADATA, "What it is called.")
    data: Mapping[str, bytes] = key(MapOf(DATA_KEY, BASE64), "Bytes in base64.", default={})
    text: Mapping[str, str] = key(
        MapOf(DATA_KEY, FILE), "Texts; they go before data.", default={}, name="stringData"
    )
    type: str = key(LINE, "Taken, and not looked at.", default="Opaque")
    immutable: bool = key(FLAG, "Taken; a change makes new pods anyway.", default=False)


def _twice(config: ConfigMap) -> str | None:
    both = sorted(config.data.keys() & config.binary.keys())
    return f"{', '.join(both)} stands in data and in binaryData" if both else None


_STATUS = {"status": _BY_TOOLS}
DOCUMENTS: Mapping[str, Section] = {
    "Pod": Section(Pod, refused=_STATUS),
    "Deployment": Section(Deployment, refused=_STATUS),
    "DaemonSet": Section(DaemonSet, refused=_STATUS),
    "Service": Section(Service, refused=_STATUS),
    "ConfigMap": Section(ConfigMap, _twice),
    "Secret": Section(Secret),
}
REFUSED_KINDS = {
    "Job": "use a Pod with restartPolicy: OnFailure",
    "CronJob": "use a timer of the host (coreos.units)",
    "StatefulSet": "use a Pod for each, with nodeName",
    "ReplicaSet": "use a Deployment",
    "ReplicationController": "use a Deployment",
    "Ingress": "use a container's hostPort",
    "List": "write the documents one after another, with --- between them",
    "Namespace": "there are no namespaces",
    "PersistentVolume": "use a hostPath, or name a volume in persistentVolumeClaim",
    "PersistentVolumeClaim": "leave it out: podman makes the volume that a claim names",
}
