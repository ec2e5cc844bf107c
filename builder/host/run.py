"""`bedplate host`: a verb on one host or on many, and what is shown of it."""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields
from pathlib import Path

from builder import sheets
from builder.host import access, hosts, many
from builder.host.client import Client
from builder.host.logs import Writer
from builder.host.outcome import OK, Outcome
from builder.host.pages import Page
from builder.host.target import Target
from builder.host.verbs import VERBS
from builder.host.work import Work
from builder.report import Reporter, emit_json
from builder.sheets import Sheet
from updater.errors import InputError

# After these a host reboots: few at the same time, each until it is back, and none after a failure.
_GOING_DOWN = ("reboot", "rollback")


def run(options: argparse.Namespace) -> int:
    """Do what the command line says: 0 done, 1 a host failed.

    Raises:
        InputError: the command line is wrong.
        BedplateError: the only host failed.
    """
    try:
        code = _run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has had enough, as `head`. Nothing is left for the interpreter to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        if options.follow:
            return 0  # it ends in no other way
        raise
    return code


def _run(options: argparse.Namespace) -> int:
    several = options.address is None
    if several:
        _check_many(options)
    targets = _targets(options)
    given = {each.name: getattr(options, each.name) for each in fields(access.Given)}
    files = access.find(access.Given(**given), os.environ, Path.home())
    identity = access.load(files)
    do = _doing(options, several=several)
    if several:
        return _on_many(options, targets, identity, do)
    with closing(Client(targets[0], identity)) as client:
        found = do(client)
    if options.verb == "logs":
        return 0
    if options.json:
        emit_json(found.document)
    else:
        _show(found.page)
    return found.code


def _doing(options: argparse.Namespace, *, several: bool) -> Callable[[Client], Outcome]:
    """What to do with each host; safe for any number of threads."""
    if options.verb == "logs":
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        return Writer(options, colour=colour).write
    verb, reporter = VERBS[options.verb], Reporter()
    return lambda client: verb(Work(client, options, reporter, several=several))


def _check_many(options: argparse.Namespace) -> None:
    if options.verb == "wipe":
        raise InputError("wipe: one host at a time; give its ADDRESS, not --hosts or --label")
    if options.certificate_name is not None:
        raise InputError("--name: names of many hosts are in the file of --hosts, or in etcd")
    if options.verb in _GOING_DOWN:
        options.wait = True


def _targets(options: argparse.Namespace) -> tuple[Target, ...]:
    if options.address is not None:
        return (Target.parse(options.address, options.certificate_name),)
    if options.hosts is not None:
        return hosts.of_file(options.hosts)
    return hosts.of_fleet(hosts.labels(options.label), options.fleet)


def _on_many(
    options: argparse.Namespace,
    targets: tuple[Target, ...],
    identity: access.Identity,
    do: Callable[[Client], Outcome],
) -> int:
    careful = options.verb in _GOING_DOWN
    at_once = options.at_most if careful else options.parallel
    if options.follow and at_once < len(targets):
        raise InputError(f"--follow: {len(targets)} hosts need --parallel {len(targets)}")
    crew = many.Crew(identity, do, at_once, stop_at_failure=careful)
    # Entries of the journal are what is asked for: then lines about hosts are beside it.
    aside = sys.stderr if options.verb == "logs" else sys.stdout
    width = max(len(each.name) for each in targets)
    results = []
    with closing(crew.work(targets)) as coming:
        for each in coming:
            results.append(each)
            if not options.json or options.verb == "logs":
                aside.write(f"{each.target.name:<{width}}  {each.line}\n")
                aside.flush()
    if options.json and options.verb != "logs":
        order = {target: place for place, target in enumerate(targets)}
        results.sort(key=lambda each: order[each.target])
        emit_json(
            {
                "schema": 1,
                "counts": dict(many.counts(results)),
                "hosts": [each.plain() for each in results],
            }
        )
    else:
        aside.write(f"{many.total(results)}\n")
    return 0 if all(each.verdict == OK for each in results) else 1


def _show(page: Page) -> None:
    """Write a page to stdout; tables that are empty only if there is nothing else."""
    parts = [part for part in page if len(page) == 1 or not isinstance(part, Sheet) or part.rows]
    for number, part in enumerate(parts):
        if isinstance(part, Sheet):
            sheets.show(part)
        elif part:
            sys.stdout.write("".join(f"{line}\n" for line in part))
            if number + 1 < len(parts):
                sys.stdout.write("\n")
