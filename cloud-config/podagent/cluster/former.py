"""The manifests that replicas here were played from, by digest; below /run, for they hold secrets.

A slot goes on with the digest that its record says until a change is agreed on, over a restart of
the agent too, when etcd may have another manifest by then, or may not answer.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from podagent.manifest import parse
from podagent.types import Manifest
from updater.errors import BedplateError
from updater.files import write_atomic

_LIMIT = 1 << 20  # bytes of a manifest; etcd takes 1.5 MiB


class Former:
    """Every manifest of the cluster's that is or was in force, as long as something needs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[Manifest, bytes]] = {}
        self._stored: set[str] = set()
        for path, text in _texts(folder):
            try:
                self.parse(text, path)
            except BedplateError:
                continue  # another release's, or nobody's: the replica stays as it is
            self._stored.add(path.name)

    def parse(self, text: bytes, path: Path) -> Manifest:
        """Read a manifest, and remember it.

        Raises:
            ManifestError: it is wrong.
        """
        manifest = parse(text, path)
        self._known[manifest.digest] = manifest, text
        return manifest

    def get(self, digest: str) -> Manifest | None:
        """A manifest that was read with this digest; how many replicas it has may be long ago."""
        found = self._known.get(digest)
        return found[0] if found else None

    def keep(self, needed: Collection[str], present: Collection[str]) -> None:
        """Have the manifests of the digests `needed` in files, and forget all but `present` too.

        Raises:
            OSError: they cannot be written.
        """
        for digest in self._known.keys() - {*needed, *present}:
            del self._known[digest]
        for digest in self._stored - set(needed):
            (self._folder / digest).unlink(missing_ok=True)
            self._stored.discard(digest)
        for digest in (self._known.keys() & set(needed)) - self._stored:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self._folder / digest, self._known[digest][1], mode=0o600)
            self._stored.add(digest)


def _texts(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(folder.glob("*")):
        try:
            with path.open("rb") as stream:
                yield path, stream.read(_LIMIT + 1)
        except OSError:
            continue
