"""A document is read, checked and rendered for this machine; slow to import, so seldom done."""

from dataclasses import replace

from cloudconfig import observe
from cloudconfig.compiled import Compiled
from cloudconfig.document import read_document
from cloudconfig.memory import Memory
from cloudconfig.model.top import CloudConfig
from cloudconfig.model.users import User
from cloudconfig.places import Places
from cloudconfig.rendering import render_all
from cloudconfig.store import Input
from hostkit.document.schema import Reading


def compile_document(given: Input, memory: Memory, places: Places) -> Compiled:
    """What a document asks of this machine.

    Raises:
        DocumentError: all that is wrong with it, each with its place.
        RenderError: it is right, but asks for what this machine cannot be.
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
    if document.config.ssh_authorized_keys and not facts.developer:
        warnings.append("ssh_authorized_keys: no developer extension is there to let anybody in")
    return Compiled(
        desired=render_all(document.config, facts, network),
        accounts=tuple(user.name for user in document.config.users if isinstance(user, User)),
        proxies=_proxies(document.config),
        warnings=tuple(warnings),
    )


def _proxies(config: CloudConfig) -> dict[str, str]:
    proxy = config.bedplate.proxy
    given = {"http": proxy.http, "https": proxy.https} if proxy else {}
    return {scheme: url for scheme, url in given.items() if url}
