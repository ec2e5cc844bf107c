"""`bedplate-overlay`: the overlay's status, and whether a network's configuration is right."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from overlay import report
from overlay.places import Places
from updater.errors import BedplateError, InputError, run_main
from updater.strict import render_time

_ASKING_SECONDS = 5.0
_LEAVE_SECONDS = 30
_LONGEST_STATUS = 64 << 20  # bytes
_LONGEST_CONFIG = 64 * 1024  # bytes


class StatusError(BedplateError):
    """There is no status to show."""


def _read_status(places: Places) -> dict[str, object]:
    try:
        with places.status.open("rb") as stream:
            document = json.loads(stream.read(_LONGEST_STATUS))
    except FileNotFoundError:
        if places.settings.exists():
            raise StatusError("bedplate-overlay.service has not reported yet") from None
        raise StatusError(
            "this host has no overlay: coreos.flannel in the cloud-config asks for one"
        ) from None
    except ValueError as error:
        raise StatusError(f"{places.status} is broken: {error}; restart the agent") from error
    if not isinstance(document, dict):
        raise StatusError(f"{places.status} is no status; restart the agent")
    return document


def _status(arguments: argparse.Namespace) -> int:
    places = Places(arguments.root)
    document = _read_status(places)
    _ask_for_ends(document, places)
    text = json.dumps(document, indent=2) if arguments.json else "\n".join(report.lines(document))
    sys.stdout.write(text + "\n")
    return 0


def _ask_for_ends(document: dict[str, object], places: Places) -> None:
    """Ask etcd when the peers' leases end; what it does not tell within some seconds is left out.

    The agent follows changes and has no need to know; that would be a request for every peer.
    """
    peers = document.get("peers")
    if not isinstance(peers, list) or not peers:
        return
    # Both need `requests`, which is slow to import, and a host without peers has no use for it.
    from hostkit.etcd import Client  # noqa: PLC0415
    from overlay.settings import load  # noqa: PLC0415

    deadline = time.monotonic() + _ASKING_SECONDS
    try:
        client = Client(load(places).access)
        for peer in peers:
            if time.monotonic() > deadline:
                return
            if lease := int(peer["etcd_lease"] or "0", 16):
                peer["ends"] = _end(client.time_to_live(lease))
    except (BedplateError, OSError, KeyError, TypeError, ValueError):
        # The status tells by itself if etcd is not to be had.
        return


def _end(seconds: int) -> str | None:
    """When a lease ends that has so many seconds left; None when it is gone already."""
    return render_time(datetime.now(UTC) + timedelta(seconds=seconds)) if seconds >= 0 else None


def _check(arguments: argparse.Namespace) -> int:
    from overlay.network import parse  # noqa: PLC0415 - the status needs none of it

    config = parse(_read_config(arguments.file))
    for warning in config.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    ranges = [each for each in (config.ipv4, config.ipv6) if each]
    for each in ranges:
        sys.stdout.write(
            f"{each.network}: a /{each.subnet_length} for each host, {each.first} to {each.last}\n"
        )
    sys.stdout.write(f"backend {config.backend.type.value}\n")
    return 0


def _read_config(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(_LONGEST_CONFIG + 1)
    try:
        with Path(name).open("rb") as stream:
            return stream.read(_LONGEST_CONFIG + 1)
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error


def _leave(arguments: argparse.Namespace) -> int:
    from overlay.leave import leave  # noqa: PLC0415 - the status needs none of it

    sys.stdout.write(leave(Places(arguments.root), arguments.deadline) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bedplate-overlay", description="The overlay network of this host."
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="where the host's files are (for tests)"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    status = verbs.add_parser("status", help="show this host's subnet, its lease and its peers")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(command=_status)
    check = verbs.add_parser("check", help="judge a network's configuration before etcd gets it")
    check.add_argument("file", help="the JSON, or - for stdin")
    check.set_defaults(command=_check)
    leaves = verbs.add_parser(
        "leave", help="give this host's subnet back, until the next boot (for a unit)"
    )
    leaves.add_argument(
        "--deadline",
        type=int,
        default=_LEAVE_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait ({_LEAVE_SECONDS})",
    )
    leaves.set_defaults(command=_leave)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 is success, 1 failure, 2 wrong use."""
    arguments = _parser().parse_args(argv)
    return run_main(lambda: int(arguments.command(arguments)))


if __name__ == "__main__":
    sys.exit(main())
