# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""`coreos`: the keys of CoreOS's own documents."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from cloudconfig.install import links
from cloudconfig.kinds import (
    BASE_URL,
    BOOLEAN,
    ENDPOINTS,
    FILE,
    LINE,
    ORIGINS,
    SECRET,
    SECRET_LINE,
    UNIT,
    Integer,
    between,
)
from cloudconfig.verbs import UnitCommand
from hostkit.document.kinds import Choice, Parsed, Text
from hostkit.document.schema import Fault, ListOf, Section, key
from updater.version import CHANNEL_PATTERN


class RebootStrategy(Enum):
    """How a host takes the release that it has staged; the last is a lock where there is etcd."""

    ETCD_LOCK = "etcd-lock"
    REBOOT = "reboot"
    OFF = "off"
    BEST_EFFORT = "best-effort"


@dataclass(frozen=True, slots=True)
class DropIn:
    """A piece of configuration for a unit."""

    name: str = key(
        Text("a file's name that ends in .conf", r"[A-Za-z0-9_.\-]+\.conf"), "Its name."
    )
    content: str = key(SECRET, "What is in it.")


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit: written, changed, started."""

    name: str = key(UNIT, "Its name.")
    content: str | None = key(SECRET, "The unit; else one of the image is meant.", default=None)
    drop_ins: tuple[DropIn, ...] = key(
        ListOf(Section(DropIn), identity="name"), "Pieces laid over the unit.", default=()
    )
    enable: bool = key(BOOLEAN, "Start it at boot, by its `[Install]` section.", default=False)
    mask: bool = key(BOOLEAN, "Keep it from ever starting.", default=False)
    command: UnitCommand | None = key(
        Choice(UnitCommand), "Do this once it is written.", default=None
    )


def _unit_problem(unit: Unit) -> str | None:
    if unit.mask and (unit.content is not None or unit.enable):
        return f"{unit.name}: mask beside content or enable; a masked unit never starts"
    return None


def _enable_problems(unit: Unit) -> Iterator[Fault]:
    """A unit of the image is looked at on the host, which has it."""
    if unit.enable and unit.content is not None:
        try:
            links(unit.name, whole_text(unit))
        except ValueError as error:
            yield Fault(f"{unit.name}: {error}", ("enable",))


def whole_text(unit: Unit, of_image: str = "") -> str:
    """A unit's text with its drop-ins; without a content it is the image's."""
    content = of_image if unit.content is None else unit.content
    return "\n".join([content, *(piece.content for piece in unit.drop_ins)])


UNITS = ListOf(
    Section(
        Unit,
        _unit_problem,
        ignored={"runtime": "no configuration outlives a boot, and each boot applies it anew"},
        problems=_enable_problems,
    ),
    identity="name",
)


@dataclass(frozen=True, slots=True)
class Update:
    """CoreOS's words for `bedplate.update`."""

    reboot_strategy: RebootStrategy | None = key(
        Choice(RebootStrategy), "When a staged release takes over.", default=None
    )
    group: str | None = key(
        Text("a channel such as stable", CHANNEL_PATTERN), "The channel.", default=None
    )
    server: str | None = key(BASE_URL, "Where releases come from.", default=None)


@dataclass(frozen=True, slots=True)
class Flannel:
    """How the overlay agrees with others; see flannel's own options of these names."""

    etcd_endpoints: str | None = key(ENDPOINTS, "URLs of etcd, with commas.", default=None)
    etcd_cafile: PurePosixPath | None = key(
        Parsed("a path", PurePosixPath), "The CA of etcd.", default=None
    )
    etcd_certfile: PurePosixPath | None = key(
        Parsed("a path", PurePosixPath), "Our certificate.", default=None
    )
    etcd_keyfile: PurePosixPath | None = key(
        Parsed("a path", PurePosixPath), "Its key.", default=None
    )
    etcd_prefix: str | None = key(LINE, "Where in etcd.", default=None)
    etcd_username: str | None = key(LINE, "Who we are.", default=None)
    etcd_password: str | None = key(SECRET_LINE, "And our word for it.", default=None)
    ip_masq: bool | None = key(BOOLEAN, "Masquerade what leaves the network.", default=None)
    subnet_file: PurePosixPath | None = key(
        Parsed("a path", PurePosixPath), "Where the lease is written.", default=None
    )
    interface: str | None = key(LINE, "The outer interface, or its address.", default=None)
    interface_regex: str | None = key(
        LINE, "Where `interface` is not given: fits its name or address.", default=None
    )
    public_ip: str | None = key(LINE, "The address that others reach us by.", default=None)
    public_ipv6: str | None = key(LINE, "And its like in IPv6.", default=None)
    subnet_lease_renew_margin: int | None = key(
        Integer(1, 1439),
        "Stop traffic when only so many minutes of the lease are left; an hour.",
        default=None,
    )
    subnet_ttl: float | None = key(
        between(5, 604800), "How long a lease lives after its last renewal; a day.", default=None
    )
    network_config: str | None = key(
        Text("text", limit=1 << 16),
        "The network's configuration, in flannel's JSON, for an etcd that has none yet.",
        default=None,
    )
    healthz_ip: str | None = key(
        LINE, "Where `/healthz` is served; the loopback address.", default=None
    )
    healthz_port: int | None = key(
        Integer(0, 65535), "The port of `/healthz`; without one there is none.", default=None
    )


def _flannel_problem(flannel: Flannel) -> str | None:
    if flannel.network_config is None:
        return None
    # Seldom there, and most hosts have no overlay.
    from overlay.network import NetworkConfigError, parse  # noqa: PLC0415

    try:
        parse(flannel.network_config.encode(), "network_config")
    except NetworkConfigError as error:
        return str(error)
    return None


_OF_ETCD = ("etcd_cafile", "etcd_certfile", "etcd_keyfile", "etcd_username", "etcd_password")
_TOGETHER = (
    ("window_start", "window_length"),
    ("etcd_certfile", "etcd_keyfile"),
    ("etcd_username", "etcd_password"),
)


@dataclass(frozen=True, slots=True)
class Locksmith:
    """The reboot lock: only so many hosts of a group are down for an update at once."""

    endpoint: str | None = key(
        ORIGINS,
        "URLs of etcd, with commas. Without them this key and the next five are as in"
        " `bedplate.cluster`, else as in `coreos.flannel`, else it is a `bedplate.etcd` of the"
        " host's own.",
        default=None,
    )
    etcd_cafile: str | None = key(FILE, "The CA of etcd.", default=None)
    etcd_certfile: str | None = key(FILE, "Our certificate.", default=None)
    etcd_keyfile: str | None = key(FILE, "Its key.", default=None)
    etcd_username: str | None = key(LINE, "Who we are.", default=None)
    etcd_password: str | None = key(SECRET_LINE, "And our word for it.", default=None)
    group: str | None = key(
        Text("a group's name", r"(?!\.{1,2}$)[^\x00-\x1f\x7f]+", limit=128),
        "The group of hosts that share the lock; else that of all who name none.",
        default=None,
    )
    window_start: str | None = key(
        Text(
            "`HH:MM` or `Day HH:MM`",
            r"((Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]* )?([01]?[0-9]|2[0-3]):[0-5][0-9]",
        ),
        "From when a host may reboot, UTC.",
        default=None,
    )
    window_length: float | None = key(between(60, 86400), "And for how long.", default=None)


def _locksmith_problem(locksmith: Locksmith) -> str | None:
    for one, other in _TOGETHER:
        if (getattr(locksmith, one) is None) != (getattr(locksmith, other) is None):
            return f"{_dashed(one)} and {_dashed(other)} belong together"
    alone = next((name for name in _OF_ETCD if getattr(locksmith, name) is not None), None)
    if alone and locksmith.endpoint is None:
        return f"{alone} without endpoint; without that all of etcd's are the cluster's"
    return None


def _dashed(name: str) -> str:
    return name.replace("window_", "window-")


@dataclass(frozen=True, slots=True)
class Coreos:
    """CoreOS's own section."""

    units: tuple[Unit, ...] = key(UNITS, "Systemd units.", default=())
    update: Update | None = key(Section(Update), "Updates.", default=None)
    flannel: Flannel | None = key(
        Section(Flannel, _flannel_problem), "The overlay network.", default=None
    )
    locksmith: Locksmith | None = key(
        Section(Locksmith, _locksmith_problem), "The reboot lock.", default=None
    )


_DEAD = "the daemon is no more"
COREOS = Section(
    Coreos,
    refused={
        "etcd": f"etcd 0.4: {_DEAD}; bedplate.etcd makes this host a member of an etcd 3 cluster",
        "etcd2": "bedplate.etcd makes this host a member of an etcd 3 cluster, in the same words",
        "fleet": f"{_DEAD}; declare pods (bedplate.pods)",
    },
    ignored={"oem": "a Bedplate image is one and the same on every machine"},
)
