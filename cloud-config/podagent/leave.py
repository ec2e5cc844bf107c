"""Giving the cluster its lease back, by a host that is about to lose all that it knows.

The agent is stopped before, for it would ask for a new lease. With the lease go the host's record,
its slots and its reports. A replica that still runs must keep its slot: then the lease ends by
itself, some seconds after the host is gone.
"""

import json
from collections.abc import Callable

from hostkit.etcd import Access, Client, Limits
from podagent import reading
from podagent.cluster import settings
from podagent.drain import Stage
from podagent.places import Places
from updater import programs

_SMALL_FILE = 64 * 1024
_PATH = "bedplate-pods.path"


def leave(
    places: Places, seconds: float, revoke: Callable[[Access, Limits, int], None] | None = None
) -> str:
    """Stop the agent, and end its lease; what was done, in a line.

    Args:
        places: the host.
        seconds: how long etcd may take.
        revoke: for tests.

    Raises:
        BedplateError: etcd does not do it in that time, or the settings are wrong.
    """
    found = settings.load(places)
    if found is None:
        return "this host is in no cluster"
    drained = _drained(places)
    # Together, for the path would start the service again.
    programs.run(("systemctl", "stop", _PATH, reading.AGENT))
    lease = _lease(places)
    if not lease:
        return "this host has no lease"
    if not drained:
        return f"pods are here still: the lease {lease:x} ends by itself"
    share = seconds / len(found.access.endpoints)
    limits = Limits(connect_seconds=min(2.0, share / 2), call_seconds=share)
    (revoke or _revoke)(found.access, limits, lease)
    return f"the lease {lease:x} is given back"


def _drained(places: Places) -> bool:
    """Whether the agent said that no pod runs here any more."""
    try:
        return bool(reading.status(places)["draining"] == Stage.DONE)
    except (reading.StatusError, OSError, KeyError):
        return False


def _lease(places: Places) -> int:
    """The lease's number, as the agent keeps it for its next start; 0 without one."""
    try:
        with places.tenure.open("rb") as stream:
            return int(json.loads(stream.read(_SMALL_FILE))["lease"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _revoke(access: Access, limits: Limits, lease: int) -> None:
    client = Client(access, limits=limits)
    try:
        client.revoke(lease)
    finally:
        client.close()
