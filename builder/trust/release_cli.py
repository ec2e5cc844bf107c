"""`bedplate release ...`: the verbs of the repository, from arguments to an exit code."""

import argparse
import functools
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from builder.trust import passphrase, show
from builder.trust.errors import ReleaseInputError
from builder.trust.keys import KeyRing, KeyStore
from builder.trust.publish import Signing
from builder.trust.repository import KeyChange, Outcome, Repository
from builder.trust.roles import DEFAULT_CHANNEL, ONLINE
from builder.trust.status import status_of
from updater.channel import Wave
from updater.version import Version

if TYPE_CHECKING:
    # argparse gives its action no public name; this is the type of `parser.add_subparsers()`.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_WAVE = re.compile(r"([0-9]{1,3})%@(.+)", re.ASCII)
_LATER = re.compile(r"\+([0-9]{1,5})([mhd])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_MOST_DAYS = 3650

Change = Callable[[Repository, argparse.Namespace, Signing], Outcome]


def parse_wave(text: str, now: datetime) -> Wave:
    """Read "10%@2026-11-22T00:00:00Z", "10%@now" or "50%@+24h" (m, h, d after `now`).

    Raises:
        ReleaseInputError: it is none of these.
    """
    match = _WAVE.fullmatch(text)
    start = _parse_start(match[2], now) if match else None
    if match is None or start is None or int(match[1]) > 100:
        raise ReleaseInputError(
            f"{text!r} is no wave: expected PERCENT%@START with a start such as "
            "2026-11-22T00:00:00Z, now, or +24h"
        )
    return Wave(start, int(match[1]))


def parse_days(pairs: Sequence[str]) -> dict[str, int]:
    """Read ["timestamp=3", "root=400"] into days by role."""
    days = {}
    for pair in pairs:
        role, _, number = pair.partition("=")
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= _MOST_DAYS:
            raise ReleaseInputError(f"{pair!r}: expected ROLE=DAYS with 1 to {_MOST_DAYS} days")
        days[role] = int(number)
    return days


def _parse_start(text: str, now: datetime) -> datetime | None:
    if text == "now":
        return now
    if match := _LATER.fullmatch(text):
        return now + timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        return None
    return start.astimezone(UTC) if start.tzinfo else None


def _init(repository: Repository, args: argparse.Namespace, signing: Signing) -> Outcome:
    return repository.init(signing, args.channel or [DEFAULT_CHANNEL])


def _add(repository: Repository, args: argparse.Namespace, signing: Signing) -> Outcome:
    return repository.add(args.build, signing)


def _promote(repository: Repository, args: argparse.Namespace, signing: Signing) -> Outcome:
    waves = [parse_wave(text, signing.now) for text in args.wave]
    return repository.promote(Version.parse(args.version), args.channel, waves, signing)


def _withdraw(repository: Repository, args: argparse.Namespace, signing: Signing) -> Outcome:
    return repository.withdraw(Version.parse(args.version), args.channel, signing)


def _refresh(repository: Repository, args: argparse.Namespace, signing: Signing) -> Outcome:
    outcome = repository.refresh(args.role, signing)
    due = status_of(repository, signing.now).due()
    show.warn_of_due([role for role in due if role.role not in ONLINE])
    return outcome


def _rotate(repository: Repository, args: argparse.Namespace, signing: Signing) -> Outcome:
    if not (args.add or args.remove or args.threshold):
        raise ReleaseInputError("nothing to rotate: give --add, --remove or --threshold")
    change = KeyChange(args.add, args.remove, args.threshold)
    return repository.rotate(args.role, change, signing)


def _channel(repository: Repository, args: argparse.Namespace, signing: Signing) -> Outcome:
    return repository.add_channel(args.channel, args.key, args.threshold, signing)


def add_release(subparsers: "Subparsers") -> None:
    """Add the parser of `release` and its verbs."""
    release = subparsers.add_parser("release", help="publish releases in a signed repository")
    verbs = release.add_subparsers(required=True, metavar="VERB")
    common, signing = _common_arguments()

    def verb(name: str, summary: str, change: Change) -> argparse.ArgumentParser:
        parser = verbs.add_parser(name, help=summary, description=summary, parents=[signing])
        parser.set_defaults(func=functools.partial(run, change))
        return parser

    parser = verb("init", "make an empty repository", _init)
    parser.add_argument("--channel", action="append", help="a channel (default: stable)")

    parser = verb("add", "publish the artefacts and the manifest of a build", _add)
    parser.add_argument("build", type=Path, help="the folder that bedplate build made")

    parser = verb("promote", "offer a release to the hosts of a channel", _promote)
    _version_and_channel(parser)
    parser.add_argument(
        "--wave",
        action="append",
        default=[],
        metavar="PERCENT%@START",
        help="so many percent of the hosts from then on; START is a time, now or +24h "
        "(default: 100%%@now)",
    )

    parser = verb("withdraw", "offer a release no longer", _withdraw)
    _version_and_channel(parser)

    parser = verb("refresh", "sign roles anew before they expire", _refresh)
    parser.add_argument(
        "--role", action="append", default=[], help="a role (default: snapshot and timestamp)"
    )

    parser = verb("rotate", "change the keys of a role", _rotate)
    parser.add_argument("role", help="root, targets, snapshot, timestamp, releases, channel-<name>")
    parser.add_argument("--add", action="append", default=[], metavar="KEY", help="by name")
    parser.add_argument(
        "--remove", action="append", default=[], metavar="KEY", help="by name or id"
    )
    parser.add_argument("--threshold", type=int, help="how many of the keys must sign")

    parser = verb("channel", "add a channel", _channel)
    parser.add_argument("channel", help="its name")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        help="a key that signs it (default: those named channel-<name>)",
    )
    parser.add_argument("--threshold", type=int, default=1, help="how many of them must sign")

    parser = verbs.add_parser("status", help="show roles, releases, channels", parents=[common])
    parser.set_defaults(func=run_status)


def _common_arguments() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """What all verbs take, and what those take that sign."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--repository",
        type=Path,
        default=Path("repository"),
        metavar="DIR",
        help="the repository (default: %(default)s)",
    )
    common.add_argument("--json", action="store_true", help="the result as JSON")
    signing = argparse.ArgumentParser(add_help=False, parents=[common])
    signing.add_argument(
        "--keys",
        type=Path,
        action="append",
        metavar="DIR",
        help="a key store; may be given several times (default: keys)",
    )
    signing.add_argument("--passphrase-file", type=Path, help="its first line is the passphrase")
    signing.add_argument(
        "--expires",
        action="append",
        default=[],
        metavar="ROLE=DAYS",
        help="how long the role's signatures hold, from now on",
    )
    return common, signing


def _version_and_channel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", help="the release, such as 2026.11.1")
    parser.add_argument("--channel", default=DEFAULT_CHANNEL, help="(default: %(default)s)")


def run(change: Change, args: argparse.Namespace) -> int:
    """Make a change; errors are BedplateErrors, for `main()` to show."""
    _quieten_tuf()
    source = passphrase.from_surroundings(args.passphrase_file)
    stores = [KeyStore(folder, source) for folder in args.keys or [Path("keys")]]
    now = datetime.now(UTC).replace(microsecond=0)
    signing = Signing(KeyRing(stores), now, parse_days(args.expires))
    outcome = change(Repository(args.repository), args, signing)
    show.show_result(outcome.message, {"signed": list(outcome.signed)}, as_document=args.json)
    return 0


def run_status(args: argparse.Namespace) -> int:
    """Show the status; needs no keys."""
    _quieten_tuf()
    status = status_of(Repository(args.repository), datetime.now(UTC))
    show.show_status(status, as_document=args.json)
    show.warn_of_due(status.due())
    return 0


def _quieten_tuf() -> None:
    """Drop what python-tuf says of every key that a role has and that did not sign."""
    logging.getLogger("tuf").setLevel(logging.WARNING)
