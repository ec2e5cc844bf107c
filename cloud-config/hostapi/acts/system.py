"""The acts of the system: the update, a reboot, the way back, and the end of all state."""

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial

from hostapi.acts.types import Act, Request, Tell
from updater import host, override, programs, report, wipe
from updater.cli import with_config
from updater.context import Context
from updater.errors import InputError
from updater.host import Paths
from updater.status import Override, Progress

DAEMON = "bedplate-updated.service"
LEAVING = "bedplate-leave.service"
_STARTING_SECONDS = 60.0
_LOOK_SECONDS = 0.5


def _context(paths: Paths) -> Context:
    return Context(paths, host.observe(paths))


def _override(found: Override | None) -> Mapping[str, object] | None:
    return None if found is None else asdict(found)


# --- The update -----------------------------------------------------------------------------------


def update(paths: Paths, _request: Request, _tell: Tell) -> Mapping[str, object]:
    """The status of the update, its history, and what is overridden."""
    context = with_config(_context(paths))
    return {
        "status": report.document(report.current(context)),
        "history": report.history(context),
        "override": _override(override.read(paths)),
    }


def check(paths: Paths, _request: Request, _tell: Tell) -> Mapping[str, object]:
    """Look for a release, and change nothing."""
    # TUF, requests and cryptography are slow to import, and a status needs none of them.
    from updater import commands  # noqa: PLC0415

    return commands.check(_context(paths)).document


def stage(paths: Paths, _request: Request, tell: Tell) -> Mapping[str, object]:
    """Stage the release that is due; what is staged starts when the strategy says so."""
    from updater import commands  # noqa: PLC0415 - as above

    def told(text: str, progress: Progress | None) -> None:
        if text:
            tell.progress({"text": text, **(asdict(progress) if progress else {})})

    return commands.apply(_context(paths), told, then=lambda _worker, _found: None).document


def rollback(paths: Paths, _request: Request, _tell: Tell) -> Mapping[str, object]:
    """Reject the running release, and reboot into the other one."""
    from updater import commands  # noqa: PLC0415 - as above

    return {"done": commands.rollback(_context(paths))}


def trust(paths: Paths, _request: Request, _tell: Tell) -> Mapping[str, object]:
    """The roles of the TUF metadata that this host trusts."""
    from updater import trusted  # noqa: PLC0415 - as above

    found = trusted.roles(paths.state / "tuf", paths.first_root)
    return {"roles": [{**asdict(each), "keys": list(each.keys)} for each in found]}


# --- Another channel or strategy ------------------------------------------------------------------


def begin_override(paths: Paths, request: Request, _tell: Tell) -> Mapping[str, object]:
    """Another channel, another strategy, or both, until the next boot."""
    channel, strategy = request.arguments.get("channel"), request.arguments.get("strategy")
    asked = Override(
        None if channel is None else str(channel), None if strategy is None else str(strategy)
    )
    override.begin(paths, asked)
    _tell_daemon()
    return {"done": report.override_text(asked)}


def end_override(paths: Paths, _request: Request, _tell: Tell) -> Mapping[str, object]:
    """The configuration's channel and strategy, at once."""
    if not override.end(paths):
        return {"done": "nothing was overridden: the configuration holds"}
    _tell_daemon()
    return {"done": "the configuration's channel and strategy hold again"}


def _tell_daemon() -> None:
    """Have the update daemon read its configuration anew, which one that starts does by itself.

    Until it is ready a signal would end it, and it may have read the old one: it is waited for.
    """
    ends = time.monotonic() + _STARTING_SECONDS
    while _daemon_state() == "activating" and time.monotonic() < ends:
        time.sleep(_LOOK_SECONDS)
    if _daemon_state() == "active":
        with suppress(programs.ProgramError):
            # It ended in between.
            programs.signal_unit(DAEMON, "SIGHUP")


def _daemon_state() -> str:
    return programs.show_unit(DAEMON, ("ActiveState",)).get("ActiveState", "")


# --- Reboots --------------------------------------------------------------------------------------


def reboot(_paths: Paths, _request: Request, _tell: Tell) -> Mapping[str, object]:
    """Drain the pods, and reboot."""
    programs.reboot()
    return {"done": "draining the pods, then rebooting"}


def empty(paths: Paths, request: Request, _tell: Tell) -> Mapping[str, object]:
    """Have the next boot empty /var, and go there in order; see docs/adr/0054."""
    mine, asked = socket.gethostname(), request.arguments["hostname"]
    if asked != mine:
        raise InputError(f"this host is {mine}, not {asked}: nothing was done")
    wipe.ask(_context(paths))
    programs.start_unit(LEAVING)
    return {
        "done": "draining the pods and giving back what the cluster lent, then rebooting; "
        "/var begins anew at the next boot"
    }


def acts(paths: Paths) -> Mapping[str, Act]:
    """The acts of a host by their names; tests give paths of their own."""
    table = {
        "update": update,
        "check": check,
        "stage": stage,
        "rollback": rollback,
        "trust": trust,
        "override": begin_override,
        "override-end": end_override,
        "reboot": reboot,
        "wipe": empty,
    }
    return {name: partial(act, paths) for name, act in table.items()}


ACTS = acts(Paths())
