"""`bedplate extension build`: a signed system extension from a definition."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa

from builder.definition.load import load
from builder.extension import Signer, build_extension, read_certificate
from builder.report import Reporter, emit_json
from builder.trust.keys import load_private_key
from builder.trust.passphrase import from_surroundings
from updater.errors import InputError

if TYPE_CHECKING:
    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


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
    build.add_argument("--keys", type=Path, default=Path("keys"), help="default: keys")
    build.add_argument("--passphrase-file", type=Path, help="its first line is the passphrase")
    build.add_argument(
        "--unsigned", action="store_true", help="do not sign it; no production host will take it"
    )
    build.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    build.set_defaults(func=_build)


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
