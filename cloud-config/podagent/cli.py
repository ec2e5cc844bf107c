"""`bedplate-pods`: this host's pods. Results on stdout, what happens meanwhile on stderr."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hostkit.deadline import add_deadline
from hostkit.timing import boottime
from podagent import drain, reading
from podagent.drain import Stage
from podagent.page import lines
from podagent.places import Places
from updater.errors import run_main

_LOOK_SECONDS = 0.5
_CANCEL_SECONDS = 30.0
_DRAIN_SECONDS = 300.0
_HEALTH_SECONDS = 480.0
_LEAVE_SECONDS = 20.0
_WAITS = "how long to wait"


def _status(places: Places, arguments: argparse.Namespace) -> int:
    document = reading.status(places)
    if arguments.json:
        text = json.dumps(document, indent=2)
    else:
        text = "\n".join(lines(document, reading.agent_state()))
    sys.stdout.write(text + "\n")
    return 0


# --- Draining -------------------------------------------------------------------------------------


def _drain(places: Places, arguments: argparse.Namespace) -> int:
    if arguments.cancel:
        drain.cancel(places)
        # Until then, who asks for another drain would read how far this one came.
        return _follow(places, "", boottime() + _CANCEL_SECONDS)
    if reading.agent_state() in reading.DOWN:
        sys.stderr.write(f"{reading.AGENT} does not run: there is nothing to drain\n")
        return 0
    now = boottime()
    until = now + arguments.deadline
    drain.ask(places, drain.Request(now, until))
    return _follow(places, Stage.DONE, until)


def _follow(places: Places, wanted: str, until: float) -> int:
    """Wait until the status has this stage: 0 then, or where no agent works on it."""
    told = None
    while True:
        stage = _stage(places)
        if stage != told:
            sys.stderr.write(f"{stage or 'not draining'}\n")
            told = stage
        if stage == wanted or reading.agent_state() in reading.DOWN:
            return 0
        if boottime() >= until:
            sys.stderr.write(f"not {wanted or 'cancelled'} in time: `bedplate-pods status`\n")
            return 1
        time.sleep(_LOOK_SECONDS)


def _stage(places: Places) -> str:
    """The stage in the status; none while an agent that starts has not reported."""
    try:
        return str(reading.status(places)["draining"])
    except (reading.StatusError, OSError):
        return ""


# --- For units ------------------------------------------------------------------------------------


def _health(places: Places, arguments: argparse.Namespace) -> int:
    # The updater's state is of no use to the other commands.
    from podagent import before, health  # noqa: PLC0415

    if not health.is_on_trial(places):
        sys.stdout.write("no release is on trial\n")
        return 0
    ran = before.expected(places)

    def look() -> tuple[str, ...]:
        return health.missing(places, ran)

    if health.wait(look, arguments.deadline, clock=boottime, sleep=time.sleep):
        sys.stdout.write(f"pods that ran before the update and run again: {len(ran)}\n")
        return 0
    sys.stderr.write(f"not as before the update within {arguments.deadline:.0f} s\n")
    return 1


def _fence(places: Places, _arguments: argparse.Namespace) -> int:
    from podagent import fence  # noqa: PLC0415 - it brings what the agent knows of leases

    return fence.fence(places)


def _leave(places: Places, arguments: argparse.Namespace) -> int:
    from podagent.leave import leave  # noqa: PLC0415 - it brings etcd's client

    sys.stdout.write(leave(places, arguments.deadline) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bedplate-pods", description="The pods of this host.")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="where the host's files are (for tests)"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[Places, argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(command=command)
        return verb

    status = add("status", _status, "show the pods, and what is wrong with them")
    status.add_argument("--json", action="store_true", help="print JSON")
    drains = add("drain", _drain, "let all pods leave this host, until a reboot or --cancel")
    add_deadline(drains, _WAITS, _DRAIN_SECONDS)
    drains.add_argument("--cancel", action="store_true", help="let them come back")
    health = add("health", _health, "wait until what ran before an update runs again (for a unit)")
    add_deadline(health, _WAITS, _HEALTH_SECONDS)
    leaves = add("leave", _leave, "stop, and give the cluster its lease back (for a unit)")
    add_deadline(leaves, _WAITS, _LEAVE_SECONDS)
    add("fence", _fence, "end replicas that no agent watches over (for a unit)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 is success, 1 failure, 2 wrong use."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    places = Places(arguments.root)
    return run_main(lambda: int(arguments.command(places, arguments)))


if __name__ == "__main__":
    sys.exit(main())
