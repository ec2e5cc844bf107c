"""The workstation's program: every command, and the one place where errors are caught."""

import argparse
import logging
import sys
from collections.abc import Sequence

from builder import build_cli, config_cli, extension_cli, fleet_cli
from builder.definition import cli as definition_cli
from builder.trust import cli as trust_cli
from builder.vm import cli as vm_cli
from updater.errors import run_main


def parser() -> argparse.ArgumentParser:
    """The parser of every command; each sets `func`, which takes the arguments."""
    top = argparse.ArgumentParser(
        prog="bedplate",
        description="Builds, releases and boots images of a host OS without a login.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    areas = (build_cli, extension_cli, definition_cli, config_cli, trust_cli, fleet_cli, vm_cli)
    for area in areas:
        area.add_commands(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command: 0 ok, 1 failed, 2 usage or invalid input."""
    args = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    return run_main(lambda: int(args.func(args)), "interrupted; what was half-done is gone")


if __name__ == "__main__":
    raise SystemExit(main())
