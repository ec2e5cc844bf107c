"""`bedplate-config`: a host's configuration. Results on stdout, logs on stderr."""

import argparse
import json
import logging
import socket
import sys
from collections.abc import Callable, Sequence

from cloudconfig import finish, host, intake, report
from cloudconfig.host import Prepared, Stage
from cloudconfig.places import Places
from cloudconfig.plan import describe
from cloudconfig.report import ConfigStatus
from updater.errors import BedplateError, run_main
from updater.programs import run

Command = Callable[[Places, argparse.Namespace], int]


def _boot(places: Places, arguments: argparse.Namespace) -> int:
    """What the units run: once before the network, and once with it if that is needed."""
    stage = Stage(arguments.stage)
    given, status = intake.take(places, stage)
    prepared = host.prepare(given, places, status)
    if stage is Stage.EARLY and status.waiting_for:
        # What earlier boots left below /var stays as it is until the document is there.
        report.publish(prepared.status, places)
        return _wait_for_network(places)
    status = host.apply(prepared, places, stage)
    _print(status, as_json=False)
    if stage is Stage.EARLY and (status.waiting_for or finish.is_wanted(prepared, places)):
        return _wait_for_network(places)
    finish.finish(prepared, places, socket.gethostname())
    # What is still waited for may be there later; a wrong document does not mend itself.
    return 1 if status.waiting_for else 0


def _wait_for_network(places: Places) -> int:
    places.network_wanted.touch()
    run(("systemctl", "start", "--no-block", "bedplate-config-network.service"))
    return 0


def _apply(places: Places, arguments: argparse.Namespace) -> int:
    prepared = _prepared(places)
    if not arguments.json:
        _show(prepared, places)
    return _say(host.apply(prepared, places, Stage.RUNNING), as_json=arguments.json)


def _plan(places: Places, arguments: argparse.Namespace) -> int:
    prepared = _prepared(places)
    if arguments.json:
        changes = [line for line in _lines(prepared, places) if not line.startswith(" ")]
        document = {"schema": 1, "changes": changes}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(prepared, places)
    for fault in prepared.status.faults:
        sys.stderr.write(f"bedplate: {fault}\n")
    return 2 if prepared.status.faults else 0


def _status(places: Places, arguments: argparse.Namespace) -> int:
    status = report.read(places)
    if status is None:
        raise BedplateError(f"{places.status}: no status yet; bedplate-config.service writes it")
    _print(status, as_json=arguments.json)
    return 0


def _check(places: Places, _arguments: argparse.Namespace) -> int:
    """For images whose hosts shall not count as healthy with a wrong document."""
    status = report.read(places)
    if status is None:
        raise BedplateError("no document was looked at yet")
    if not status.good:
        raise BedplateError("\n".join(status.faults))
    return 0


def _extensions(places: Places, arguments: argparse.Namespace) -> int:
    from cloudconfig import extensions  # noqa: PLC0415 - boots ask for none

    found = extensions.judge(extensions.observe(places), {})
    if arguments.tell:
        extensions.leave_laid(places)
        extensions.tell(found, places)
    elif arguments.json:
        document = {"schema": 1, "extensions": [each.plain() for each in found]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{each}\n" for each in found)
    return 0


def _prepared(places: Places) -> Prepared:
    given, status = intake.take(places, Stage.RUNNING)
    return host.prepare(given, places, status)


def _lines(prepared: Prepared, places: Places) -> list[str]:
    from cloudconfig import disks  # noqa: PLC0415 - boots show nothing

    found = [disks.describe(change) for change in host.plan_disks(prepared.desired)]
    for change in host.plan(prepared, places, Stage.RUNNING):
        found += describe(change)
    return found


def _show(prepared: Prepared, places: Places) -> None:
    found = _lines(prepared, places)
    sys.stdout.write("\n".join(found or ["nothing to change"]) + "\n")


def _say(status: ConfigStatus, *, as_json: bool) -> int:
    _print(status, as_json=as_json)
    for fault in status.faults:
        sys.stderr.write(f"bedplate: {fault}\n")
    return 0 if status.good else 1


def _print(status: ConfigStatus, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(report.to_plain(status), indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(report.lines(status)) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bedplate-config", description="This host's configuration.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in (
        ("status", "which configuration is in force, from where, and what is wrong"),
        ("plan", "read the document again, and show what would change"),
        ("apply", "read the document again, and make the host what it says"),
        ("check", "exit 1 unless the present document is in force"),
        ("extensions", "the system extensions, and why one is refused"),
        ("boot", "what the units run"),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        if name in {"status", "plan", "apply", "extensions"}:
            command.add_argument("--json", action="store_true", help="for machines")
        if name == "extensions":
            command.add_argument(
                "--tell", action="store_true", help="the console and the journal, of those refused"
            )
        if name == "boot":
            command.add_argument("stage", choices=[Stage.EARLY.value, Stage.NETWORK.value])
    return parser


_COMMANDS: dict[str, Command] = {
    "apply": _apply,
    "boot": _boot,
    "check": _check,
    "extensions": _extensions,
    "plan": _plan,
    "status": _status,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command: 0 ok, 1 failed, 2 usage or a document that is wrong."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    arguments = _parser().parse_args(argv)
    return run_main(lambda: _COMMANDS[arguments.command](Places(), arguments))
