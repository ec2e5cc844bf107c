"""`bedplate-console`: a read-only page about the host on its terminals, in place of a login.

It reads files and nothing else, and runs once each time a unit starts it.
"""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from updater.files import write_if_other
from updater.host import Paths, parse_os_release
from updater.status import HealthReport, Progress, Status, parse, read_health
from updater.strict import FormatError

_WIDTH = 78
_DRAWINGS = 10
_NOTES = 8
_NOTE_LENGTH = 600  # characters
_CLEAR = "\x1b[H\x1b[2J"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the page shows; `status` is None before the updater has written one.

    `notes` are other agents' words by their names.
    """

    image: str
    version: str
    hostname: str
    addresses: tuple[str, ...]
    status: Status | None
    health: HealthReport
    notes: tuple[tuple[str, str], ...] = ()


def _size(amount: int) -> str:
    value = float(amount)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def progress_line(progress: Progress) -> str:
    """One line of progress: a bar, percent and sizes. Pure."""
    percent = 100 * progress.done // max(1, progress.total)
    bar = "#" * (percent // 5)
    sizes = f"{_size(progress.done)} of {_size(progress.total)}"
    fetched = f", {_size(progress.fetched)} received" if progress.fetched else ""
    return f"[{bar:<20}] {percent:3} %  {progress.step}: {sizes}{fetched}"


def _update_text(status: Status) -> str:
    if status.state == "trial":
        return f"version {status.version} is on trial (boot {status.tries})"
    if status.pending:
        return f"version {status.pending} {status.state}"
    return status.decision or "none under way"


def render(facts: Facts) -> str:
    """The page as plain text, one fact a line. Pure."""
    slot = f" (slot {facts.status.slot})" if facts.status else ""
    rows = [
        ("version", f"{facts.version}{slot}"),
        ("host", facts.hostname),
        ("addresses", ", ".join(facts.addresses) or "none"),
        ("health", f"{facts.health.health.value} {facts.health.detail}".rstrip()),
    ]
    if facts.status is None:
        rows.append(("update", "the updater has not reported yet"))
    else:
        rows.append(("update", _update_text(facts.status)))
        if facts.status.progress:
            rows.append(("", progress_line(facts.status.progress)))
        rows += [("rejected", f"{each.version}: {each.reason}") for each in facts.status.rejected]
        rows.append(("last error", facts.status.last_error or "none"))
    rows += facts.notes
    lines = [f"{facts.image} - this host has no login", ""]
    for name, text in rows:
        lines += _wrap(f"  {name:<11}", _printable(text))
    return "\n".join(lines) + "\n\n"


def _printable(text: str) -> str:
    """Without control characters: a server's words must not steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _wrap(label: str, text: str) -> Iterable[str]:
    room = _WIDTH - len(label)
    pieces = [text[at : at + room] for at in range(0, len(text), room)] or [""]
    yield label + pieces[0]
    for piece in pieces[1:]:
        yield " " * len(label) + piece


# --- Reading --------------------------------------------------------------------------------------


def parse_fib_trie(text: str) -> list[str]:
    """Local IPv4 addresses from /proc/net/fib_trie: a leaf line, then its `host LOCAL` line."""
    found: list[str] = []
    leaf = ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and leaf not in found:
            found.append(leaf)
    return [each for each in found if not ipaddress.IPv4Address(each).is_loopback]


def parse_if_inet6(text: str) -> list[str]:
    """Global IPv6 addresses from /proc/net/if_inet6: address, index, prefix, scope, flags, name."""
    rows = [line.split() for line in text.splitlines()]
    return [
        str(ipaddress.IPv6Address(bytes.fromhex(row[0])))
        for row in rows
        if len(row) == 6 and row[3] == "00"
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_facts(paths: Paths) -> Facts:
    """Read all that the page shows; what cannot be read is left out."""
    release = parse_os_release(_text(paths.root / "usr/lib/os-release"))
    try:
        status = parse(paths.status.read_bytes())
    except (OSError, FormatError):
        status = None
    return Facts(
        image=release.get("PRETTY_NAME") or "Bedplate",
        version=release.get("IMAGE_VERSION") or "unknown",
        hostname=socket.gethostname(),
        addresses=(
            *parse_fib_trie(_text(paths.root / "proc/net/fib_trie")),
            *parse_if_inet6(_text(paths.root / "proc/net/if_inet6")),
        ),
        status=status,
        health=read_health(paths.health),
        notes=_notes(paths.notes),
    )


def _notes(folder: Path) -> tuple[tuple[str, str], ...]:
    names = sorted(folder.iterdir())[:_NOTES] if folder.is_dir() else []
    found = ((each.name[:11], _text(each)[:_NOTE_LENGTH].strip()) for each in names)
    return tuple((name, text) for name, text in found if text and not name.startswith("."))


def terminals(active: str) -> list[Path]:
    """The terminals to write to, from /sys/class/tty/console/active; tty0 stands for tty1."""
    names = ["tty1" if name == "tty0" else name for name in active.split()]
    return [Path("/dev") / name for name in names]


def is_screen(terminal: Path) -> bool:
    """Whether it is a screen, which is drawn anew, and not a line, whose log is kept."""
    return terminal.name.removeprefix("tty").isdigit()


def _write(terminal: Path, text: str) -> None:
    try:
        descriptor = os.open(terminal, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # No such terminal on this host.
        return
    try:
        os.write(descriptor, text.replace("\n", "\r\n").encode("ascii", errors="replace"))
    except OSError:
        # Nobody takes it: a page is not worth waiting for.
        pass
    finally:
        os.close(descriptor)


def _once(marker: Path, text: str) -> bool:
    """Whether `text` differs from what was written last time."""
    try:
        return write_if_other(marker, text.encode())
    except OSError:
        # A full /run: rather twice than never.
        return True


def _without_progress(facts: Facts) -> Facts:
    return replace(facts, status=facts.status and replace(facts.status, progress=None))


def show(paths: Paths, facts: Facts, chosen: Sequence[Path]) -> None:
    """Draw the page on screens; on lines, add it when it has changed, and progress as one line."""
    page = render(facts)
    progress = facts.status.progress if facts.status else None
    still = render(_without_progress(facts))
    for terminal in chosen:
        if is_screen(terminal):
            _write(terminal, _CLEAR + page)
            continue
        marker = paths.runtime / f"console.{terminal.name}"
        if _once(marker, still):
            _write(terminal, page)
        elif progress is not None:
            _write(terminal, progress_line(progress) + "\n")


def main(argv: Sequence[str] | None = None, paths: Paths | None = None) -> int:
    """Write the page to the terminals given, or to the kernel's own consoles."""
    paths = paths or Paths()
    given = [Path(name) for name in (sys.argv[1:] if argv is None else argv)]
    chosen = given or terminals(_text(paths.root / "sys/class/tty/console/active"))
    shown = None
    # systemd does not start this again for what changes while it runs (systemd.path(5)).
    for _ in range(_DRAWINGS):
        facts = read_facts(paths)
        if facts == shown:
            break
        show(paths, facts, chosen)
        shown = facts
    return 0
