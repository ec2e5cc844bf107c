"""The workstation's program: every command, and the one place where errors are caught."""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from updater.errors import run_main

# Each module with the commands that it has: only that of the one that is asked for is imported.
AREAS = {
    "builder.build_cli": ("build",),
    "builder.extension_cli": ("extension",),
    "builder.definition.cli": ("definition",),
    "builder.config_cli": ("config",),
    "builder.trust.cli": ("keygen", "release", "serve"),
    "builder.pki_cli": ("pki",),
    "builder.fleet_cli": ("fleet",),
    "builder.host_cli": ("host",),
    "builder.vm.cli": ("run",),
}


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of every command, or of the area of `command` alone.

    Each command sets `func`, which takes the arguments.
    """
    top = argparse.ArgumentParser(
        prog="bedplate",
        description="Builds, releases and boots images of a host OS without a login.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for area in [name for name, has in AREAS.items() if command in has] or AREAS:
        import_module(area).add_commands(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command: 0 ok, 1 failed, 2 usage or invalid input."""
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser(words[0] if words else None).parse_args(words)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    return run_main(lambda: int(args.func(args)), "interrupted; what was half-done is gone")


if __name__ == "__main__":
    raise SystemExit(main())
