"""The commands `bedplate keygen`, `bedplate release` and `bedplate serve`."""

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from builder.arguments import address, port
from builder.report import emit_json
from builder.serve import serving
from builder.trust import certificates, keys, passphrase, publickey, release_cli, show
from builder.trust.errors import ReleaseInputError
from builder.trust.roles import DEFAULT_KEY_NAMES

if TYPE_CHECKING:
    from builder.trust.release_cli import Subparsers


def add_commands(subparsers: "Subparsers") -> None:
    """Add the parsers; each sets `func`, a callable that takes the arguments and returns 0 to 2."""
    _add_keygen(subparsers)
    release_cli.add_release(subparsers)
    _add_serve(subparsers)


def _add_keygen(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser(
        "keygen",
        help="make signing keys, encrypted with a passphrase",
        description="Makes the keys of a whole repository, or the named ones. The passphrase comes "
        f"from --passphrase-file, {passphrase.VARIABLE} or the terminal. Never overwrites a key.",
    )
    parser.add_argument("name", nargs="*", help="ed25519 keys to make (default: a whole set)")
    parser.add_argument("--keys", type=Path, default=Path("keys"), help="the key store's folder")
    parser.add_argument("--passphrase-file", type=Path, help="its first line is the passphrase")
    parser.add_argument(
        "--refer",
        metavar="URI",
        help="make no key, but name one in a token or a service (hsm:..., awskms:...)",
    )
    parser.add_argument("--public", type=Path, help="PEM file of the public part, for --refer")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.set_defaults(func=_keygen)


def _add_serve(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser("serve", help="serve a folder over HTTP, read-only")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--port", type=port, default=8080, help="0 takes a free one (default: 8080)"
    )
    parser.add_argument(
        "--bind", type=address, default="127.0.0.1", help="the address (default: 127.0.0.1)"
    )
    parser.add_argument("--json", action="store_true", help="the address as JSON")
    parser.set_defaults(func=_serve)


def _keygen(args: argparse.Namespace) -> int:
    if args.refer is not None or args.public is not None:
        return _refer(args)
    secret = passphrase.from_surroundings(args.passphrase_file, confirm=True)(
        f"key store {args.keys}"
    )
    if args.name:
        made = [part.name for part in keys.generate(args.keys, args.name, secret)]
        kept: list[str] = []
    else:
        made, kept = _complete_set(args.keys, secret)
    lines = [f"{args.keys}: made {', '.join(made)}" if made else f"{args.keys}: nothing to make"]
    if kept:
        lines.append(f"kept as they were: {', '.join(kept)}")
    show.show_result("\n".join(lines), {"made": made, "kept": kept}, as_document=args.json)
    return 0


def _refer(args: argparse.Namespace) -> int:
    if args.refer is None or args.public is None or len(args.name) != 1:
        raise ReleaseInputError("--refer URI and --public FILE go together, with one key name")
    part = publickey.from_pem(args.name[0], args.public, args.refer)
    keys.refer(args.keys, part)
    show.show_result(
        f"{args.keys}: {part.name} is at {part.uri}", {"made": [part.name]}, as_document=args.json
    )
    return 0


def _complete_set(folder: Path, secret: str) -> tuple[list[str], list[str]]:
    """Make what is missing of the default set; returns the names made and those kept."""
    made: list[str] = []
    kept: list[str] = []
    for name in DEFAULT_KEY_NAMES:
        private, public = keys.key_files(folder, name)
        if public.exists():
            kept.append(name)
        elif private.exists():
            keys.complete(folder, name, secret)
            made.append(name)
        else:
            keys.generate(folder, [name], secret)
            made.append(name)
    for kind in certificates.KINDS:
        private, certificate = certificates.pair_files(folder, kind)
        if certificate.exists():
            kept.append(kind.name)
        elif private.exists():
            certificates.complete_pair(folder, kind, keys.load_private_key(private, secret))
            made.append(kind.name)
        else:
            certificates.generate_pair(folder, kind, secret)
            made.append(kind.name)
    return made, kept


def _serve(args: argparse.Namespace) -> int:
    stop = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    try:
        with serving(args.folder, bind=args.bind, port=args.port) as server:
            if args.json:
                emit_json({"schema": 1, "url": server.url, "folder": str(args.folder)})
            else:
                sys.stdout.write(f"serving {args.folder} at {server.url}; Ctrl-C ends it\n")
                sys.stdout.flush()
            try:
                stop.wait()
            except KeyboardInterrupt:
                # The usual way to end it, so no failure.
                stop.set()
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0
