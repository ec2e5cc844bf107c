"""aardvark-dns as bedplate-names.service runs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dns_client import answering
from network import Namespace, run
from podagent.services.names import DOMAIN

_UPSTREAM = "127.0.0.53"
OUTSIDE = "198.51.100.7"  # any name of no service


@contextmanager
def answering_names(place: Namespace, folder: Path) -> Iterator[None]:
    """It answers by this folder's files, with a resolver of the host behind it."""
    resolv = folder.parent / "resolv.conf"
    resolv.write_text(f"nameserver {_UPSTREAM}\n")
    script = (
        f"busybox mount --bind {resolv} /etc/resolv.conf && exec /usr/lib/podman/aardvark-dns "
        f"--config {folder} --port 53 --filter-search-domain .{DOMAIN} run"
    )
    # Its parent ends when it listens.
    place.run("unshare", "--mount", "busybox", "sh", "-c", script)
    process = int((folder / "aardvark.pid").read_text())
    try:
        with answering(place, _UPSTREAM, OUTSIDE):
            yield
    finally:
        run(["busybox", "kill", "-9", str(process)])
