"""A configuration and a machine's facts -> all that the host should be. Pure."""

from typing import TYPE_CHECKING

from cloudconfig.desired import Desired
from cloudconfig.facts import Facts
from cloudconfig.model.top import CloudConfig
from cloudconfig.render import (
    agents,
    api,
    etcd,
    extensions,
    files,
    hosts,
    kernel,
    lock,
    proxy,
    registry,
    storage,
    time,
    trust,
    units,
    update,
    users,
)

if TYPE_CHECKING:
    from cloudconfig.model.network import Network

# Accounts before the files that are theirs; a document's own files and units have the last word.
_FAMILIES = (
    users,
    hosts,
    time,
    trust,
    kernel,
    proxy,
    registry,
    storage,
    update,
    lock,
    agents,
    api,
    etcd,
    extensions,
    files,
    units,
)


def render_all(
    config: CloudConfig, facts: Facts, source_network: "Network | None" = None
) -> Desired:
    """What a host of these facts should be; the document's network goes before its source's.

    Raises:
        RenderError: the document asks for what this machine cannot be.
    """
    desired = Desired(
        power=config.power_state,
        message=config.final_message,
        phone_home=config.phone_home,
    )
    described = config.bedplate.network or source_network
    if described:
        from cloudconfig.render import network  # noqa: PLC0415 - slow to import, and seldom used

        desired += network.render(described)
    for family in _FAMILIES:
        desired += family.render(config, facts)
    return desired
