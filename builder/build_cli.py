"""`bedplate build`: a definition to a release, or twice to prove that it is reproducible."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tuf.api.exceptions import RepositoryError

from builder import pipeline, verify
from builder.definition.cli import parse_overrides
from builder.definition.load import load
from builder.definition.model import Definition
from builder.extension import read_certificate
from builder.inventory.lock import Lock, LockError, parse_lock
from builder.report import Reporter, emit_json, format_size
from builder.steps.root import Trust
from builder.trust.tuf_types import Metadata, Root
from updater.errors import InputError
from updater.strict import FormatError

if TYPE_CHECKING:
    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


def add_commands(subparsers: "Subparsers") -> None:
    """Add `build` to a parser; it sets `func`, called with the arguments."""
    build = subparsers.add_parser(
        "build",
        help="build a release from a definition",
        description="Builds a release into OUTPUT/<name>_<version>. --verify builds it twice, in "
        "different folders and at different times, and compares every byte.",
    )
    build.add_argument(
        "definition", type=Path, nargs="?", default=Path("images/base.yaml"), metavar="DEFINITION"
    )
    build.add_argument("--output", type=Path, default=Path("build"), help="default: build")
    build.add_argument("--cache", type=Path, default=Path(".cache"), help="default: .cache")
    build.add_argument(
        "--repository",
        type=Path,
        default=Path("repository"),
        help="the TUF repository whose root hosts shall trust (default: repository)",
    )
    build.add_argument(
        "--keys", type=Path, default=Path("keys"), help="the folder of keys (default: keys)"
    )
    build.add_argument("--version", help="in place of the definition's")
    build.add_argument("--mirror", help="a Debian mirror, in place of the definition's")
    build.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a key"
    )
    build.add_argument("--lock", type=Path, help="build from the packages of this lock")
    build.add_argument(
        "--fresh", action="store_true", help="ask the mirror for new packages, not the cache"
    )
    build.add_argument("--verify", action="store_true", help="build twice and compare")
    build.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    build.set_defaults(func=_build)


def read_trust(repository: Path, keys: Path) -> Trust:
    """What images of this repository trust.

    Raises:
        InputError: there is no repository or no certificate, or they are garbled: an image that
            trusts nothing could never be updated, so none is built.
    """
    roots = {
        int(path.name.partition(".")[0]): path
        for path in (repository / "metadata").glob("*.root.json")
        if path.name.partition(".")[0].isdecimal()
    }
    if not roots:
        raise InputError(f"{repository}: holds no TUF root; run `bedplate release init` first")
    root = roots[max(roots)]
    data = root.read_bytes()
    try:
        metadata = Metadata[Root].from_bytes(data)
        if not isinstance(metadata.signed, Root):
            raise InputError(f"{root}: is no TUF root, but of type {metadata.signed.type}")
        # The specification's 5.3.4 on a new root: signed as itself says.
        metadata.signed.verify_delegate("root", metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise InputError(f"{root}: is no TUF root that a host would take: {error}") from error
    certificate = keys / "extensions.crt"
    read_certificate(certificate)
    return Trust(data, certificate.read_bytes())


def _build(args: argparse.Namespace) -> int:
    definition = _definition(args)
    options = pipeline.Options(
        output=args.output.absolute(),
        cache=args.cache.absolute(),
        trust=read_trust(args.repository, args.keys),
        lock=_lock(args.lock) if args.lock else None,
        fresh=args.fresh,
    )
    reporter = Reporter()
    if args.verify:
        built = verify.build_twice(definition, options, reporter)
    else:
        built = pipeline.build(definition, options, reporter)
    reporter.summary(f"{built.folder}: {format_size(built.wire_size)} on the wire")
    if args.json:
        emit_json({"schema": 1, "verified": bool(args.verify), **pipeline.to_plain(built)})
    return 0


def _definition(args: argparse.Namespace) -> Definition:
    overrides = parse_overrides(args.set)
    for key in ("version", "mirror"):
        if value := getattr(args, key):
            overrides[key] = value
    return load(args.definition, overrides=overrides)


def _lock(path: Path) -> Lock:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    try:
        return parse_lock(data, str(path))
    except (FormatError, LockError) as error:
        raise InputError(str(error)) from error
