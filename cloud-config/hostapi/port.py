"""Where a host's API listens: also for those that need no more of it than this."""

from contextlib import suppress
from pathlib import Path

PORT = 7443
FOLDER = Path("etc/bedplate/api")  # below the root: what the cloud-config says of the API


def listened_at(folder: Path) -> int:
    """The port that the cloud-config gives, by its file in that folder; else the usual one."""
    with suppress(OSError, ValueError):
        return int((folder / "port").read_bytes())
    return PORT
