"""A system credential: from SMBIOS strings, from QEMU, or from the boot loader.

systemd's PID 1 puts them where they are read here (systemd.system-credentials(7)).
"""

from pathlib import Path

from cloudconfig.sources import base
from cloudconfig.sources.base import DOCUMENT_LIMIT, Machine, Offer, Source

_NAME = "credential"
_FOLDER = "run/credentials/@system"
_NAMES = ("bedplate.cloud-config", "cloud-config")


def _credential(machine: Machine) -> str:
    folder = machine.root / _FOLDER
    return next((name for name in _NAMES if (folder / name).is_file()), "")


def _present(machine: Machine) -> str:
    name = _credential(machine)
    return f"there is a system credential {name}" if name else ""


def _look(machine: Machine) -> Offer | None:
    name = _credential(machine)
    data = machine.read(f"{_FOLDER}/{name}", DOCUMENT_LIMIT)
    return Offer(_NAME, Path(_NAME) / name, base.document(data))


SOURCE = Source(_NAME, _present, _look)
