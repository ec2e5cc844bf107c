"""`bedplate config ...`: a host's configuration, before the host sees it."""

import argparse
import difflib
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from builder import output
from builder.report import emit_json
from cloudconfig.desired import Desired, Fetched, File, Link
from cloudconfig.document import LIMITS, Document, placed, read_document
from cloudconfig.facts import Facts
from cloudconfig.plan import Observed, describe, make_plan, merged
from cloudconfig.reference import json_schema, markdown
from cloudconfig.render.errors import RenderError
from hostkit.document.reference import as_json
from hostkit.document.schema import Fault, Reading
from hostkit.document.source import DocumentError, Problem, read_bytes
from updater.errors import BedplateError, InputError

if TYPE_CHECKING:
    from cloudconfig.model.api import Api

    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

# What addresses are taken for here: of documentation and private networks (RFC 5737, 3849, 1918,
# 4193), and each as long as its variable, so that places stay where they are.
_ADDRESSES = {
    "public_ipv4": "203.0.113.10",
    "private_ipv4": "192.168.100.1",
    "public_ipv6": "2001:db8::10",
    "private_ipv6": "fd00:db8::100",
}


def add_commands(subparsers: "Subparsers") -> None:
    """Add `config` to a parser; each command sets `func`, called with the arguments."""
    group = subparsers.add_parser("config", help="look at cloud-configs")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    validate = commands.add_parser(
        "validate",
        help="report every problem of cloud-configs",
        description="Prints every problem as FILE:LINE:COLUMN: MESSAGE on stderr. Exits 0 if all "
        "are right, warnings or not, and 2 if one is wrong.",
    )
    validate.add_argument("files", type=Path, nargs="+", metavar="FILE")
    validate.add_argument("--json", action="store_true", help="the problems as JSON on stdout")
    validate.set_defaults(func=_validate)

    schema = commands.add_parser("schema", help="print the JSON Schema, for editors")
    schema.add_argument("--markdown", action="store_true", help="print the reference page instead")
    schema.set_defaults(func=_schema)

    plan = commands.add_parser("plan", help="print what a host would do with a cloud-config")
    _add_document(plan)
    plan.add_argument("--json", action="store_true", help="the changes as JSON on stdout")
    plan.set_defaults(func=_plan)

    render = commands.add_parser("render", help="write the files that a host would write")
    _add_document(render)
    render.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="a folder that is made"
    )
    render.set_defaults(func=_render)

    show = commands.add_parser(
        "show",
        help="print a cloud-config with its secrets cut out, as a host shows its own",
        description="Prints the document without its secrets and its comments: what `bedplate "
        "host ADDRESS config` gives of the one in force.",
    )
    show.add_argument("file", type=Path, metavar="FILE")
    show.set_defaults(func=_show)

    diff = commands.add_parser(
        "diff",
        help="compare two cloud-configs, without showing their secrets",
        description="Prints a unified diff of both with their secrets cut out; secrets that "
        "differ have different numbers. Either may be what a host has shown: of secrets that "
        "were cut out there, only the length is compared. Exits 0 if they are the same, 1 if not.",
    )
    diff.add_argument("before", type=Path, metavar="BEFORE")
    diff.add_argument("after", type=Path, metavar="AFTER")
    diff.set_defaults(func=_diff)


def _add_document(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--network-config",
        type=Path,
        metavar="FILE",
        help="NoCloud's network-config, for documents without bedplate.network",
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem as it is told; a fault of the whole file has no line."""

    file: str
    line: int | None
    column: int | None
    message: str
    severity: str = "error"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        kind = "warning: " if self.severity == "warning" else ""
        return f"{place}: {kind}{self.message}"


def examine(file: Path) -> list[Finding]:
    """All that there is to say of a document: what is wrong with it, or what to be warned of."""
    try:
        data = read_bytes(file, LIMITS)
        document = read_document(data, file, _ADDRESSES)
    except DocumentError as error:
        return _in_order(error.problems, error.warnings)
    except InputError as error:
        return [Finding(str(file), None, None, str(error).removeprefix(f"{file}: "))]
    problems, warnings = _of_certificates(document.config.bedplate.api)
    try:
        # What only shows in the making, such as an account that needs a group.
        _desired(document, None, [])
    except RenderError as error:
        problems = (*problems, *error.faults)
    return _in_order(
        placed(problems, data, file, _ADDRESSES),
        [*document.warnings, *placed(warnings, data, file, _ADDRESSES)],
    )


def _of_certificates(api: "Api | None") -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """What is wrong with the API's certificates, and what to be warned of.

    A host looks at them only when it runs.
    """
    if api is None:
        return (), ()
    from builder.pki.document import examine as examine_api  # noqa: PLC0415 - as in _desired

    said = examine_api(api, datetime.now(UTC))
    return said.problems, said.warnings


def _in_order(problems: Iterable[Problem], warnings: Iterable[Problem]) -> list[Finding]:
    found = [(problem.place, problem.message, "error") for problem in problems]
    found += [(problem.place, problem.message, "warning") for problem in warnings]
    found.sort(key=lambda each: (each[0].line, each[0].column))
    return [Finding(str(at.file), at.line, at.column, *said) for at, *said in found]


def _desired(document: Document, network_config: Path | None, found: list[Finding]) -> Desired:
    """What a host would be; what there is to be warned of is added to `found`.

    Raises:
        DocumentError: the network-config is wrong.
        RenderError: no host can be so.
    """
    # Only here: what renders a host's files need not be imported to build an image.
    from cloudconfig.rendering import render_all  # noqa: PLC0415

    network = None
    if network_config is not None:
        from cloudconfig.model.network import read_network_config  # noqa: PLC0415

        reading = Reading(as_coreos=True)
        network = read_network_config(read_bytes(network_config, LIMITS), network_config, reading)
        found += _in_order((), reading.warnings)
    return render_all(document.config, Facts(), network)


def _validate(arguments: argparse.Namespace) -> int:
    findings = {file: examine(file) for file in arguments.files}
    wrong = {
        file for file, found in findings.items() if any(each.severity == "error" for each in found)
    }
    if arguments.json:
        files = [
            {
                "file": str(file),
                "valid": file not in wrong,
                "problems": [asdict(each) for each in found],
            }
            for file, found in findings.items()
        ]
        emit_json({"schema": 1, "files": files})
        return 2 if wrong else 0
    for file, found in findings.items():
        sys.stderr.writelines(f"{each}\n" for each in found)
        if file not in wrong:
            sys.stdout.write(f"{file}: valid\n")
    return 2 if wrong else 0


def _schema(arguments: argparse.Namespace) -> int:
    sys.stdout.write(markdown() if arguments.markdown else as_json(json_schema()))
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    desired = _loaded(arguments)
    changes = [describe(change) for change in make_plan(desired, Observed(booting=True))]
    changes += [[line] for line in _besides(desired)]
    if arguments.json:
        heads = [lines[0] for lines in changes]
        emit_json({"schema": 1, "file": str(arguments.file), "changes": heads})
    else:
        found = [line for lines in changes for line in lines]
        sys.stdout.write("\n".join(found or ["nothing to change"]) + "\n")
    return 0


def _loaded(arguments: argparse.Namespace) -> Desired:
    file = arguments.file
    data = read_bytes(file, LIMITS)
    document = read_document(data, file, _ADDRESSES)
    found = _in_order((), document.warnings)
    try:
        desired = _desired(document, arguments.network_config, found)
    except RenderError as error:
        raise DocumentError(placed(error.faults, data, file, _ADDRESSES)) from None
    sys.stderr.writelines(f"{each}\n" for each in found)
    return desired


def _besides(desired: Desired) -> list[str]:
    """What is done besides files and units; on a host it depends on what is there already."""
    found = [f"partition {each.device}, if it is empty" for each in desired.partitions]
    found += [f"make {each.kind} on {each.device}, if it is empty" for each in desired.file_systems]
    if desired.swap:
        found.append(f"make the swap file {desired.swap.path} of {desired.swap.size} bytes")
    if desired.phone_home:
        found.append("tell a server that this instance runs, on its first boot")
    if desired.power:
        found.append(f"{desired.power.mode.value}, on its first boot")
    return found


def _render(arguments: argparse.Namespace) -> int:
    desired, folder = _loaded(arguments), arguments.output.resolve()
    if folder.is_file() or any(folder.glob("*")):
        raise InputError(f"{arguments.output}: not empty; expected a new folder")
    items = merged(desired.items, Observed())
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        made = Path(beside) / "made"
        made.mkdir()
        _write(items, made)
        output.put(made, folder)
    sys.stdout.write(f"{arguments.output}: {len(items)} files and links\n")
    return 0


def _write(items: Iterable[File | Link | Fetched], folder: Path) -> None:
    # Links come last, so that nothing is written through one.
    for item in sorted(items, key=lambda item: isinstance(item, Link)):
        path = folder / item.path.relative_to("/")
        if ".." in item.path.parts or any(each.is_symlink() for each in path.parents):
            raise BedplateError(f"{item.path}: leads out of the folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(item, Fetched):
            sys.stderr.write(f"{item.path}: fetched by the host, so it is left out here\n")
        elif isinstance(item, Link):
            path.symlink_to(item.target)
        else:
            path.touch(mode=0o600)
            path.write_bytes(item.content)
            path.chmod(item.mode & 0o777)


def _show(arguments: argparse.Namespace) -> int:
    from cloudconfig.redacted import redact  # noqa: PLC0415 - as in _desired

    data = read_bytes(arguments.file, LIMITS)
    sys.stdout.write(redact(data, arguments.file))
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from cloudconfig import redacted  # noqa: PLC0415 - as in _desired

    files = (arguments.before, arguments.after)
    found = [read_bytes(file, LIMITS) for file in files]
    # Numbers are of no use beside a document whose secrets nobody knows any more.
    known = not any(redacted.was_redacted(data) for data in found)
    label = redacted.numbered() if known else redacted.bytes_of
    before, after = (
        redacted.redact(data, file, label).splitlines(keepends=True)
        for data, file in zip(found, files, strict=True)
    )
    lines = [*difflib.unified_diff(before, after, str(files[0]), str(files[1]))]
    sys.stdout.writelines(lines)
    return 1 if lines else 0
