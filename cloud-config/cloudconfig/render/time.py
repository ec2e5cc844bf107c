"""`timezone` and `ntp`."""

from pathlib import PurePosixPath

from cloudconfig.desired import Affects, Command, Desired, File, Link
from cloudconfig.facts import Facts
from cloudconfig.model.machine import Ntp
from cloudconfig.model.top import CloudConfig
from cloudconfig.render.errors import RenderError
from cloudconfig.verbs import UnitCommand
from hostkit.document.schema import Fault, nearest

_UNIT = "systemd-timesyncd.service"
_SERVERS = PurePosixPath("/etc/systemd/timesyncd.conf.d/50-bedplate.conf")


def render(config: CloudConfig, facts: Facts) -> Desired:
    """/etc/localtime, and what systemd-timesyncd asks (localtime(5), timesyncd.conf(5)).

    Raises:
        RenderError: the image has no such time zone.
    """
    desired = Desired()
    if config.timezone:
        desired += Desired(items=(_zone(config.timezone, facts),))
    if config.ntp:
        desired += _ntp(config.ntp)
    return desired


def _zone(name: str, facts: Facts) -> Link:
    if facts.time_zones is not None and name not in facts.time_zones:
        hint = nearest(name, sorted(facts.time_zones))
        message = f"timezone: the image has no time zone '{name}'{hint}"
        raise RenderError(Fault(message, ("timezone",)))
    return Link(PurePosixPath("/etc/localtime"), f"../usr/share/zoneinfo/{name}")


def _ntp(ntp: Ntp) -> Desired:
    if not ntp.enabled:
        masked = Link(PurePosixPath(f"/etc/systemd/system/{_UNIT}"), "/dev/null")
        return Desired(items=(masked,), commands=(Command(_UNIT, UnitCommand.STOP),))
    servers = dict.fromkeys((*ntp.servers, *ntp.pools))
    if not servers:
        # Those that DHCP names are asked.
        return Desired()
    content = f"[Time]\nNTP={' '.join(servers)}\n".encode()
    return Desired(items=(File(_SERVERS, content, affects=(Affects(_UNIT),)),))
