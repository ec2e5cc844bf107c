"""`bedplate fleet get|apply|delete|rollout|lock|schema`: many hosts, by way of etcd."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder import fleet_lock_cli, sheets
from builder.fleet import access, apply, listing, reference, rollout, tables
from builder.fleet.safe import clean
from builder.report import emit_json
from builder.sheets import Sheet
from cloudconfig.kinds import seconds
from hostkit.document.reference import as_json
from hostkit.etcd import Client
from podagent.cluster.records import ROOT, manifest_key
from podagent.cluster.rollout import Progress
from podagent.cluster.view import View
from podagent.manifest import parse
from updater.errors import InputError

if TYPE_CHECKING:
    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

    # What rows are called in JSON, the rows, and how they become a table.
    Found = tuple[str, Sequence[Any], Callable[..., Sheet]]

_MANIFESTS = f"{ROOT}pods/"
_LISTED: dict[str, tuple[Callable[[View], Sequence[Any]], Callable[..., Sheet]]] = {
    "hosts": (listing.hosts, tables.hosts),
    "pods": (listing.pods, tables.pods),
    "services": (listing.services, tables.services),
    "workloads": (listing.workloads, tables.workloads),
}


def add_commands(subparsers: "Subparsers") -> None:
    """Add `fleet` to a parser; each command sets `func`, called with the arguments."""
    group = subparsers.add_parser("fleet", help="see and change what all hosts agree on")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    get = commands.add_parser("get", help="print what is there")
    get.add_argument("what", choices=sorted((*_LISTED, "leases")))
    get.add_argument("--wide", action="store_true", help="shorten nothing, and show more")
    _add_common(get, "the rows as JSON, whole")
    get.set_defaults(func=_get)

    put = commands.add_parser(
        "apply",
        help="put manifests into etcd",
        description="Each file holds one workload with what belongs to it. Nothing is written if "
        "one of them is wrong; every fault is told as FILE:LINE:COLUMN: FIELD: MESSAGE.",
    )
    put.add_argument(
        "-f",
        "--file",
        type=Path,
        action="append",
        nargs="+",
        required=True,
        metavar="FILE",
        help="- is stdin",
    )
    put.add_argument("--dry-run", action="store_true", help="only say what would be done")
    _add_common(put, "what was done as JSON")
    put.set_defaults(func=_apply)

    delete = commands.add_parser("delete", help="take workloads out of etcd; their pods end")
    delete.add_argument("name", nargs="+", metavar="NAME")
    _add_common(delete, "what was done as JSON")
    delete.set_defaults(func=_delete)

    _add_rollout(commands)
    fleet_lock_cli.add_commands(commands, fleet_lock_cli.Common(_add_common, _fleet, _say))

    schema = commands.add_parser("schema", help="print the JSON Schema of manifests, for editors")
    schema.add_argument("--markdown", action="store_true", help="print the reference page instead")
    schema.set_defaults(func=_schema)


def _add_rollout(commands: "Subparsers") -> None:
    group = commands.add_parser("rollout", help="follow a change")
    status = group.add_subparsers(metavar="COMMAND", required=True).add_parser(
        "status",
        help="wait until a workload is as its manifest says",
        description="Prints how far it is, each time that changes. Exits 0 when it is done, and 1 "
        "when it is halted or refused, or the time is up.",
    )
    status.add_argument("name", metavar="NAME")
    status.add_argument(
        "--timeout", default="15m", metavar="TIME", help="such as 90s or 1h30m (15m)"
    )
    _add_common(status, "only the end, as JSON")
    status.set_defaults(func=_rollout_status)


def _add_common(parser: argparse.ArgumentParser, json_help: str) -> None:
    parser.add_argument("--json", action="store_true", help=json_help)
    reach = parser.add_argument_group(
        "where etcd is",
        f"Taken from ~/{access.DEFAULT_FILE}, or from the file that {access.FILE_VARIABLE} or "
        "--fleet names. With --endpoints alone no file is read.",
    )
    reach.add_argument("--fleet", type=Path, metavar="FILE", help="a fleet.yaml")
    reach.add_argument("--endpoints", metavar="URLS", help="with commas between")
    reach.add_argument("--ca-file", type=Path, metavar="PEM", help="who signed etcd's certificates")
    reach.add_argument("--cert-file", type=Path, metavar="PEM", help="our certificate")
    reach.add_argument("--key-file", type=Path, metavar="PEM", help="its key")
    reach.add_argument(
        "--username",
        metavar="NAME",
        help=f"etcd's user; the password is in --password-file or {access.PASSWORD_VARIABLE}",
    )
    reach.add_argument("--password-file", type=Path, metavar="FILE", help="its first line")
    reach.add_argument(
        "--prefix", metavar="KEY", help=f"where the overlay is ({access.NETWORK_PREFIX})"
    )


def _fleet(args: argparse.Namespace) -> access.Fleet:
    given = {each.name: getattr(args, each.name) for each in fields(access.Given)}
    return access.find(access.Given(**given), os.environ, Path.home())


def _get(args: argparse.Namespace) -> int:
    fleet = _fleet(args)
    with closing(Client(fleet.access)) as client:
        view = View(parse)
        view.listed(client.list(ROOT))
        found: tuple[Found, ...]
        if args.what == "leases":
            found = _leases(client, view, fleet.prefix)
        else:
            listed, sheet = _LISTED[args.what]
            found = ((args.what, listed(view), sheet),)
    broken = {clean(key): clean(why) for key, why in sorted(view.broken.items())}
    if args.json:
        document: dict[str, object] = {"schema": 1, "revision": view.revision}
        document |= {name: [asdict(row) for row in rows] for name, rows, _ in found}
        emit_json(document | {"broken": broken})
        return 0
    for _, rows, sheet in found:
        sheets.show(sheet(rows, wide=args.wide))
    for why in broken.values():
        _warn(f"passed over: {why}")
    return 0


def _leases(client: Client, view: View, prefix: str) -> tuple["Found", ...]:
    """The overlay's leases and the hosts', with what is left of each."""
    items = client.list(f"{prefix}/subnets/").items
    left = {lease: client.time_to_live(lease) for lease in listing.leases_in_use(view, items)}
    return (
        ("subnets", listing.subnets(view, items, left), tables.subnets),
        ("hosts", listing.host_leases(view, left), tables.host_leases),
    )


def _apply(args: argparse.Namespace) -> int:
    fleet = _fleet(args)
    files = [file for group in args.file for file in group]
    wanted = apply.read_manifests(files, sys.stdin.buffer)
    with closing(Client(fleet.access)) as client:
        snapshot = client.list(_MANIFESTS)
        view = View(parse)
        view.listed(snapshot)
        steps = apply.plan(wanted, view, {item.key: item.value for item in snapshot.items})
        for step in steps:
            if not args.dry_run:
                apply.put(client, step)
            if not args.json:
                _say(apply.told(step, dry_run=args.dry_run))
    if args.json:
        done = [{"name": step.wanted.manifest.name, "change": str(step.change)} for step in steps]
        emit_json({"schema": 1, "dry_run": args.dry_run, "workloads": done})
    return 0


def _delete(args: argparse.Namespace) -> int:
    fleet = _fleet(args)
    names = list(dict.fromkeys(args.name))
    with closing(Client(fleet.access)) as client:
        known = [item.key.removeprefix(_MANIFESTS) for item in client.list(_MANIFESTS).items]
        apply.check_names(names, known)
        for name in names:
            client.delete(manifest_key(name))
            if not args.json:
                _say(f"{clean(name)}: deleted; its hosts end its pods")
    if args.json:
        emit_json({"schema": 1, "deleted": [clean(name) for name in names]})
    return 0


def _rollout_status(args: argparse.Namespace) -> int:
    try:
        limit = seconds(args.timeout)
    except ValueError:
        raise InputError(
            f"--timeout {args.timeout}: expected a time such as 90s or 1h30m"
        ) from None
    fleet = _fleet(args)
    with closing(Client(fleet.access)) as client:
        state = rollout.follow(
            client,
            args.name,
            seconds=limit,
            tell=lambda state: None if args.json else _say(rollout.told(state)),
            note=lambda reason: _warn(f"changes are not heard for now: {reason}"),
        )
    late = state.progress is Progress.PROGRESSING
    if args.json:
        emit_json({"schema": 1, "timed_out": late, "workload": asdict(state)})
    elif late:
        _warn(f"{args.name} is not done after {args.timeout}")
    return 0 if state.progress is Progress.COMPLETE else 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _warn(line: str) -> None:
    sys.stderr.write(f"bedplate: {line}\n")


def _schema(args: argparse.Namespace) -> int:
    sys.stdout.write(reference.markdown() if args.markdown else as_json(reference.json_schema()))
    return 0
