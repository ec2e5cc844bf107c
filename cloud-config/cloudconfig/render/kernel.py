"""`bedplate.sysctl` and `bedplate.modules`."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from cloudconfig.desired import Affects, Desired, File, Reaction
from cloudconfig.facts import Facts
from cloudconfig.model.top import CloudConfig

_MODULES = PurePosixPath("/etc/modules-load.d/50-bedplate.conf")
_PARAMETERS = PurePosixPath("/etc/sysctl.d/50-bedplate.conf")


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """Both files; modules come first, as parameters may be those of a module.

    See modules-load.d(5) and sysctl.d(5).
    """
    items = []
    parameters = Affects("systemd-sysctl.service", Reaction.START)
    if names := config.bedplate.modules:
        modules = Affects("systemd-modules-load.service", Reaction.START)
        affects = (modules, parameters) if config.bedplate.sysctl else (modules,)
        items.append(File(_MODULES, _lines(names), affects=affects))
    if settings := config.bedplate.sysctl:
        lines = (f"{name} = {value}" for name, value in settings.items())
        items.append(File(_PARAMETERS, _lines(lines), affects=(parameters,)))
    return Desired(items=tuple(items))


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
