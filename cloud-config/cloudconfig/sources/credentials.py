"""A system credential: from SMBIOS strings, from QEMU, or from the boot loader.

systemd's PID 1 puts them into the system's folder (systemd.system-credentials(7)), which a
sandboxed unit cannot see: it has them imported into a folder of its own (systemd.exec(5)).
"""

import os
from pathlib import Path

from cloudconfig.sources import base
from cloudconfig.sources.base import DOCUMENT_LIMIT, Machine, Offer, Source

_NAME = "credential"
_SYSTEM = "/run/credentials/@system"
_NAMES = ("bedplate.cloud-config", "cloud-config")


def _credential(machine: Machine) -> str:
    """The credential's path relative to the root, or ""."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", _SYSTEM).lstrip("/")
    paths = (f"{folder}/{name}" for name in _NAMES)
    return next((path for path in paths if (machine.root / path).is_file()), "")


def _present(machine: Machine) -> str:
    path = _credential(machine)
    return f"there is a system credential {Path(path).name}" if path else ""


def _look(machine: Machine) -> Offer | None:
    path = _credential(machine)
    data = machine.read(path, DOCUMENT_LIMIT)
    return Offer(_NAME, Path(_NAME) / Path(path).name, base.document(data))


SOURCE = Source(_NAME, _present, _look)
