# ruff: noqa: D102, RUF009 (methods of Kind are documented there; `key` declares a field)
"""Time, trust, power: cloud-init's sections about the machine as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from cloudconfig.certificates import certificates
from cloudconfig.kinds import BOOLEAN, LINE, URL, Either, Integer
from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import Fault, Kind, ListOf, Reading, Section, key
from hostkit.document.source import Node

SERVER = Text("a time server's name or address", r"[A-Za-z0-9.:\-]+", limit=253)


class ManageHosts(Enum):
    """Who `/etc/hosts` says that we are."""

    TRUE = "true"
    FALSE = "false"
    LOCALHOST = "localhost"


class PowerMode(Enum):
    """What is done once the configuration is applied."""

    REBOOT = "reboot"
    POWEROFF = "poweroff"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class Ntp:
    """Time servers, for systemd-timesyncd."""

    enabled: bool = key(BOOLEAN, "Keep the clock by the network.", default=True)
    servers: tuple[str, ...] = key(ListOf(SERVER), "Servers.", default=())
    pools: tuple[str, ...] = key(ListOf(SERVER), "Pools, asked like servers.", default=())


class Certificates(Kind):
    """Text with certificates in PEM; what else stands there is never shown, it may be a key."""

    @property
    def label(self) -> str:
        return "certificates in PEM"

    @property
    def secret(self) -> bool:
        return True

    def read(self, node: Node, reading: Reading) -> str:
        text = self.text(node, reading)
        try:
            certificates(text)
        except ValueError as error:
            raise reading.fail(node.place, f"{error}; expected {self.label}") from None
        return text

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": "-----BEGIN CERTIFICATE-----"}


@dataclass(frozen=True, slots=True)
class CaCerts:
    """Certificate authorities that the host believes."""

    trusted: tuple[str, ...] = key(
        ListOf(Certificates()),
        "Certificates in PEM.",
        default=(),
    )
    remove_defaults: bool = key(BOOLEAN, "Believe in nobody else.", default=False)


def _ca_problem(wanted: CaCerts) -> str | None:
    if wanted.remove_defaults and not wanted.trusted:
        return "remove-defaults without trusted: the host would believe nobody, not even updates"
    return None


@dataclass(frozen=True, slots=True)
class PowerState:
    """Reboot or power off once the configuration is applied, on an instance's first boot."""

    mode: PowerMode = key(Choice(PowerMode), "What to do; `halt` powers off, with a warning.")
    message: str = key(LINE, "Said in the journal before.", default="")
    delay: str = key(
        Text("`now`, or minutes such as `+5`", r"now|\+?[0-9]{1,5}"), "When.", default="now"
    )
    condition: bool = key(BOOLEAN, "Whether at all.", default=True)


@dataclass(frozen=True, slots=True)
class PhoneHome:
    """Say to a server that this instance runs, once, on its first boot."""

    url: str = key(URL, "Where to; `$INSTANCE_ID` in it is replaced.")
    post: tuple[str, ...] | str = key(
        Either(
            scalar=Text("all", "all"),
            sequence=ListOf(
                Text("instance_id, hostname or fqdn", "instance_id|hostname|fqdn|pub_key_[a-z0-9]+")
            ),
        ),
        "What is told: `all`, or some of instance_id, hostname, fqdn.",
        default="all",
    )
    tries: int = key(Integer(1, 100), "How often it is tried.", default=10)


NTP = Section(
    Ntp,
    refused={"config": "timesyncd has servers and pools only"},
    ignored={"ntp_client": "the host's client is systemd-timesyncd"},
)
CA_CERTS = Section(CaCerts, _ca_problem)


def _power_cautions(state: PowerState) -> Iterator[Fault]:
    if state.mode is PowerMode.HALT:
        yield Fault("halt: the machine is powered off; halted it would only wait", ("mode",))


POWER_STATE = Section(
    PowerState, ignored={"timeout": "there are no scripts to wait for"}, cautions=_power_cautions
)
PHONE_HOME = Section(PhoneHome)
