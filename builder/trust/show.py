"""Status and results for people: tables on a terminal, plain lines elsewhere, JSON if asked."""

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta

from builder.report import emit_json, format_size
from builder.sheets import BAD, BUSY, GOOD, Row, Sheet, show
from builder.trust.status import RepositoryStatus, RoleStatus, Validity, as_json
from updater.strict import render_time

_STYLE = {Validity.VALID: GOOD, Validity.DUE: BUSY, Validity.EXPIRED: BAD}


def show_result(message: str, details: Mapping[str, object], *, as_document: bool) -> None:
    """Say what a command did; `details` go into the JSON document beside the message."""
    if as_document:
        emit_json({"schema": 1, "message": message, **details})
    else:
        sys.stdout.write(message + "\n")


def show_status(status: RepositoryStatus, *, as_document: bool) -> None:
    """Write the status of a repository to stdout."""
    if as_document:
        emit_json(as_json(status))
        return
    roles = tuple(
        Row(
            (
                role.role,
                str(role.version),
                render_time(role.expires),
                in_words(role.left),
                role.validity.value,
                f"{role.threshold} of {len(role.keys)}: {', '.join(role.keys)}",
            ),
            _STYLE[role.validity],
        )
        for role in status.roles
    )
    show(Sheet("Roles", ("role", "version", "expires", "left", "state", "keys"), roles))
    releases = tuple(
        Row(
            (
                str(release.manifest.version),
                f"{release.manifest.image} {release.manifest.architecture}",
                render_time(release.manifest.built),
                format_size(release.wire),
                release.manifest.root.hash[:16],
                ", ".join(release.channels) or "none",
            )
        )
        for release in status.releases
    )
    columns = ("release", "image", "built", "download", "root hash", "channels")
    show(Sheet("Releases", columns, releases))
    channels = tuple(
        Row(
            (
                channel.channel,
                str(promotion.version),
                render_time(promotion.promoted),
                ", ".join(f"{wave.percent}%@{render_time(wave.start)}" for wave in promotion.waves),
            )
        )
        for channel in status.channels
        for promotion in channel.releases
    )
    show(Sheet("Channels", ("channel", "release", "promoted", "waves"), channels))


def warn_of_due(roles: Sequence[RoleStatus]) -> None:
    """Say on stderr which roles are to be signed again, and how."""
    for role in roles:
        word = "expired" if role.validity is Validity.EXPIRED else "expires"
        sys.stderr.write(
            f"bedplate: role {role.role} {word} on {render_time(role.expires)}; sign it anew with "
            f"bedplate release refresh --role {role.role}\n"
        )


def in_words(left: timedelta) -> str:
    """How long, in days where it is two or more: "539 d", "36 h", "0 h" when it is over."""
    hours = max(int(left.total_seconds()) // 3600, 0)
    return f"{hours // 24} d" if hours >= 48 else f"{hours} h"
