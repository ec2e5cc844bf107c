"""A file that QEMU gives to its guest: `-fw_cfg name=opt/org.bedplate/config,file=...`."""

from pathlib import Path

from cloudconfig.sources import base
from cloudconfig.sources.base import DOCUMENT_LIMIT, Machine, Offer, Source

_NAME = "fw_cfg"
# QEMU's docs/specs/fw_cfg, "Externally Provided Items": opt/, then a reversed domain.
_ITEM = "opt/org.bedplate/config"
_FOLDER = f"sys/firmware/qemu_fw_cfg/by_name/{_ITEM}"


def _present(machine: Machine) -> str:
    return f"QEMU gives {_ITEM}" if (machine.root / _FOLDER).is_dir() else ""


def _look(machine: Machine) -> Offer | None:
    data = machine.read(f"{_FOLDER}/raw", DOCUMENT_LIMIT)
    return Offer(_NAME, Path(_NAME) / _ITEM, base.document(data))


SOURCE = Source(_NAME, _present, _look)
