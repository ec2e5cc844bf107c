# ruff: noqa: RUF009 (`key` is a dataclass field)
"""What is supported of a pod: Kubernetes' core/v1 fields, as for its containers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import ListOf, MapOf, Section, key
from podagent.manifest.container import (
    CONTAINER,
    INIT_CONTAINER,
    SECCOMP,
    Container,
    InitContainer,
    SeccompProfile,
)
from podagent.manifest.kinds import (
    ADDRESS,
    FILE_NAME,
    FLAG,
    HOST_NAME,
    ID,
    KEY,
    LABEL_KEY,
    LABEL_VALUE,
    LINE,
    NAME,
    PATH,
    PERMISSIONS,
    Only,
    Whole,
)
from podagent.types import RestartPolicy

_SYSCTL = Text("a kernel parameter such as net.core.somaxconn", r"[a-z0-9_\-]+([./][a-z0-9_\-]+)+")
_OPTION = Text("an option of resolv.conf(5)", r"[A-Za-z0-9_\-]+", limit=64)
_OPTION_VALUE = Text("an option's value", r"[A-Za-z0-9_.\-]*", limit=64)


class HostPathType(StrEnum):
    """What must be, or is made, at a path of the host."""

    ANY = ""
    DIRECTORY = "Directory"
    DIRECTORY_OR_CREATE = "DirectoryOrCreate"
    FILE = "File"
    FILE_OR_CREATE = "FileOrCreate"
    SOCKET = "Socket"
    CHAR_DEVICE = "CharDevice"
    BLOCK_DEVICE = "BlockDevice"


class Medium(StrEnum):
    """What an emptyDir is on."""

    DISK = ""
    MEMORY = "Memory"


class DnsPolicy(StrEnum):
    """How a pod's names are resolved."""

    CLUSTER_FIRST = "ClusterFirst"
    WITH_HOST_NET = "ClusterFirstWithHostNet"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class HostPath:
    """A file, a folder or a device of the host; of its disk only /var can be written."""

    path: str = key(PATH, "Its path.")
    type: HostPathType = key(Choice(HostPathType), "What it must be.", default=HostPathType.ANY)


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """An empty folder that lives as long as the pod."""

    medium: Medium = key(Choice(Medium), "Memory, or the disk.", default=Medium.DISK)


@dataclass(frozen=True, slots=True)
class Item:
    """A key that becomes a file."""

    of: str = key(KEY, "The key.", name="key")
    path: str = key(FILE_NAME, "The file's name; no folders.")


_ITEMS = ListOf(
    Section(Item, refused={"mode": "use defaultMode, for all files of the volume"}),
    identity="path",
)


@dataclass(frozen=True, slots=True)
class ConfigMapVolume:
    """A ConfigMap's keys as files."""

    name: str = key(NAME, "A ConfigMap of this manifest.")
    items: tuple[Item, ...] = key(_ITEMS, "Which keys; all when not said.", default=())
    mode: int = key(PERMISSIONS, "Of its files.", default=0o644, name="defaultMode")
    optional: bool = key(FLAG, "Whether it may be missing.", default=False)


@dataclass(frozen=True, slots=True)
class SecretVolume:
    """A Secret's keys as files."""

    name: str = key(NAME, "A Secret of this manifest.", name="secretName")
    items: tuple[Item, ...] = key(_ITEMS, "Which keys; all when not said.", default=())
    mode: int = key(PERMISSIONS, "Of its files.", default=0o644, name="defaultMode")
    optional: bool = key(FLAG, "Whether it may be missing.", default=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """A volume of podman's on this host, made when it is not there, and never removed."""

    name: str = key(NAME, "Its name; pods that name it share it.", name="claimName")
    read_only: str | None = key(
        Only(("false",), "use readOnly in volumeMounts"),
        "Only false.",
        default=None,
        name="readOnly",
    )


@dataclass(frozen=True, slots=True)
class Volume:
    """Files that containers of a pod see: one of these."""

    name: str = key(NAME, "What containers call it.")
    host_path: HostPath | None = key(
        Section(HostPath), "The host's files.", default=None, name="hostPath"
    )
    empty_dir: EmptyDir | None = key(
        Section(EmptyDir, refused={"sizeLimit": "podman does not limit it"}),
        "An empty folder.",
        default=None,
        name="emptyDir",
    )
    config_map: ConfigMapVolume | None = key(
        Section(ConfigMapVolume), "A ConfigMap's files.", default=None, name="configMap"
    )
    secret: SecretVolume | None = key(Section(SecretVolume), "A Secret's files.", default=None)
    claim: Claim | None = key(
        Section(Claim), "A lasting volume.", default=None, name="persistentVolumeClaim"
    )


def _one_volume(volume: Volume) -> str | None:
    given = (volume.host_path, volume.empty_dir, volume.config_map, volume.secret, volume.claim)
    if len([each for each in given if each]) != 1:
        return "expected one of hostPath, emptyDir, configMap, secret, persistentVolumeClaim"
    return None


_REMOTE = "mount it on the host (coreos.units), and use a hostPath"
_VOLUME_REFUSED = {
    "projected": "use a configMap and a secret, a volume each",
    "downwardAPI": "use env with fieldRef",
    "image": "put the files into the container's image",
    "ephemeral": "use an emptyDir",
} | dict.fromkeys(("nfs", "iscsi", "cephfs", "rbd", "fc", "csi", "glusterfs"), _REMOTE)


VOLUME = Section(Volume, _one_volume, _VOLUME_REFUSED)


@dataclass(frozen=True, slots=True)
class HostAlias:
    """Names of an address in /etc/hosts."""

    ip: str = key(ADDRESS, "The address.")
    names: tuple[str, ...] = key(ListOf(HOST_NAME), "Its names.", name="hostnames")


@dataclass(frozen=True, slots=True)
class DnsOption:
    """An option of resolv.conf(5)."""

    name: str = key(_OPTION, "Its name.")
    value: str | None = key(_OPTION_VALUE, "Its value.", default=None)


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """What /etc/resolv.conf has besides."""

    servers: tuple[str, ...] = key(
        ListOf(ADDRESS),
        "Servers in place of the host's; needs dnsPolicy: None.",
        default=(),
        name="nameservers",
    )
    searches: tuple[str, ...] = key(ListOf(HOST_NAME), "Domains to search.", default=())
    options: tuple[DnsOption, ...] = key(ListOf(Section(DnsOption)), "Options.", default=())


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A kernel parameter of the pod's own."""

    name: str = key(_SYSCTL, "Its name.")
    value: str = key(LINE, "Its value.")


@dataclass(frozen=True, slots=True)
class PodSecurityContext:
    """What all containers of a pod may do, where they say nothing themselves."""

    user: int | None = key(ID, "Whom they run as.", default=None, name="runAsUser")
    group: int | None = key(ID, "Their group; needs runAsUser.", default=None, name="runAsGroup")
    not_root: bool = key(
        FLAG,
        "Whether runAsUser must be another than 0; needs that.",
        default=False,
        name="runAsNonRoot",
    )
    groups: tuple[int, ...] = key(
        ListOf(ID), "More groups of theirs.", default=(), name="supplementalGroups"
    )
    sysctls: tuple[Sysctl, ...] = key(
        ListOf(Section(Sysctl), identity="name"), "Kernel parameters.", default=()
    )
    seccomp: SeccompProfile | None = key(
        SECCOMP, "Their filter.", default=None, name="seccompProfile"
    )


_OWNER = "podman does not change owners; have an init container do it"


@dataclass(frozen=True, slots=True)
class PodSpec:
    """A pod."""

    containers: tuple[Container, ...] = key(ListOf(CONTAINER, identity="name"), "Its containers.")
    init: tuple[InitContainer, ...] = key(
        ListOf(INIT_CONTAINER, identity="name"),
        "What runs before them.",
        default=(),
        name="initContainers",
    )
    volumes: tuple[Volume, ...] = key(
        ListOf(VOLUME, identity="name"),
        "Files that they see.",
        default=(),
    )
    restart: RestartPolicy = key(
        Choice(RestartPolicy),
        "When a container that ended is started again; Always but for a Pod.",
        default=RestartPolicy.ALWAYS,
        name="restartPolicy",
    )
    grace: int = key(
        Whole(0, 86_400),
        "Seconds between the stop signal and the end.",
        default=30,
        name="terminationGracePeriodSeconds",
    )
    node: str | None = key(
        HOST_NAME, "The host that it is for; only of a Pod.", default=None, name="nodeName"
    )
    selector: Mapping[str, str] = key(
        MapOf(LABEL_KEY, LABEL_VALUE),
        "Labels of the hosts that it is for.",
        default={},
        name="nodeSelector",
    )
    hostname: str | None = key(
        NAME, "Its name for itself; the instance's when not said.", default=None
    )
    host_network: bool = key(
        FLAG, "Whether it has the host's network.", default=False, name="hostNetwork"
    )
    host_pid: bool = key(
        FLAG, "Whether it sees the host's processes.", default=False, name="hostPID"
    )
    host_ipc: bool = key(FLAG, "Whether it has the host's IPC.", default=False, name="hostIPC")
    share_pid: bool = key(
        FLAG,
        "Whether its containers see each other's processes.",
        default=False,
        name="shareProcessNamespace",
    )
    aliases: tuple[HostAlias, ...] = key(
        ListOf(Section(HostAlias)), "Names in /etc/hosts.", default=(), name="hostAliases"
    )
    dns_policy: DnsPolicy = key(
        Choice(DnsPolicy),
        "None, with nameservers of its own, or the host's resolver, which knows the Services.",
        default=DnsPolicy.CLUSTER_FIRST,
        name="dnsPolicy",
    )
    dns: DnsConfig | None = key(
        Section(DnsConfig), "How it resolves.", default=None, name="dnsConfig"
    )
    security: PodSecurityContext | None = key(
        Section(
            PodSecurityContext,
            refused={
                "fsGroup": _OWNER,
                "fsGroupChangePolicy": _OWNER,
                "seLinuxOptions": "this host has no SELinux",
                "windowsOptions": "this is no Windows",
                "appArmorProfile": "podman has its own",
                "supplementalGroupsPolicy": "leave it out",
            },
        ),
        "What it may do.",
        default=None,
        name="securityContext",
    )
    token: str | None = key(
        Only(("false",), "no pod gets a token here"),
        "Only false.",
        default=None,
        name="automountServiceAccountToken",
    )
    links: str | None = key(
        Only(("false",), "Services have names, and no variables"),
        "Only false.",
        default=None,
        name="enableServiceLinks",
    )


_BY_LABELS = "use nodeSelector"
_NO_PRIORITY = "nothing is put aside for another pod here"
_REFUSED = (
    dict.fromkeys(("affinity", "tolerations", "topologySpreadConstraints"), _BY_LABELS)
    | dict.fromkeys(("priority", "priorityClassName", "preemptionPolicy"), _NO_PRIORITY)
    | dict.fromkeys(
        ("serviceAccountName", "serviceAccount"), "there are no accounts; give it a Secret"
    )
    | {
        "imagePullSecrets": "credentials are the host's: bedplate.registries of its cloud-config",
        "activeDeadlineSeconds": "let the program end itself",
        "ephemeralContainers": "add a container",
        "hostUsers": "pods have the host's user ids; use runAsUser",
        "overhead": "leave it out",
        "os": "leave it out: it is Linux",
        "readinessGates": "use a readinessProbe",
        "resourceClaims": "there are no resource claims",
        "resources": "say it of the containers",
        "runtimeClassName": "the runtime is crun",
        "schedulerName": "there is no scheduler; use nodeSelector",
        "schedulingGates": "there is no scheduler",
        "setHostnameAsFQDN": "write it out in hostname",
        "subdomain": "write it out in hostAliases",
    }
)
POD_SPEC = Section(
    PodSpec,
    lambda spec: None if spec.containers else "containers is empty; a pod has one at least",
    _REFUSED,
)
