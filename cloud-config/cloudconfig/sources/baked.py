"""A document that is part of the image, for when nothing else has one."""

from pathlib import Path

from cloudconfig.sources import base
from cloudconfig.sources.base import DOCUMENT_LIMIT, Machine, Offer, Source

_NAME = "image"
_FILE = "usr/share/bedplate/cloud-config.yaml"


def _present(machine: Machine) -> str:
    return f"the image has /{_FILE}" if (machine.root / _FILE).is_file() else ""


def _look(machine: Machine) -> Offer | None:
    data = machine.read(_FILE, DOCUMENT_LIMIT)
    return Offer(_NAME, Path("/") / _FILE, base.document(data))


SOURCE = Source(_NAME, _present, _look)
