"""What people and programs are told of the updater when they ask, rather than when it changes."""

import json
from dataclasses import replace

from updater import status
from updater.context import Context
from updater.status import Override, Status
from updater.strict import FormatError, render_time


def current(context: Context) -> Status:
    """The status by what is so now, with what the daemon said last of its decision and progress."""
    now = status.build(context.view(context.store.load(), context.slot_name()))
    try:
        published = status.parse(context.paths.status.read_bytes())
    except (OSError, FormatError):
        # Nobody has written one yet.
        return now
    return replace(now, progress=published.progress, decision=published.decision)


def document(now: Status) -> dict[str, object]:
    """The status as an object of JSON, as it is in the status file."""
    found: dict[str, object] = json.loads(status.render(now))
    return found


def history(context: Context) -> list[dict[str, str]]:
    """What happened, oldest first: `at` (RFC 3339), `kind`, `version`, `detail`."""
    return [
        {
            "at": render_time(each.at),
            "kind": each.kind.value,
            "version": str(each.version),
            "detail": each.detail,
        }
        for each in context.store.load().history
    ]


def override_text(override: Override) -> str:
    """An override in words, and how long it holds."""
    pairs = {"channel": override.channel, "strategy": override.strategy}
    given = ", ".join(f"{key} {value}" for key, value in pairs.items() if value is not None)
    return f"{given or 'nothing'} until the next boot; then the configuration's hold again"
