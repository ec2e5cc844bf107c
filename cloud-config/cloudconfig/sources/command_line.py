"""A document from a web server: `cloud-config-url=` on the kernel's command line."""

from pathlib import Path

from cloudconfig.sources import base, web
from cloudconfig.sources.base import DOCUMENT_LIMIT, Machine, Offer, Source, SourceError

_NAME = "cloud-config-url"


def _present(machine: Machine) -> str:
    return f"the kernel's command line says {_NAME}=" if machine.argument(_NAME) else ""


def _look(machine: Machine) -> Offer | None:
    url = web.checked(machine.argument(_NAME))
    data = web.Session().get(url, DOCUMENT_LIMIT)
    if data is None:
        raise SourceError(f"{web.shown(url)}: there is no such file (HTTP status 404)")
    return Offer(_NAME, Path(_NAME), base.document(data))


SOURCE = Source(_NAME, _present, _look, needs_network=True)
