"""What short-lived commands know of the agent: its status document and its unit's state."""

import json
from typing import Any

from podagent.places import Places
from updater import programs
from updater.errors import BedplateError

AGENT = "bedplate-pods.service"
# ActiveStates of a unit that does not run and will not by itself (systemctl(1)).
DOWN = ("inactive", "failed")
_SCHEMA = 1
_LONGEST_STATUS = 64 << 20  # bytes


class StatusError(BedplateError):
    """There is no status to read."""


def status(places: Places) -> dict[str, Any]:
    """The agent's status document, of schema 1.

    Raises:
        StatusError: there is none yet, or it is something else.
        OSError: it cannot be read.
    """
    path = places.status
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(_LONGEST_STATUS))
    except FileNotFoundError:
        raise StatusError(
            f"{AGENT} has not reported since the boot; it starts where pods are declared "
            "(bedplate.pods) or the host is one of a cluster (bedplate.cluster)"
        ) from None
    except ValueError as error:
        raise StatusError(f"{path} is broken: {error}; restart {AGENT}") from error
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise StatusError(f"{path} is no status of schema {_SCHEMA}; restart {AGENT}")
    return document


def agent_state() -> str:
    """The ActiveState of the agent's unit; "unknown" where the service manager does not say."""
    try:
        return programs.show_unit(AGENT, ("ActiveState",)).get("ActiveState", "unknown")
    except programs.ProgramError:
        return "unknown"
