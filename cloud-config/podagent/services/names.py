"""Names of workloads, for an aardvark-dns of our own: the text it reads, and how it is told.

Format: aardvark-dns' config.md, and src/config/mod.rs of version 1.14. A line is `id IPv4,...
IPv6,... name,...`; the first one is where it listens. Every address of a name is answered, in the
file's order, with a TTL of 0. The domain is aardvark's search domain: it takes it off a name before
it looks, and never forwards what ends with it. Anything else goes to /etc/resolv.conf's servers.
"""

import os
import re
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from updater.files import write_atomic

DOMAIN = "bedplate.internal"
# The same on every host, whatever its networks: on a device of our own, from a range that is
# never routed (RFC 3927), as Kubernetes' NodeLocal DNSCache does with this very address.
LISTEN = IPv4Address("169.254.20.10")
FILE = "bedplate"  # aardvark takes it for the name of a network
_PID = "aardvark.pid"
_PROGRAM = "aardvark-dns"
# Comma, blank and newline are what divides the file.
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """Names that stand for the same addresses, without the domain."""

    names: tuple[str, ...]
    addresses: tuple[IPv4Address | IPv6Address, ...]


def make_text(entries: Iterable[Entry], *, host: str, listen: IPv4Address = LISTEN) -> str:
    """The file for aardvark-dns; entries without addresses, or without names, have no line.

    Args:
        entries: no name may be in two of them.
        host: this host's name. Clients take the first address, and aardvark changes no order: so
            each host has an order of its own, and load is spread.
        listen: where to answer.

    Raises:
        ValueError: a name is none, which manifests are checked for.
    """
    lines = [str(listen)]
    for entry in sorted(entries, key=lambda each: each.names):
        if not all(map(_NAME.fullmatch, entry.names)):
            raise ValueError(f"not a name in the DNS: {entry.names}")
        if not entry.names or not entry.addresses:
            continue
        spread = sorted(
            set(entry.addresses), key=lambda each: sha256(f"{host} {each}".encode()).digest()
        )
        families = (
            ",".join(str(each) for each in spread if each.version == version) for version in (4, 6)
        )
        lines.append(" ".join((entry.names[0], *families, ",".join(entry.names))))
    return "".join(f"{line}\n" for line in lines)


def put(folder: Path, text: str) -> bool:
    """Let aardvark-dns answer by this text; whether it differs from what there was.

    Raises:
        OSError: the file cannot be written, or the program not be told.
    """
    path = folder / FILE
    with suppress(FileNotFoundError):
        if path.read_bytes() == text.encode():
            return False
    folder.mkdir(parents=True, exist_ok=True)
    # The program reads every file of the folder, half-written ones as well.
    staging = folder.parent / f"{folder.name}.new"
    write_atomic(staging, text.encode())
    staging.replace(path)
    reload(folder)
    return True


def reload(folder: Path) -> bool:
    """Have the program read its folder again; whether it runs. If not, it will when it starts.

    Raises:
        OSError: it may not be told.
    """
    try:
        process = int((folder / _PID).read_text(encoding="ascii"))
        descriptor = os.pidfd_open(process)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    try:
        # The descriptor holds the process, so its name and the signal are one process's.
        if Path(f"/proc/{process}/comm").read_text(encoding="utf-8").strip() != _PROGRAM:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGHUP)
    except (FileNotFoundError, ProcessLookupError):
        return False
    finally:
        os.close(descriptor)
    return True
