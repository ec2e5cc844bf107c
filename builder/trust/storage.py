"""The repository's folder: where its files are, who may write, and how.

    metadata/1.root.json ... <n>.targets.json <n>.snapshot.json timestamp.json
    targets/releases/<version>/<sha256>.manifest.json, root.wire, ...
    targets/channels/<sha256>.<channel>.json

A numbered file is written once and never again: a run that was interrupted leaves numbers that
nothing refers to, and the next run takes the next ones. Only timestamp.json is replaced; that
makes what was written before it public.
"""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.trust.errors import ReleaseInputError, TrustError
from builder.trust.roles import TIMESTAMP
from builder.trust.tuf_types import TargetFile
from updater.files import write_atomic

_LOCK = ".lock"


class Storage:
    """The folder `folder`, which any web server can serve as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata = folder / "metadata"
        self.targets = folder / "targets"

    def create(self) -> None:
        """Make the folders of an empty repository."""
        self.metadata.mkdir(parents=True, exist_ok=True)
        self.targets.mkdir(exist_ok=True)

    def clear_interrupted_init(self) -> None:
        """Remove what a first run left that never reached timestamp.json: nobody was shown it.

        Raises:
            TrustError: there is more than a first run writes, so this was a repository once.
        """
        leftovers = list(self.metadata.glob("*.json"))
        if later := [path for path in leftovers if not path.name.startswith("1.")]:
            raise TrustError(
                f"{self.timestamp_path} is missing but {later[0].name} is there: this is a damaged "
                "repository; restore it from a copy"
            )
        for path in leftovers:
            path.unlink()

    def require(self) -> None:
        """Refuse a folder that holds no repository."""
        if not self.timestamp_path.exists():
            raise ReleaseInputError(
                f"{self.folder}: no repository here; make one with bedplate release init"
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the repository's lock; the system lets go of it even when the program is killed.

        Raises:
            TrustError: somebody else holds it.
        """
        with (self.folder / _LOCK).open("a", encoding="ascii") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TrustError(
                    f"{self.folder}: another bedplate release is writing here; wait for it to end"
                ) from None
            yield

    @property
    def timestamp_path(self) -> Path:
        """The one metadata file without a number."""
        return self.metadata / f"{TIMESTAMP}.json"

    def metadata_path(self, role: str, version: int) -> Path:
        """The file of a numbered role."""
        return self.metadata / f"{version}.{role}.json"

    def newest(self, role: str) -> int:
        """The highest number that a file of `role` has, published or not; 0 where there is none."""
        pattern = re.compile(rf"([1-9][0-9]*)\.{re.escape(role)}\.json")
        matches = (pattern.fullmatch(path.name) for path in self.metadata.iterdir())
        return max((int(match[1]) for match in matches if match), default=0)

    def write_metadata(self, role: str, version: int, data: bytes) -> None:
        """Put a role's metadata in place; `timestamp` replaces the one before."""
        path = self.timestamp_path if role == TIMESTAMP else self.metadata_path(role, version)
        write_atomic(path, data)

    def target_path(self, target: TargetFile) -> Path:
        """Where a small target is served: its name with its SHA-256 before it."""
        folder, _, name = target.path.rpartition("/")
        return self.targets / folder / f"{target.hashes['sha256']}.{name}"

    def write_target(self, target: TargetFile, data: bytes) -> None:
        """Put a small target in place; nothing refers to it until its metadata is published."""
        path = self.target_path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
