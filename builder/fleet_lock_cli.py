"""`bedplate fleet lock status|release|set-max`: the lock that hosts reboot under, in etcd."""

import argparse
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from builder import sheets
from builder.fleet import locks
from builder.fleet.access import Fleet
from builder.report import emit_json
from hostkit.etcd import Client
from rebootlock.manager import Manager
from rebootlock.semaphore import MOST, ROOT
from updater.errors import InputError

if TYPE_CHECKING:
    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class Common:
    """What all commands of `fleet` have: their options, and what those mean."""

    add_options: Callable[[argparse.ArgumentParser, str], None]
    fleet: Callable[[argparse.Namespace], Fleet]
    say: Callable[[str], None]


def add_commands(subparsers: "Subparsers", common: Common) -> None:
    """Add `lock` to the parser of `fleet`; each command sets `func`."""
    group = subparsers.add_parser("lock", help="see and free the reboot lock")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, text: str, json_help: str, description: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=description)
        parser.add_argument("--group", metavar="NAME", help="the group of hosts (coreos.locksmith)")
        common.add_options(parser, json_help)
        return parser

    status = add(
        "status",
        "print who holds it, and since when",
        "the locks as JSON",
        "Without --group, of all groups.",
    )
    status.set_defaults(func=lambda args: _status(args, common))

    release = add(
        "release",
        "free what a host holds that does not come back",
        "what was done as JSON",
        "The next host that waits then reboots into its new release: see first that it was not "
        "the release that took this one.",
    )
    release.add_argument("host", metavar="HOST", help="as it calls itself, or its machine id")
    release.set_defaults(func=lambda args: _release(args, common))

    most = add(
        "set-max",
        "say how many hosts may be down at once",
        "what was done as JSON",
        "0 lets nobody reboot for an update. Who holds the lock goes on holding it.",
    )
    most.add_argument("number", type=int, metavar="N")
    most.set_defaults(func=lambda args: _set_max(args, common))


def _rows(client: Client, args: argparse.Namespace) -> tuple[locks.LockRow, ...]:
    return locks.locks(client.list(ROOT).items, args.group)


def _status(args: argparse.Namespace, common: Common) -> int:
    with closing(Client(common.fleet(args).access)) as client:
        rows = _rows(client, args)
    if args.json:
        emit_json({"schema": 1, "locks": [asdict(row) for row in rows]})
    else:
        sheets.show(locks.sheet(rows))
    return 1 if any(row.problem for row in rows) else 0


def _release(args: argparse.Namespace, common: Common) -> int:
    with closing(Client(common.fleet(args).access)) as client:
        held = locks.meant(_rows(client, args), args.host)
        freed = Manager(client, held.group).give_back(held.holder)
    if args.json:
        emit_json({"schema": 1, "released": freed, **asdict(held)})
        return 0
    done = "freed" if freed else "was given back by the host itself just now"
    common.say(f"{args.host}: the reboot lock of {locks.named(held.group)} {done}")
    return 0


def _set_max(args: argparse.Namespace, common: Common) -> int:
    if not 0 <= args.number <= MOST:
        raise InputError(f"N {args.number}: expected a number from 0 to {MOST}")
    group = args.group or ""
    with closing(Client(common.fleet(args).access)) as client:
        before = Manager(client, group).set_max(args.number)
    if args.json:
        emit_json({"schema": 1, "group": group, "before": before, "max": args.number})
        return 0
    common.say(
        f"of {locks.named(group)} at most {args.number} may be down at once (before: {before})"
    )
    return 0
