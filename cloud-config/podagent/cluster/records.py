"""The keys below /bedplate/ and what is in them: JSON, but for the manifests.

    hosts/<host>          HostRecord     under the host's lease
    slots/<name>/<n>      SlotRecord     under the lease of the host that holds it
    status/<host>/<pod>   Report         under the host's lease
    rollouts/<name>       RolloutRecord  no lease
    pods/<name>           a manifest, YAML
    services/<name>       see podagent.services

What a newer release adds to a record is passed over.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar

from hostapi.port import PORT
from updater.errors import BedplateError

ROOT = "/bedplate/"


class RecordError(BedplateError):
    """A key in etcd does not hold what it should."""


def manifest_key(name: str) -> str:
    """Where a workload's manifest is."""
    return f"{ROOT}pods/{name}"


def host_key(host: str) -> str:
    """Where a host's record is."""
    return f"{ROOT}hosts/{host}"


def slot_key(name: str, number: int) -> str:
    """Where the holder of a workload's slot is."""
    return f"{ROOT}slots/{name}/{number}"


def report_key(host: str, pod: str) -> str:
    """Where a host reports on a pod, by its instance's id."""
    return f"{ROOT}status/{host}/{pod}"


def rollout_key(name: str) -> str:
    """Where changes of a workload's replicas are agreed."""
    return f"{ROOT}rollouts/{name}"


def instance_id(name: str, slot: int | None) -> str:
    """What podman calls the pod: "web", or "web-2" for slot 2."""
    return name if slot is None else f"{name}-{slot}"


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A host, as it tells of itself; it lives as long as its key is there.

    `accepts` is whether it takes further replicas, else `why` says why not. `refused` is what is
    wrong with manifests, by their keys in etcd or their files' names. `api_port` is where its API
    listens, if it has one.
    """

    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    accepts: bool
    why: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    api_port: int = PORT


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """Which host runs a slot, and in which version.

    `digest` is the manifest's that the host runs, or takes its replica down for. `leaving`: the
    host ends its replica and gives the slot back. `since` is when the host wrote this, by its own
    `boottime`.
    """

    host: str
    digest: str
    leaving: bool = False
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """A pod, as its host sees it.

    `ready` is whether it is to be sent traffic, `available` whether it has been ready for so long
    that a rolling change counts on it, `stuck` why it is not expected to become ready any more.
    `images` are digests by container.
    """

    phase: str
    ready: bool
    digest: str
    slot: int | None = None
    available: bool = False
    stuck: str = ""
    addresses: tuple[str, ...] = ()
    restarts: int = 0
    images: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """What the last change of a replica was for; `halted` is why no further one is to follow."""

    digest: str
    halted: str = ""


Record = HostRecord | SlotRecord | Report | RolloutRecord
R = TypeVar("R", HostRecord, SlotRecord, Report, RolloutRecord)


def encode(record: Record) -> bytes:
    """A record as it is in etcd; equal ones are equal in bytes."""
    return json.dumps(dataclasses.asdict(record), sort_keys=True, separators=(",", ":")).encode()


def decode(kind: type[R], value: bytes) -> R:
    """The reverse of `encode`.

    Raises:
        RecordError: it is not one.
    """
    try:
        document = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise RecordError("expected an object of JSON")
    given: dict[str, Any] = {}
    for each in dataclasses.fields(kind):
        if each.name in document:
            given[each.name] = _value(each.name, each.type, document[each.name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise RecordError(f"no {each.name}")
    return kind(**given)


def _value(name: str, kind: object, found: object) -> object:
    """A field's value from JSON, if it is of the field's type."""
    wanted, convert = _SHAPES[kind]
    if not wanted(found):
        raise RecordError(f"{name}: not of its type")
    return convert(found)


def _texts(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _text_by_text(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(each, str) for each in found.values())


def _integer(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)


# By a field's type: what it is in JSON, and how that becomes the field's value.
_SHAPES: dict[object, tuple[Callable[[object], bool], Callable[[Any], object]]] = {
    str: (lambda found: isinstance(found, str), str),
    bool: (lambda found: isinstance(found, bool), bool),
    int: (_integer, int),
    int | None: (lambda found: found is None or _integer(found), lambda found: found),
    float: (lambda found: isinstance(found, float) or _integer(found), float),
    tuple[str, ...]: (_texts, tuple),
    Mapping[str, str]: (_text_by_text, dict),
}
