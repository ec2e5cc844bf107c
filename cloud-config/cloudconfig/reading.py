"""A document is read, checked and rendered for this machine; slow to import, so seldom done."""

from collections.abc import Iterator
from dataclasses import replace

from cloudconfig import observe
from cloudconfig.compiled import Compiled
from cloudconfig.document import placed, read_document
from cloudconfig.facts import Facts
from cloudconfig.memory import Memory
from cloudconfig.model.machine import ManageHosts
from cloudconfig.model.top import CloudConfig
from cloudconfig.model.users import User
from cloudconfig.places import Places
from cloudconfig.render.errors import RenderError
from cloudconfig.render.hosts import name_of
from cloudconfig.rendering import render_all
from cloudconfig.store import Input
from hostkit.document.schema import Fault, Reading
from hostkit.document.source import DocumentError


def compile_document(given: Input, memory: Memory, places: Places) -> Compiled:
    """What a document asks of this machine.

    Raises:
        DocumentError: all that is wrong with it, each with its place; or, if it is right, all
            that it asks for that this machine cannot be.
    """
    document = read_document(given.document, given.file, given.variables)
    network, reading = None, Reading(as_coreos=True)
    if given.network is not None:
        from cloudconfig.model.network import read_network_config  # noqa: PLC0415 - likewise slow

        beside = given.file.with_name("network-config")
        network = read_network_config(given.network, beside, reading)
    facts = replace(
        observe.facts(document.config, memory, places),
        hostname=given.hostname,
        public_keys=given.public_keys,
    )
    warnings = [str(warning) for warning in (*document.warnings, *reading.warnings)]
    at = (given.document, given.file, given.variables)
    warnings += map(str, placed(_cautions(document.config, facts), *at))
    try:
        desired = render_all(document.config, facts, network)
    except RenderError as error:
        raise DocumentError(placed(error.faults, *at)) from None
    return Compiled(
        desired=desired,
        accounts=tuple(user.name for user in document.config.users if isinstance(user, User)),
        proxies=_proxies(document.config),
        warnings=tuple(warnings),
    )


def _cautions(config: CloudConfig, facts: Facts) -> Iterator[Fault]:
    """What does nothing on this machine."""
    without = "no developer extension is there to let anybody in"
    if config.ssh_authorized_keys and not facts.developer:
        yield Fault(f"ssh_authorized_keys: {without}", ("ssh_authorized_keys",))
    for at, user in enumerate(config.users):
        if isinstance(user, User) and user.ssh_authorized_keys and not facts.developer:
            path = ("users", at, "ssh_authorized_keys")
            yield Fault(f"{user.name}: ssh_authorized_keys: {without}", path)
    if config.manage_etc_hosts not in (None, ManageHosts.FALSE) and not name_of(config, facts):
        name = "manage_etc_hosts"
        yield Fault(f"{name} does nothing: neither document nor source names this host", (name,))
    whole = config.fqdn or config.hostname or "." in facts.hostname
    if config.prefer_fqdn_over_hostname and not whole:
        name = "prefer_fqdn_over_hostname"
        yield Fault(f"{name} does nothing: neither document nor source has a fqdn", (name,))


def _proxies(config: CloudConfig) -> dict[str, str]:
    proxy = config.bedplate.proxy
    given = {"http": proxy.http, "https": proxy.https} if proxy else {}
    return {scheme: url for scheme, url in given.items() if url}
