# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""`coreos`: the keys of CoreOS's own documents."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from cloudconfig.install import links
from cloudconfig.kinds import BASE_URL, BOOLEAN, SECRET, UNIT
from cloudconfig.verbs import UnitCommand
from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import Fault, Later, ListOf, Section, key
from updater.version import CHANNEL_PATTERN

if TYPE_CHECKING:
    from cloudconfig.model.flannel import Flannel
    from cloudconfig.model.locksmith import Locksmith


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
class Coreos:
    """CoreOS's own section."""

    units: tuple[Unit, ...] = key(UNITS, "Systemd units.", default=())
    update: Update | None = key(Section(Update), "Updates.", default=None)
    flannel: "Flannel | None" = key(
        Later("cloudconfig.model.flannel", "FLANNEL"), "The overlay network.", default=None
    )
    locksmith: "Locksmith | None" = key(
        Later("cloudconfig.model.locksmith", "LOCKSMITH"), "The reboot lock.", default=None
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
