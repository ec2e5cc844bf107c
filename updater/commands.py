"""What `bedplate-update` and the API do with a repository or a slot, one at a time."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from updater import agent, boot, config, stage, status
from updater.agent import Agent, Check, Tell
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


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the channel came to; `staged`: a reboot would start the release."""

    check: Check
    staged: bool = False

    @property
    def document(self) -> dict[str, object]:
        """As JSON tells it."""
        decision = self.check.decision
        return {
            "verdict": decision.verdict.value,
            "version": str(decision.version) if decision.version else None,
            "reason": decision.reason,
            "staged": self.staged,
        }


def check(context: Context, tell: Tell = _log) -> Found:
    """Look for a release, and change nothing.

    Raises:
        BusyError: somebody else is at it.
        BedplateError: the repository was not reached or not believed.
    """
    with locked(context.paths.update_lock, wait=False):
        return Found(Agent(*_configured(context), tell).check())


def apply(context: Context, tell: Tell = _log, *, then: Callable[[Agent, Found], None]) -> Found:
    """Stage the release that is due; `then` is called while nobody else can change it.

    Raises:
        BusyError: somebody else is at it.
        BedplateError: a step failed.
    """
    with locked(context.paths.update_lock, wait=False):
        boot.start(context)
        worker = Agent(*_configured(context), tell)
        looked = worker.check()
        found = Found(looked, worker.apply(looked))
        then(worker, found)
        return found


def rollback(context: Context) -> str:
    """Reject the running release, and reboot into the other one; what is done, in a sentence.

    Raises:
        BusyError: somebody else is at it.
        BedplateError: there is nothing to go back to.
    """
    with locked(context.paths.update_lock, wait=False):
        version = agent.roll_back(context, _log_verify)
    return f"draining the pods, then rebooting into version {version}"


# --- On the command line --------------------------------------------------------------------------


def _print(found: Found, *, as_json: bool) -> None:
    text = json.dumps(found.document, indent=2) if as_json else found.check.decision.reason
    sys.stdout.write(text + "\n")


def _check(context: Context, arguments: argparse.Namespace) -> int:
    _print(check(context), as_json=arguments.json)
    return 0


def _apply(context: Context, arguments: argparse.Namespace) -> int:
    def then(worker: Agent, found: Found) -> None:
        _print(found, as_json=arguments.json)
        if found.staged and not arguments.no_reboot:
            worker.reboot()

    apply(context, then=then)
    return 0


def _rollback(context: Context, _arguments: argparse.Namespace) -> int:
    sys.stdout.write(rollback(context) + "\n")
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
