# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""`bedplate`: what neither CoreOS nor cloud-init has a word for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from cloudconfig.kinds import (
    BASE_URL,
    BOOLEAN,
    HTTPS,
    LINE,
    SECRET,
    SECRET_LINE,
    SHA256,
    Integer,
    between,
)
from cloudconfig.manifests import manifest_problems
from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import Fault, Later, ListOf, MapOf, Section, key
from updater.version import CHANNEL_PATTERN

if TYPE_CHECKING:
    from cloudconfig.model.api import Api
    from cloudconfig.model.cluster import Cluster
    from cloudconfig.model.etcd import Etcd
    from cloudconfig.model.network import Network

_ETCD = "etcd"  # the extension that brings it to a host
NAME = Text("a name in lower case such as web", r"[a-z0-9]([a-z0-9.\-]{0,61}[a-z0-9])?")


class Strategy(Enum):
    """When a staged release takes over."""

    OFF = "off"
    REBOOT = "reboot"
    WINDOW = "window"
    ETCD_LOCK = "etcd-lock"


class Day(Enum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


@dataclass(frozen=True, slots=True)
class Window:
    """When a host may reboot."""

    start: str = key(
        Text("a time such as 03:30", r"([01][0-9]|2[0-3]):[0-5][0-9]"), "From when, UTC."
    )
    length: float = key(between(60, 86400), "For how long.")
    days: tuple[Day, ...] = key(ListOf(Choice(Day)), "On which days; else on all.", default=())


@dataclass(frozen=True, slots=True)
class Update:
    """Where releases come from, and when they take over."""

    server: str | None = key(BASE_URL, "Where releases come from.", default=None)
    channel: str | None = key(
        Text("a channel such as stable", CHANNEL_PATTERN), "Which of them.", default=None
    )
    strategy: Strategy | None = key(
        Choice(Strategy), "When a staged release takes over.", default=None
    )
    window: Window | None = key(
        Section(Window),
        "For the strategy window: when that is. With etcd-lock, the lock is taken in it alone.",
        default=None,
    )
    proxy: str | None = key(BASE_URL, "A proxy for updates alone.", default=None)
    bandwidth: int | None = key(Integer(1024, 1 << 40), "Bytes a second at most.", default=None)
    interval: float | None = key(between(1, 7 * 86400), "Time between two checks.", default=None)
    jitter: float | None = key(
        between(0, 86400), "At most this much is added to an interval, by chance.", default=None
    )
    reboot_delay: float | None = key(
        between(0, 7 * 86400), "Time from a staged release to the reboot.", default=None
    )


def _update_problem(update: Update) -> str | None:
    if update.strategy is Strategy.WINDOW and update.window is None:
        return "strategy: window needs the key window, with start and length"
    if update.window and update.strategy in (Strategy.OFF, Strategy.REBOOT):
        return f"window beside strategy: {update.strategy.value}; it is for window and etcd-lock"
    return None


@dataclass(frozen=True, slots=True)
class Proxy:
    """The way out, for all that the host itself fetches."""

    http: str | None = key(BASE_URL, "For http URLs.", default=None)
    https: str | None = key(BASE_URL, "For https URLs.", default=None)
    no_proxy: tuple[str, ...] = key(
        ListOf(Text("a host, a domain or a network", r"[A-Za-z0-9.:/*\-]+", limit=253)),
        "What is reached without it.",
        default=(),
    )


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry of container images."""

    mirrors: tuple[str, ...] = key(
        ListOf(Text("host[:port][/path]", r"[a-z0-9.\-]+(:[0-9]{1,5})?(/[a-z0-9._/\-]+)?")),
        "Asked first, in this order.",
        default=(),
    )
    insecure: bool = key(
        BOOLEAN, "Speak http, or to certificates nobody vouches for.", default=False
    )
    username: str | None = key(LINE, "Who we are to it.", default=None)
    password: str | None = key(SECRET_LINE, "And our word for it.", default=None)


def _registry_problem(registry: Registry) -> str | None:
    if (registry.username is None) != (registry.password is None):
        return "username and password belong together"
    if registry.username is not None and ":" in registry.username:
        return "a colon in username, which ends the name in what registries are sent (RFC 7617)"
    return None


@dataclass(frozen=True, slots=True)
class Extension:
    """A signed system extension."""

    name: str = key(NAME, "Its name.")
    url: str = key(HTTPS, "Where it is fetched from.")
    sha256: str = key(SHA256, "What it must hash to.")


@dataclass(frozen=True, slots=True)
class Pod:
    """A Kubernetes Pod for this host."""

    name: str = key(NAME, "Its name.")
    manifest: str | None = key(SECRET, "The Pod, in YAML.", default=None)
    url: str | None = key(HTTPS, "Where the Pod is fetched from.", default=None)
    sha256: str | None = key(SHA256, "What must hash to this.", default=None)


def _pod_problem(pod: Pod) -> str | None:
    if (pod.manifest is None) == (pod.url is None):
        return f"{pod.name}: one of manifest and url is needed"
    if (pod.url is None) != (pod.sha256 is None):
        return f"{pod.name}: url and sha256 belong together"
    return None


def _manifest_problems(pod: Pod) -> Iterator[Fault]:
    for wrong in () if pod.manifest is None else manifest_problems(pod.manifest):
        yield Fault(f"{pod.name}: {wrong}", ("manifest",))


@dataclass(frozen=True, slots=True)
class Bedplate:
    """Our own section."""

    update: Update | None = key(Section(Update, _update_problem), "Updates.", default=None)
    api: "Api | None" = key(
        Later("cloudconfig.model.api", "API"),
        "The API of this host, for `bedplate host`; else it has none.",
        default=None,
    )
    network: "Network | None" = key(
        Later("cloudconfig.model.network", "NETWORK"),
        "Interfaces and addresses: cloud-init's network-config, 1 or 2.",
        default=None,
    )
    sysctl: Mapping[str, str] = key(
        # As sysctl.d(5) has them, but nothing that could be a path out of /proc/sys.
        MapOf(r"(?!.*\.\.)-?[A-Za-z0-9_*][A-Za-z0-9_.*/\-]*", LINE),
        "Kernel parameters, sysctl(8).",
        default={},
    )
    modules: tuple[str, ...] = key(
        ListOf(Text("a kernel module's name", r"[A-Za-z0-9_\-]+", limit=64)),
        "Kernel modules to load.",
        default=(),
    )
    proxy: Proxy | None = key(Section(Proxy), "The way out.", default=None)
    registries: Mapping[str, Registry] = key(
        MapOf(
            r"[a-z0-9.\-]+(:[0-9]{1,5})?(/[a-z0-9._/\-]+)?", Section(Registry, _registry_problem)
        ),
        "Registries of container images, by the prefix of the images' names.",
        default={},
    )
    signature_policy: str | None = key(
        Later("cloudconfig.model.policy", "POLICY"),
        "Which images are taken: `/etc/containers/policy.json`; else all. Where it wants sigstore's"
        " signatures, they are looked for beside the images in their registry.",
        default=None,
    )
    extensions: tuple[Extension, ...] = key(
        ListOf(Section(Extension), identity="name"), "Signed system extensions.", default=()
    )
    etcd: "Etcd | None" = key(
        Later("cloudconfig.model.etcd", "ETCD"),
        "This host as a member of an etcd cluster.",
        default=None,
    )
    cluster: "Cluster | None" = key(
        Later("cloudconfig.model.cluster", "CLUSTER"),
        "The cluster in which this host runs pods and finds services.",
        default=None,
    )
    labels: Mapping[str, str] = key(
        MapOf(r"[A-Za-z0-9./_\-]{1,253}", LINE), "What this host is called by pods.", default={}
    )
    pods: tuple[Pod, ...] = key(
        ListOf(Section(Pod, _pod_problem, problems=_manifest_problems), identity="name"),
        "Pods of this host.",
        default=(),
    )


def _cautions(bedplate: Bedplate) -> Iterator[Fault]:
    if bedplate.etcd and _ETCD not in {each.name for each in bedplate.extensions}:
        yield Fault(
            f"etcd without an extension {_ETCD} in extensions: etcd runs only if an attached"
            " disk brings that"
        )


BEDPLATE = Section(Bedplate, cautions=_cautions)
