"""`bedplate extension build|sign|publish|list`: signed system extensions."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa

from builder.definition.load import load
from builder.extension import Signer, build_extension, read_certificate
from builder.extension_publish import (
    INDEX,
    INDEX_LIMIT,
    Published,
    cloud_config,
    newest,
    parse_index,
    publish,
    read_folder,
)
from builder.extension_sign import sign_image
from builder.report import Reporter, emit_json, format_size
from builder.sheets import Row, Sheet, show
from builder.trust.keys import load_private_key
from builder.trust.passphrase import from_surroundings
from updater import fetch
from updater.errors import InputError

if TYPE_CHECKING:
    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_COLUMNS = ("name", "version", "fits", "of", "size", "signer", "file")


def add_commands(subparsers: "Subparsers") -> None:
    """Add `extension` to a parser; each command sets `func`, called with the arguments."""
    group = subparsers.add_parser("extension", help="build signed system extensions")
    commands = group.add_subparsers(metavar="COMMAND", required=True)
    build = commands.add_parser("build", help="build an extension from a definition")
    build.add_argument("definition", type=Path, metavar="DEFINITION")
    build.add_argument(
        "--base", type=Path, required=True, help="the folder of the build that it is for"
    )
    build.add_argument("--output", type=Path, default=Path("build/extensions"))
    build.add_argument("--cache", type=Path, default=Path(".cache"), help="default: .cache")
    _add_keys(build)
    build.add_argument(
        "--unsigned", action="store_true", help="do not sign it; no host takes it before that"
    )
    build.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    build.set_defaults(func=_build)

    sign = commands.add_parser(
        "sign",
        help="sign extensions that were built with --unsigned",
        description="Signs each in its place, once every block of it is proved to be what was "
        "built. One that you have signed already stays as it is.",
    )
    sign.add_argument("files", type=Path, nargs="+", metavar="FILE")
    _add_keys(sign)
    sign.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    sign.set_defaults(func=_sign)

    publish_parser = commands.add_parser(
        "publish",
        help="put signed extensions into a folder that a web server serves",
        description=f"Copies each under a name with its hash, and lists all in {INDEX}. Nothing "
        "is published if one of them is unsigned or damaged, and nothing there is changed.",
    )
    publish_parser.add_argument("folder", type=Path, metavar="FOLDER")
    publish_parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    publish_parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    publish_parser.set_defaults(func=_publish)

    list_parser = commands.add_parser("list", help="print what is published, and what it fits")
    list_parser.add_argument("where", metavar="FOLDER|URL")
    list_parser.add_argument("name", nargs="?", metavar="NAME", help="only of this name")
    form = list_parser.add_mutually_exclusive_group()
    form.add_argument(
        "--cloud-config",
        action="store_true",
        help="print the lines of a cloud-config that ask for them",
    )
    form.add_argument("--json", action="store_true", help="the list as JSON on stdout")
    list_parser.add_argument(
        "--url", help="where hosts find the folder, for --cloud-config; else the URL given"
    )
    list_parser.add_argument(
        "--release", metavar="VERSION", help="for --cloud-config: the release that hosts run"
    )
    list_parser.set_defaults(func=_list)


def _add_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keys", type=Path, default=Path("keys"), help="default: keys")
    parser.add_argument("--passphrase-file", type=Path, help="its first line is the passphrase")


def read_signer(keys: Path, passphrase_file: Path | None) -> Signer:
    """The extensions' key and certificate of a key store.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    certificate, private = keys / "extensions.crt", keys / "extensions.pem"
    for path in (certificate, private):
        if not path.is_file():
            raise InputError(f"{path}: not found; run `bedplate keygen` first")
    passphrase = from_surroundings(passphrase_file)(f"key store {keys}")
    key = load_private_key(private, passphrase)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InputError(f"{private}: expected an RSA key")
    signer = Signer(key, read_certificate(certificate))
    if signer.certificate.public_key() != key.public_key():
        raise InputError(
            f"{certificate}: is not of the key in {private}; no host would take what it signs"
        )
    return signer


def _build(args: argparse.Namespace) -> int:
    signer = None if args.unsigned else read_signer(args.keys, args.passphrase_file)
    reporter = Reporter()
    made = build_extension(
        load(args.definition),
        args.base,
        args.output.absolute(),
        args.cache.absolute(),
        signer=signer,
        reporter=reporter,
    )
    reporter.summary(str(made))
    if args.json:
        emit_json({"schema": 1, "extension": str(made), "signed": not args.unsigned})
    return 0


def _sign(args: argparse.Namespace) -> int:
    signer = read_signer(args.keys, args.passphrase_file)
    signed = {str(path): sign_image(path, signer) for path in args.files}
    if args.json:
        files = [{"file": file, "new": new} for file, new in signed.items()]
        emit_json({"schema": 1, "signed": files})
        return 0
    for file, new in signed.items():
        sys.stdout.write(f"{file}: {'signed' if new else 'has your signature already'}\n")
    return 0


def _publish(args: argparse.Namespace) -> int:
    new = publish(args.folder, args.files)
    if args.json:
        emit_json({"schema": 1, "published": [each.plain() for each in new]})
        return 0
    for each in new:
        sys.stdout.write(f"{args.folder / each.file}\n")
    if not new:
        sys.stdout.write("all are there already\n")
    return 0


def _list(args: argparse.Namespace) -> int:
    found, url = _published(args.where)
    if args.name is not None:
        found = tuple(each for each in found if each.note.name == args.name)
    if args.json:
        emit_json({"schema": 1, "extensions": [each.plain() for each in found]})
    elif args.cloud_config:
        url = args.url or url
        if not url:
            raise InputError(f"--url: missing; where do hosts find {args.where}?")
        sys.stdout.write(cloud_config(newest(found, args.release), url))
    else:
        show(_sheet(found))
    return 0


def _published(where: str) -> tuple[tuple[Published, ...], str]:
    """What is published in a folder or at a URL, and that URL."""
    if where.startswith(("http://", "https://")):
        url = where.removesuffix(INDEX).rstrip("/")
        limits = fetch.Limits(connect_seconds=10, gap_seconds=15, total_seconds=60, retries=2)
        data = fetch.Fetcher(limits).small(f"{url}/{INDEX}", INDEX_LIMIT)
        return parse_index(data, f"{url}/{INDEX}"), url
    folder = Path(where)
    if not (folder / INDEX).is_file():
        raise InputError(f"{folder / INDEX}: not found; `bedplate extension publish` makes it")
    return read_folder(folder), ""


def _sheet(found: tuple[Published, ...]) -> Sheet:
    rows = (
        Row(
            (
                *(each.note.name, each.note.version, each.note.fits.value, each.note.of),
                *(format_size(each.size).replace(" ", ""), each.signer[:16], each.file),
            )
        )
        for each in found
    )
    return Sheet("Extensions", _COLUMNS, tuple(rows))
