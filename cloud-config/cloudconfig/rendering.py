"""A configuration and a machine's facts -> all that the host should be. Pure."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cloudconfig.desired import Desired
from cloudconfig.facts import Facts
from cloudconfig.model.files import folders
from cloudconfig.model.top import CloudConfig
from cloudconfig.render import (
    agents,
    extensions,
    files,
    hosts,
    kernel,
    lock,
    proxy,
    time,
    trust,
    units,
    update,
    users,
)
from cloudconfig.render.errors import RenderError
from hostkit.document.schema import Fault

if TYPE_CHECKING:
    from cloudconfig.model.network import Network

Render = Callable[[CloudConfig, Facts], Desired]
# Accounts before the files that are theirs; a document's own files and units have the last word.
_FIRST = (users, hosts, time, trust, kernel, proxy)
_LAST = (update, lock, agents, extensions, files, units)


def render_all(
    config: CloudConfig, facts: Facts, source_network: "Network | None" = None
) -> Desired:
    """What a host of these facts should be; the document's network goes before its source's.

    Raises:
        RenderError: all in which the document asks for what this machine cannot be.
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
    faults: list[Fault] = []
    for render in _families(config):
        try:
            desired += render(config, facts)
        except RenderError as error:
            faults += error.faults
    faults += _clashes(config, desired)
    if faults:
        raise RenderError(*faults)
    return desired


def _families(config: CloudConfig) -> Iterator[Render]:
    """All that have something to say; those of sections that few have are imported for them."""
    yield from (family.render for family in _FIRST)
    ours = config.bedplate
    if ours.registries or ours.signature_policy:
        from cloudconfig.render import registry  # noqa: PLC0415

        yield registry.render
    if config.mounts or config.swap or config.disk_setup or config.fs_setup:
        from cloudconfig.render import storage  # noqa: PLC0415

        yield storage.render
    if ours.api:
        from cloudconfig.render import api  # noqa: PLC0415

        yield api.render
    if ours.etcd:
        from cloudconfig.render import etcd  # noqa: PLC0415

        yield etcd.render
    yield from (family.render for family in _LAST)


def _clashes(config: CloudConfig, desired: Desired) -> Iterator[Fault]:
    """Files of the document that are above or below what other keys write."""
    own = {file.path: at for at, file in enumerate(config.write_files)}
    others = {item.path for item in desired.items} - own.keys()
    below = folders(others) & own.keys()
    above = folders(own) & others
    below |= {path for path in own if above.intersection(path.parents)} if above else set()
    for path in sorted(below):
        message = f"write_files: {path}: other keys write a file above or below it"
        yield Fault(message, ("write_files", own[path], "path"))
