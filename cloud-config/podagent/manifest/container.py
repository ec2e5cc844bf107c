# ruff: noqa: RUF009 (`key` is a dataclass field)
"""What is supported of a container.

These are the fields of Kubernetes' core/v1 that podman 5.4's kube play honours, and those that the
agent looks after itself.

What kube play ignores in silence is refused: docs/kubernetes_support.md and
pkg/specgen/generate/kube of containers/podman 5.4.2, and tries of Debian's build.
"""

from dataclasses import dataclass
from enum import StrEnum

from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import ListOf, Section, key
from podagent.manifest.kinds import (
    ADDRESS,
    ARGUMENT,
    BYTES,
    FLAG,
    HOST_NAME,
    ID,
    IMAGE,
    KEY,
    MILLICORES,
    NAME,
    PATH,
    PORT,
    PORT_NAME,
    PORT_OR_NAME,
    SECONDS,
    SUB_PATH,
    VALUE,
    VARIABLE,
    Only,
    Whole,
)
from podagent.types import PullPolicy

_COUNT = Whole(1, 1000)
_FIELD = Text(
    "metadata.name, metadata.uid, metadata.labels['...'] or metadata.annotations['...'], which are"
    " what is supported",
    r"metadata\.(name|uid|(labels|annotations)\['[^']{1,317}'\])",
)
_CAPABILITY = Text("a capability such as NET_ADMIN, or ALL", r"[A-Z][A-Z0-9_]{0,62}")
_HTTP_PATH = Text("a path that begins with /", r"/[!-~]*", limit=4096)
_HEADER_NAME = Text("a header's name", r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+", limit=256)
_HEADER_VALUE = Text("a header's value", r"[\t -~]*", limit=4096, secret=True)
RUNTIME_DEFAULT = Only(("RuntimeDefault",), "podman's own filter is always on")
_NO_SELINUX = "this host has no SELinux"
_BY_PROFILE = "podman's own filter is always on; leave it out, or say type: RuntimeDefault"


class Protocol(StrEnum):
    """What a port speaks."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class Scheme(StrEnum):
    """How a probe asks."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


class Propagation(StrEnum):
    """Whether mounts made later are seen across."""

    NONE = "None"
    HOST_TO_CONTAINER = "HostToContainer"
    BIDIRECTIONAL = "Bidirectional"


class ProcMount(StrEnum):
    """Whether /proc hides what containers seldom need."""

    DEFAULT = "Default"
    UNMASKED = "Unmasked"


@dataclass(frozen=True, slots=True)
class KeyOf:
    """A key of a ConfigMap or a Secret of this manifest."""

    name: str = key(NAME, "The ConfigMap or Secret.")
    of: str = key(KEY, "Its key.", name="key")
    optional: bool = key(FLAG, "Whether it may be missing.", default=False)


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field of the pod itself."""

    path: str = key(_FIELD, "Which; the name is the instance's, such as web-0.", name="fieldPath")
    api: str | None = key(Only(("v1",), "leave it out"), "v1.", default=None, name="apiVersion")


@dataclass(frozen=True, slots=True)
class ValueFrom:
    """Where a variable's value comes from: one of these."""

    config_map: KeyOf | None = key(
        Section(KeyOf), "A ConfigMap.", default=None, name="configMapKeyRef"
    )
    secret: KeyOf | None = key(Section(KeyOf), "A Secret.", default=None, name="secretKeyRef")
    field: FieldRef | None = key(Section(FieldRef), "The pod.", default=None, name="fieldRef")


def _one_source(value: ValueFrom) -> str | None:
    given = [value.config_map, value.secret, value.field]
    if len([each for each in given if each]) != 1:
        return "expected one of configMapKeyRef, secretKeyRef and fieldRef"
    return None


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable; `$(OTHER)` in its value is one that stands before it."""

    name: str = key(VARIABLE, "Its name.")
    value: str = key(VALUE, "Its value.", default="")
    source: ValueFrom | None = key(
        Section(
            ValueFrom,
            _one_source,
            refused={"resourceFieldRef": "write the value out"},
        ),
        "Where its value comes from.",
        default=None,
        name="valueFrom",
    )


def _value_or_source(variable: Variable) -> str | None:
    return "value and valueFrom exclude each other" if variable.value and variable.source else None


@dataclass(frozen=True, slots=True)
class AllOf:
    """A ConfigMap or a Secret of this manifest."""

    name: str = key(NAME, "The ConfigMap or Secret.")
    optional: bool = key(FLAG, "Whether it may be missing.", default=False)


@dataclass(frozen=True, slots=True)
class Variables:
    """All keys of a ConfigMap or a Secret as variables; `env` goes before them."""

    prefix: str | None = key(VARIABLE, "What their names begin with.", default=None)
    config_map: AllOf | None = key(
        Section(AllOf), "A ConfigMap.", default=None, name="configMapRef"
    )
    secret: AllOf | None = key(Section(AllOf), "A Secret.", default=None, name="secretRef")


def _one_map(variables: Variables) -> str | None:
    if (variables.config_map is None) == (variables.secret is None):
        return "expected one of configMapRef and secretRef"
    return None


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a container listens on."""

    number: int = key(PORT, "Its number.", name="containerPort")
    name: str | None = key(PORT_NAME, "What probes and Services may call it.", default=None)
    protocol: Protocol = key(Choice(Protocol), "What it speaks.", default=Protocol.TCP)
    host_port: int | None = key(
        PORT, "The host's port that leads to it.", default=None, name="hostPort"
    )
    host_ip: str | None = key(
        ADDRESS, "The host's address that has that port.", default=None, name="hostIP"
    )


def _host_port(port: ContainerPort) -> str | None:
    return "hostIP without hostPort" if port.host_ip and port.host_port is None else None


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of what a host has."""

    cpu: int | None = key(MILLICORES, "Cores.", default=None)
    memory: int | None = key(BYTES, "Memory.", default=None)


_AMOUNTS = Section(
    Amounts,
    refused=dict.fromkeys(
        ("ephemeral-storage", "hugepages-2Mi", "hugepages-1Gi"), "podman does not limit it"
    ),
)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a container may use."""

    limits: Amounts | None = key(_AMOUNTS, "What it gets at most.", default=None)
    requests: Amounts | None = key(
        _AMOUNTS,
        "What it gets under pressure: memory (memory.low). cpu is taken and does nothing, as"
        " nothing here schedules by it.",
        default=None,
    )


def _within(resources: Resources) -> str | None:
    limits, requests = resources.limits or Amounts(), resources.requests or Amounts()
    for name in ("cpu", "memory"):
        most, asked = getattr(limits, name), getattr(requests, name)
        if most is not None and asked is not None and asked > most:
            return f"requests.{name} is more than limits.{name}"
    return None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Capabilities beside podman's own choice."""

    add: tuple[str, ...] = key(ListOf(_CAPABILITY), "What it has besides.", default=())
    drop: tuple[str, ...] = key(ListOf(_CAPABILITY), "What it has not.", default=())


@dataclass(frozen=True, slots=True)
class SeccompProfile:
    """The filter of system calls."""

    type: str = key(RUNTIME_DEFAULT, "RuntimeDefault, which is so anyway.")


SECCOMP = Section(SeccompProfile, refused={"localhostProfile": _BY_PROFILE})


@dataclass(frozen=True, slots=True)
class SecurityContext:
    """What a container may do."""

    user: int | None = key(ID, "Whom it runs as.", default=None, name="runAsUser")
    group: int | None = key(
        ID, "Its group; needs runAsUser here or at the pod.", default=None, name="runAsGroup"
    )
    not_root: bool = key(
        FLAG,
        "Whether runAsUser must be another than 0; needs that, here or at the pod.",
        default=False,
        name="runAsNonRoot",
    )
    read_only: bool = key(
        FLAG, "Whether its root is.", default=False, name="readOnlyRootFilesystem"
    )
    privileged: bool = key(FLAG, "Whether it may do all that the host may.", default=False)
    escalation: bool = key(
        FLAG,
        "Whether a program may gain what its parent has not.",
        default=True,
        name="allowPrivilegeEscalation",
    )
    proc_mount: ProcMount = key(
        Choice(ProcMount), "What /proc shows.", default=ProcMount.DEFAULT, name="procMount"
    )
    capabilities: Capabilities | None = key(Section(Capabilities), "Capabilities.", default=None)
    seccomp: SeccompProfile | None = key(
        SECCOMP, "Its filter.", default=None, name="seccompProfile"
    )


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a container sees a volume."""

    name: str = key(NAME, "The volume.")
    path: str = key(PATH, "Where it is seen.", name="mountPath")
    read_only: bool = key(FLAG, "Whether it cannot write there.", default=False, name="readOnly")
    sub_path: str | None = key(SUB_PATH, "What of it is seen.", default=None, name="subPath")
    propagation: Propagation | None = key(
        Choice(Propagation),
        "Whether mounts made later are seen across.",
        default=None,
        name="mountPropagation",
    )


@dataclass(frozen=True, slots=True)
class ExecAction:
    """A program in the container."""

    command: tuple[str, ...] = key(ListOf(ARGUMENT), "Its argv; no shell is put before it.")


@dataclass(frozen=True, slots=True)
class HttpHeader:
    """A header of a probe."""

    name: str = key(_HEADER_NAME, "Its name.")
    value: str = key(_HEADER_VALUE, "Its value.")


@dataclass(frozen=True, slots=True)
class HttpGet:
    """A GET from the host; 200 to 399 is well."""

    port: int | str = key(PORT_OR_NAME, "The port, or its name.")
    path: str = key(_HTTP_PATH, "What is asked for.", default="/")
    scheme: Scheme = key(Choice(Scheme), "How; no certificate is checked.", default=Scheme.HTTP)
    host: str | None = key(HOST_NAME, "Whom; the pod when not said.", default=None)
    headers: tuple[HttpHeader, ...] = key(
        ListOf(Section(HttpHeader)), "Headers.", default=(), name="httpHeaders"
    )


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """A connection from the host."""

    port: int | str = key(PORT_OR_NAME, "The port, or its name.")
    host: str | None = key(HOST_NAME, "Whom; the pod when not said.", default=None)


@dataclass(frozen=True, slots=True)
class Probe:
    """A question to a container, asked by the agent: one of exec, httpGet and tcpSocket."""

    exec: ExecAction | None = key(Section(ExecAction), "Run a program.", default=None)
    http: HttpGet | None = key(Section(HttpGet), "Ask by HTTP.", default=None, name="httpGet")
    tcp: TcpSocket | None = key(Section(TcpSocket), "Connect.", default=None, name="tcpSocket")
    delay: int = key(
        Whole(0, 86_400),
        "Seconds before the first time.",
        default=0,
        name="initialDelaySeconds",
    )
    period: int = key(SECONDS, "Seconds between times.", default=10, name="periodSeconds")
    timeout: int = key(SECONDS, "Seconds it may take.", default=1, name="timeoutSeconds")
    successes: int = key(
        _COUNT,
        "Successes in a row that count; 1 but for readiness.",
        default=1,
        name="successThreshold",
    )
    failures: int = key(_COUNT, "Failures in a row that count.", default=3, name="failureThreshold")


def _one_action(probe: Probe) -> str | None:
    if len([each for each in (probe.exec, probe.http, probe.tcp) if each]) != 1:
        return "expected one of exec, httpGet and tcpSocket"
    if probe.exec and not probe.exec.command:
        return "exec.command is empty"
    return None


def _lasting(probe: Probe) -> str | None:
    return _one_action(probe) or (
        "successThreshold must be 1 here" if probe.successes != 1 else None
    )


_PROBE_REFUSED = {
    "grpc": "use httpGet, tcpSocket or exec",
    "terminationGracePeriodSeconds": "the pod's is used",
}
_READINESS = Section(Probe, _one_action, _PROBE_REFUSED)
_LIVENESS = Section(Probe, _lasting, _PROBE_REFUSED)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod."""

    name: str = key(NAME, "Its name.")
    image: str = key(IMAGE, "What it runs.")
    pull: PullPolicy | None = key(
        Choice(PullPolicy),
        "When its image is asked for; Always for the tag latest, else IfNotPresent.",
        default=None,
        name="imagePullPolicy",
    )
    command: tuple[str, ...] = key(
        ListOf(ARGUMENT), "In place of the image's entry point.", default=()
    )
    args: tuple[str, ...] = key(ListOf(ARGUMENT), "Its arguments.", default=())
    folder: str | None = key(PATH, "Where it starts.", default=None, name="workingDir")
    env: tuple[Variable, ...] = key(
        ListOf(Section(Variable, _value_or_source)), "Its environment.", default=()
    )
    env_from: tuple[Variables, ...] = key(
        ListOf(Section(Variables, _one_map)),
        "More environment.",
        default=(),
        name="envFrom",
    )
    ports: tuple[ContainerPort, ...] = key(
        ListOf(Section(ContainerPort, _host_port)), "Where it listens.", default=()
    )
    resources: Resources | None = key(
        Section(Resources, _within, {"claims": "there are no resource claims"}),
        "What it may use.",
        default=None,
    )
    security: SecurityContext | None = key(
        Section(
            SecurityContext,
            refused={
                "seLinuxOptions": _NO_SELINUX,
                "windowsOptions": "this is no Windows",
                "appArmorProfile": "podman has its own",
            },
        ),
        "What it may do.",
        default=None,
        name="securityContext",
    )
    mounts: tuple[Mount, ...] = key(
        ListOf(
            Section(
                Mount,
                refused={
                    "subPathExpr": "write it out in subPath",
                    "recursiveReadOnly": "use readOnly",
                },
            )
        ),
        "The volumes it sees.",
        default=(),
        name="volumeMounts",
    )
    startup: Probe | None = key(
        _LIVENESS, "Whether it has started.", default=None, name="startupProbe"
    )
    liveness: Probe | None = key(
        _LIVENESS, "Whether it must be restarted.", default=None, name="livenessProbe"
    )
    readiness: Probe | None = key(
        _READINESS, "Whether it can serve.", default=None, name="readinessProbe"
    )


@dataclass(frozen=True, slots=True)
class InitContainer(Container):
    """A container that runs to its end before the next one starts.

    With restartPolicy: Always it is a sidecar, which the next one waits for only until its
    startupProbe is well, and which goes on beside the others.
    """

    restart: str | None = key(
        Only(("Always",), "leave it out, and the pod's holds"),
        "Only Always: a sidecar.",
        default=None,
        name="restartPolicy",
    )


def _only_sidecars(container: InitContainer) -> str | None:
    if container.restart is None and (
        container.startup or container.liveness or container.readiness
    ):
        return "a probe needs restartPolicy: Always; an init container runs to its end"
    return None


_NO_TERMINAL = "no one can log in to it; take it out"
_REFUSED = {
    "lifecycle": "podman runs no hooks; let the program act on its stop signal",
    "resizePolicy": "a change makes a new pod",
    "stdin": _NO_TERMINAL,
    "stdinOnce": _NO_TERMINAL,
    "tty": _NO_TERMINAL,
    "terminationMessagePath": "the journal has what a container says",
    "terminationMessagePolicy": "the journal has what a container says",
    "volumeDevices": "use a hostPath of type BlockDevice and volumeMounts",
}
_BESIDE = {"restartPolicy": "it is the pod's; only a sidecar, an init container, has one"}

CONTAINER = Section(Container, refused=_REFUSED | _BESIDE)
INIT_CONTAINER = Section(InitContainer, _only_sidecars, _REFUSED)
