"""The workstation's program: every command, and the one place where errors are caught."""

import sys
from typing import TYPE_CHECKING

from builder.program import run_program

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

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


def parser(command: str | None = None) -> "argparse.ArgumentParser":
    """The parser of every command, or of the area of `command` alone.

    Each command sets `func`, which takes the arguments.
    """
    # Only here, where an interruption is told in one line: this takes most of a short command.
    import argparse  # noqa: PLC0415
    from importlib import import_module  # noqa: PLC0415

    top = argparse.ArgumentParser(
        prog="bedplate",
        description="Builds, releases and boots images of a host OS without a login.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for area in [name for name, has in AREAS.items() if command in has] or AREAS:
        import_module(area).add_commands(commands)
    return top


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run a command: 0 ok, 1 failed, 2 usage or invalid input, 130 interrupted."""
    words = sys.argv[1:] if argv is None else list(argv)
    return run_program(lambda: _run(words), "interrupted; what was half-done is gone")


def _run(words: list[str]) -> int:
    import logging  # noqa: PLC0415 - as in `parser`

    args = parser(words[0] if words else None).parse_args(words)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    return int(args.func(args))


if __name__ == "__main__":
    raise SystemExit(main())
