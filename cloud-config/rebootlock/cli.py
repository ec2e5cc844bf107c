"""`bedplate-lock`: the reboot lock of this host's group. Results on stdout, logs on stderr."""

import argparse
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import SystemRandom

from hostkit.deadline import add_deadline
from hostkit.timing import boottime
from rebootlock.places import Places
from rebootlock.settings import load
from rebootlock.telling import Telling
from rebootlock.waiting import give_back, since, take_and_reboot
from updater import programs
from updater.errors import run_main

_LOG = logging.getLogger(__name__)
_NOW_SECONDS = 20.0
_RANDOM = SystemRandom()


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(0)


# --- For units ------------------------------------------------------------------------------------


def _reboot(places: Places, _arguments: argparse.Namespace) -> int:
    # It brings requests, which takes a small host a second to import.
    from rebootlock.host import GIVING_UNIT, Host  # noqa: PLC0415

    signal.signal(signal.SIGTERM, _end)
    telling = Telling(places, waits=True)
    rebooting = False
    try:
        hindrance = take_and_reboot(Host(places, telling), _RANDOM.random)
        rebooting = not hindrance
    finally:
        if not rebooting:
            telling.tell("", held=False)
    if hindrance:
        _LOG.info("not rebooting: %s", hindrance)
        # It may be held already; who gives it back ends us, which is fine by now.
        programs.start_unit(GIVING_UNIT)
    return 0


def _release(places: Places, arguments: argparse.Namespace) -> int:
    if places.free.exists() or not places.settings.exists():
        _LOG.info("this host holds no reboot lock")
        return 0
    from rebootlock.host import WAITING_UNIT, Host  # noqa: PLC0415 - as above

    signal.signal(signal.SIGTERM, _end)
    host = Host(places, Telling(places, waits=False))
    if not arguments.now:
        give_back(host, _RANDOM.random, lambda: True)
        return 0
    try:
        programs.run(("systemctl", "stop", WAITING_UNIT))
    except programs.ProgramError as error:
        _LOG.warning("%s", error)
    ends = boottime() + arguments.deadline
    host.time_left = lambda: ends - boottime()
    if give_back(host, _RANDOM.random, lambda: boottime() < ends):
        return 0
    sys.stderr.write(
        f"bedplate: the reboot lock was not given back within {arguments.deadline:.0f} s; "
        f"`bedplate fleet lock release {host.id}` does so from a workstation\n"
    )
    return 1


# --- For people -----------------------------------------------------------------------------------


def _status(places: Places, arguments: argparse.Namespace) -> int:
    settings = load(places)
    from rebootlock.host import manager  # noqa: PLC0415 - as above

    with manager(settings) as lock:
        standing = lock.look()
    if arguments.json:
        document = {
            "schema": 1,
            "group": settings.group,
            "max": standing.semaphore.max,
            "available": standing.semaphore.available,
            "holders": [asdict(each) for each in standing.holders],
        }
        lines = [json.dumps(document, indent=2)]
    else:
        lines = [
            f"group    {settings.group or '(none)'}",
            f"holders  {len(standing.holders)} of at most {standing.semaphore.max}",
            *(f"         {since(each)} ({each.id})" for each in standing.holders),
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bedplate-lock", description="The lock that keeps hosts from rebooting all at once."
    )
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

    status = add("status", _status, "show who holds the lock")
    status.add_argument("--json", action="store_true", help="print JSON")
    add("reboot", _reboot, "take the lock, then reboot into the staged release (for a unit)")
    release = add("release", _release, "give the lock back once this host is good (for a unit)")
    release.add_argument(
        "--now", action="store_true", help="give it back whatever this host is, or give up"
    )
    add_deadline(release, "how long --now may take", _NOW_SECONDS, least=1)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 is success, 1 failure, 2 wrong use."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    places = Places(arguments.root)
    return run_main(lambda: int(arguments.command(places, arguments)))


if __name__ == "__main__":
    sys.exit(main())
