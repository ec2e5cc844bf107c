"""Draining: all pods leave this host in order, before a reboot or on a person's word.

What was asked for is a file below /run: the agent finds it at each turn, its next start included,
and a reboot forgets it. Times are by `boottime`.
"""

import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from podagent.places import Places
from updater.files import write_atomic

# Parts of the time, from when it was asked for to the deadline.
_FORCED = 0.5
_STOPPING = 0.75
_LIMIT = 4096  # bytes of the file


class Stage(StrEnum):
    """How far a drain is; later ones come later."""

    LEAVING = "leaving"  # replicas leave as in a rollout: maxUnavailable is kept
    FORCED = "forced"  # replicas leave, whatever is down elsewhere
    STOPPING = "stopping"  # the pods that are left end with their grace, replicas as well
    DONE = "done"  # no pod of ours runs any more


@dataclass(frozen=True, slots=True)
class Request:
    """A drain: when it was asked for, and when whoever asked for it goes on without it."""

    asked: float
    until: float


def stage(request: Request | None, *, replicas: bool, pods: bool, now: float) -> Stage | None:
    """What is due; None without a request. Pure.

    The host's own pods stay until the replicas are gone, for those may need them. From three
    quarters of the time on they do not wait any longer, so that their grace fits into the rest.

    Args:
        request: what was asked for.
        replicas: whether replicas are here still, or slots are this host's.
        pods: whether any pod of ours runs still.
        now: seconds by `boottime`.
    """
    if request is None:
        return None
    if not replicas and not pods:
        return Stage.DONE
    time = request.until - request.asked
    if not replicas or now >= request.asked + _STOPPING * time:
        return Stage.STOPPING
    return Stage.FORCED if now >= request.asked + _FORCED * time else Stage.LEAVING


def requested(places: Places) -> Request | None:
    """The drain that was asked for; cheap, for it is called at each turn."""
    try:
        with _path(places).open("rb") as stream:
            document = json.loads(stream.read(_LIMIT))
        request = Request(float(document["asked"]), float(document["until"]))
    except (OSError, ValueError, KeyError, TypeError):
        # Only `ask` writes it, whole: there is none, or it is somebody's mistake.
        return None
    return request if math.isfinite(request.asked) and math.isfinite(request.until) else None


def ask(places: Places, request: Request) -> None:
    """Ask for a drain, in place of one that was asked for before.

    Raises:
        OSError: it cannot be written.
    """
    path = _path(places)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(asdict(request)).encode())


def cancel(places: Places) -> None:
    """Take the drain back, if one was asked for.

    Raises:
        OSError: it cannot be removed.
    """
    _path(places).unlink(missing_ok=True)


def _path(places: Places) -> Path:
    return places.runtime / "drain.json"
