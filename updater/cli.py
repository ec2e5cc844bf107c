"""`bedplate-update`: the updater's commands. Results on stdout, logs on stderr."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from updater import boot, config, health, host, report, status, wipe
from updater.context import Context
from updater.errors import run_main
from updater.host import Paths
from updater.status import Health, HealthReport, Status

_LOG = logging.getLogger(__name__)

Command = Callable[[Context, argparse.Namespace], int]


def _print(document: object, lines: Sequence[str], *, as_json: bool) -> None:
    text = json.dumps(document, indent=2) if as_json else "\n".join(lines)
    sys.stdout.write(text + "\n")


def with_config(context: Context) -> Context:
    """The same context with the configuration, or without it if that is wrong."""
    try:
        paths = context.paths
        return replace(context, config=config.load(paths.configurations))
    except config.ConfigError as error:
        _LOG.warning("%s", error)
        return context


def _status(context: Context, arguments: argparse.Namespace) -> int:
    now = report.current(with_config(context))
    _print(report.document(now), _lines(now), as_json=arguments.json)
    return 0


def _lines(now: Status) -> list[str]:
    lines = [
        f"version     {now.version} (slot {now.slot})",
        f"root hash   {now.root_hash}",
        f"channel     {now.channel} at {now.server}",
        f"strategy    {now.strategy}",
        f"health      {now.health.value} {now.health_detail}".rstrip(),
        f"update      {now.state}" + (f": version {now.pending}" if now.pending else ""),
        f"decision    {now.decision or 'none yet'}",
        f"last check  {now.last_check or 'never'}",
        f"last error  {now.last_error or 'none'}",
    ]
    if now.override:
        lines.append(f"override    {report.override_text(now.override)}")
    if now.progress:
        step = now.progress
        lines.append(f"progress    {step.step}: {step.done} of {step.total} bytes")
    lines += [f"rejected    {each.version}: {each.reason}" for each in now.rejected]
    return lines


def _history(context: Context, arguments: argparse.Namespace) -> int:
    document = report.history(context)
    lines = [
        f"{each['at']}  {each['kind']:<12} {each['version']} {each['detail']}".rstrip()
        for each in document
    ]
    _print(document, lines or ["nothing has happened yet"], as_json=arguments.json)
    return 0


def _boot(context: Context, _arguments: argparse.Namespace) -> int:
    outcome = boot.start(context)
    context = with_config(context)
    context.publish(context.view(context.store.load(), context.slot_name()))
    _print(None, [f"{outcome.outcome.value} {outcome.reason}".rstrip()], as_json=False)
    return 0


def _health(context: Context, arguments: argparse.Namespace) -> int:
    found = health.look()
    status.write_health(context.paths.health, found)
    with_config(context).republish()
    document = {**asdict(found), "health": found.health.value}
    _print(document, [f"{found.health.value} {found.detail}".rstrip()], as_json=arguments.json)
    return 0 if found.health is Health.GOOD else 1


def _mark_good(context: Context, _arguments: argparse.Namespace) -> int:
    done = boot.mark_good(context)
    # Its unit waits for boot-complete.target, so there is no need to ask.
    status.write_health(context.paths.health, HealthReport(Health.GOOD))
    with_config(context).republish()
    _print(None, [done], as_json=False)
    return 0


def _wipe(context: Context, _arguments: argparse.Namespace) -> int:
    _print(None, [wipe.take(context)], as_json=False)
    return 0


def _with_tuf(name: str) -> Command:
    def command(context: Context, arguments: argparse.Namespace) -> int:
        # TUF, requests and cryptography take seconds to import on a small host, and the commands
        # that a boot waits for need none of them.
        from updater import commands  # noqa: PLC0415

        return commands.COMMANDS[name](context, arguments)

    return command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bedplate-update", description="Keeps this host current, and takes a bad release back."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str, *, as_json: bool) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(command=command, json=False)
        if as_json:
            verb.add_argument("--json", action="store_true", help="print JSON")
        return verb

    add("status", _status, "show what runs and where the update stands", as_json=True)
    add("check", _with_tuf("check"), "look for a release, and change nothing", as_json=True)
    apply = add("apply", _with_tuf("apply"), "do the whole update now", as_json=True)
    apply.add_argument("--no-reboot", action="store_true", help="stop before the reboot")
    add(
        "rollback",
        _with_tuf("rollback"),
        "reject the running release and reboot into the other one",
        as_json=False,
    )
    add("history", _history, "show what has happened", as_json=True)
    unreject = add(
        "unreject", _with_tuf("unreject"), "allow a rejected version again", as_json=False
    )
    unreject.add_argument("version", help="the version, such as 2026.11.1")
    add("boot", _boot, "take note of this boot (for a unit)", as_json=False)
    add("health", _health, "say whether this boot is good", as_json=True)
    add("mark-good", _mark_good, "mark the running release good (for a unit)", as_json=False)
    add(
        "wipe",
        _wipe,
        "empty /var, if that was asked for before the boot (for a unit)",
        as_json=False,
    )
    return parser


def main(argv: Sequence[str] | None = None, paths: Paths | None = None) -> int:
    """Run a command; 0 is success, 1 failure, 2 wrong use."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    paths = paths or Paths()
    command: Command = arguments.command
    return run_main(lambda: command(Context(paths, host.observe(paths)), arguments))
