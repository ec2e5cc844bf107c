"""The commands of `bedplate-update` that speak with a repository or change a slot."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from updater import agent, boot, config, stage, status
from updater.agent import Agent, Check
from updater.config import Config
from updater.context import Context
from updater.store import locked
from updater.version import Version

_LOG = logging.getLogger(__name__)


def _log(text: str, _progress: status.Progress | None = None) -> None:
    if text:
        _LOG.info("%s", text)


def _log_verify(progress: stage.Progress) -> None:
    if progress.done == progress.total:
        _LOG.info("verified %d bytes", progress.total)


def _configured(context: Context) -> tuple[Context, Config]:
    loaded = config.load(context.paths.configurations)
    return replace(context, config=loaded), loaded


def _print_check(check: Check, *, staged: bool, as_json: bool) -> None:
    decision = check.decision
    document = {
        "verdict": decision.verdict.value,
        "version": str(decision.version) if decision.version else None,
        "reason": decision.reason,
        "staged": staged,
    }
    text = json.dumps(document, indent=2) if as_json else decision.reason
    sys.stdout.write(text + "\n")


def _check(context: Context, arguments: argparse.Namespace) -> int:
    with locked(context.paths.update_lock, wait=False):
        found = Agent(*_configured(context), _log).check()
    _print_check(found, staged=False, as_json=arguments.json)
    return 0


def _apply(context: Context, arguments: argparse.Namespace) -> int:
    with locked(context.paths.update_lock, wait=False):
        boot.start(context)
        worker = Agent(*_configured(context), _log)
        found = worker.check()
        staged = worker.apply(found)
        _print_check(found, staged=staged, as_json=arguments.json)
        if staged and not arguments.no_reboot:
            worker.reboot()
    return 0


def _rollback(context: Context, _arguments: argparse.Namespace) -> int:
    with locked(context.paths.update_lock, wait=False):
        version = agent.roll_back(context, _log_verify)
    sys.stdout.write(f"draining the pods, then rebooting into version {version}\n")
    return 0


def _unreject(context: Context, arguments: argparse.Namespace) -> int:
    version = Version.parse(arguments.version)
    with locked(context.paths.update_lock, wait=False):
        agent.unreject(context, version)
    sys.stdout.write(f"version {version} may be tried again\n")
    return 0


COMMANDS: Mapping[str, Callable[[Context, argparse.Namespace], int]] = {
    "check": _check,
    "apply": _apply,
    "rollback": _rollback,
    "unreject": _unreject,
}
