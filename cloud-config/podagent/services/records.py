"""The keys of stable addresses below /bedplate/, and what is in them.

    services/<workload>            {"address": "10.96.3.4"}   no lease: it outlives every host
    service-addresses/<address>    the workload's name        likewise

Both are written in one transaction that wants the second to be absent: so no two services share an
address, from whatever range a host chooses.
"""

import json
from dataclasses import dataclass
from ipaddress import IPv4Address

from podagent.cluster.records import ROOT

SERVICES = f"{ROOT}services/"


@dataclass(frozen=True, slots=True)
class Held:
    """A workload's address, by a key as of `revision`; None: the key holds something else."""

    name: str
    address: IPv4Address | None
    revision: int


def service_key(name: str) -> str:
    """Where a workload's address is."""
    return f"{SERVICES}{name}"


def address_key(address: IPv4Address) -> str:
    """Where the workload is that has an address."""
    return f"{ROOT}service-addresses/{address}"


def encode_address(address: IPv4Address) -> bytes:
    """The value of a service's key."""
    return json.dumps({"address": str(address)}).encode()


def read_held(name: str, value: bytes, revision: int) -> Held:
    """A service's key, as a list or a watch tells it."""
    try:
        document = json.loads(value)
        found = IPv4Address(document["address"]) if isinstance(document["address"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    return Held(name, found, revision)
