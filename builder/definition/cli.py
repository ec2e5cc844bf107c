"""`bedplate definition validate|show|schema`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from builder.definition.load import load
from builder.definition.reference import json_schema, markdown, to_plain
from builder.definition.render import laid_files
from builder.report import emit_json
from hostkit.document.reference import as_json
from updater.errors import InputError

if TYPE_CHECKING:
    from builder.definition.model import Definition

    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


def add_commands(subparsers: "Subparsers") -> None:
    """Add `definition` to a parser; each command sets `func`, called with the arguments."""
    group = subparsers.add_parser("definition", help="look at image definitions")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    validate = commands.add_parser("validate", help="report every problem of a definition")
    _add_definition(validate)
    validate.set_defaults(func=_validate)

    show = commands.add_parser("show", help="print a definition with all it extends")
    _add_definition(show)
    show.set_defaults(func=_show)

    schema = commands.add_parser("schema", help="print the JSON Schema, for editors")
    schema.add_argument("--markdown", action="store_true", help="print the reference page instead")
    schema.set_defaults(func=_schema)


def parse_overrides(pairs: list[str]) -> dict[str, str]:
    """`["version=2"]` as a mapping, for `load`.

    Raises:
        InputError: a text without `=` or without a key.
    """
    overrides = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--set {pair}: expected KEY=VALUE, such as version=2")
        overrides[name] = value
    return overrides


def _add_definition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("definition", type=Path, metavar="FILE", help="such as images/host.yaml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace a value, such as version=2 or update.channel=beta",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _load(arguments: argparse.Namespace) -> "Definition":
    return load(arguments.definition, overrides=parse_overrides(arguments.set))


def _validate(arguments: argparse.Namespace) -> int:
    definition = _load(arguments)
    # Rendering finds what reading cannot: templates that do not fit their variables.
    root = laid_files(definition, definition.trees, definition.files)
    initrd = laid_files(definition, definition.initrd.trees, ())
    if arguments.json:
        emit_json({"definition": str(arguments.definition), "valid": True})
    else:
        files = len(root) + len(initrd)
        sys.stdout.write(
            f"{arguments.definition}: valid, {definition.name} {definition.version}, "
            f"{len(definition.packages)} packages, {files} files of ours\n"
        )
    return 0


def _show(arguments: argparse.Namespace) -> int:
    plain = to_plain(_load(arguments))
    if arguments.json:
        emit_json(plain)
    else:
        sys.stdout.write(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100))
    return 0


def _schema(arguments: argparse.Namespace) -> int:
    sys.stdout.write(markdown() if arguments.markdown else as_json(json_schema()))
    return 0
