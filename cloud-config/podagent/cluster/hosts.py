"""What a host tells of itself: its labels, its addresses, and whether it takes replicas.

Labels come from the cloud-config (`bedplate.labels`) and from facts, which cannot be overridden:

    kubernetes.io/hostname, kubernetes.io/arch, kubernetes.io/os   as Kubernetes has them
    bedplate.internal/version   of the release that runs
    bedplate.internal/machine   one for each machine, whatever it is called
"""

import hashlib
import hmac
import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

from hostapi.port import PORT
from podagent.cluster.records import HostRecord
from updater.errors import BedplateError, InputError
from updater.host import parse_os_release

MACHINE = "bedplate.internal/machine"
_MAXIMUM_LENGTH = 1024 * 1024
_LONGEST = 500  # characters of what is wrong with a manifest
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # Go's names, as Kubernetes uses them


def host_record(
    labels: Mapping[str, str],
    addresses: Iterable[str],
    obstacles: Iterable[str],
    refused: Mapping[str, str] | None = None,
    *,
    api_port: int = PORT,
) -> HostRecord:
    """This host's record.

    Args:
        labels: this host's.
        addresses: likewise.
        obstacles: why it takes no further replicas, such as a drain.
        refused: see `HostRecord`; what is long is cut, for every host hears of it.
        api_port: likewise.
    """
    why = "; ".join(obstacles)
    return HostRecord(
        dict(sorted(labels.items())),
        tuple(addresses),
        accepts=not why,
        why=why,
        refused={name: text[:_LONGEST] for name, text in sorted((refused or {}).items())},
        api_port=api_port,
    )


def host_labels(root: Path, hostname: str) -> dict[str, str]:
    """This host's labels.

    Raises:
        InputError: the cloud-config's are not as they should be.
        BedplateError: a file of the host cannot be read.
    """
    return {**_given(root / "etc/bedplate/labels.json"), **_facts(root, hostname)}


def _given(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        found = json.loads(_read(path))
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise InputError(f"{path}: expected an object of texts, as bedplate.labels is rendered")
    return found


def _facts(root: Path, hostname: str) -> dict[str, str]:
    machine = platform.machine()
    release = parse_os_release(_read(root / "usr/lib/os-release"))
    return {
        "kubernetes.io/hostname": hostname,
        "kubernetes.io/arch": _ARCHITECTURES.get(machine, machine),
        "kubernetes.io/os": "linux",
        "bedplate.internal/version": release.get("IMAGE_VERSION", ""),
        MACHINE: _machine(_read(root / "etc/machine-id").strip()),
    }


def _machine(machine_id: str) -> str:
    """A name of the machine's own that does not give its id away, as machine-id(5) asks."""
    key = machine_id.encode()
    return hmac.digest(key, b"bedplate pods", hashlib.sha256).hex()[:32]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAXIMUM_LENGTH).decode("utf-8", "replace")
    except OSError as error:
        raise BedplateError(f"cannot read {path}: {error.strerror}") from error
