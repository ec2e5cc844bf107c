"""`bedplate.extensions`: signed system extensions, which systemd-sysext lays over the root."""

from cloudconfig.desired import Affects, Desired, Fetched, Reaction
from cloudconfig.facts import Facts
from cloudconfig.model.top import CloudConfig
from cloudconfig.places import EXTENSIONS, RAW

_MERGE = Affects("systemd-sysext.service", Reaction.START)
_UNITS = Affects("bedplate-extensions.target", Reaction.START)


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """The images, each under its extension's own name (systemd-sysext(8))."""
    return Desired(
        items=tuple(
            Fetched(
                EXTENSIONS / f"{each.name}{RAW}", each.url, each.sha256, affects=(_MERGE, _UNITS)
            )
            for each in config.bedplate.extensions
        )
    )
