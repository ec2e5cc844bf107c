"""The pods of this host's own: the manifests in /etc/bedplate/pods/."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podagent.manifest import ManifestError, parse
from podagent.types import Instance, Manifest, Origin

_SUFFIX = ".yaml"
_LIMIT = 1 << 20  # bytes of a manifest

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Own:
    """What the folder asks for; `refused` has each file that is wrong, and what is wrong with it.

    A file that was right before goes on as it was: a slip of the hand stops no pod.
    """

    instances: tuple[Instance, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: Stamp
    manifest: Manifest | None
    problem: str = ""


class Folder:
    """The manifests of a folder, read again when they change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: dict[str, _Read] = {}
        self._own: Own | None = None

    def look(self) -> tuple[Own, bool]:
        """What the folder asks for now, and whether that is news."""
        found = {path.name: path for path in sorted(self._path.glob(f"*{_SUFFIX}"))}
        before = self._read
        self._read = {name: self._file(path, before.get(name)) for name, path in found.items()}
        if self._own is not None and before == self._read:
            return self._own, False
        self._own = self._put_together()
        return self._own, True

    def _file(self, path: Path, before: _Read | None) -> _Read:
        last = None if before is None else before.manifest
        try:
            status = path.stat()
            stamp = (status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns)
            if before is not None and before.stamp == stamp:
                return before
            if not stat.S_ISREG(status.st_mode):
                return _Read(stamp, last, f"{path}: no regular file")
            with path.open("rb") as stream:
                text = stream.read(_LIMIT + 1)
        except OSError as error:
            return _Read((0, 0, 0, 0), last, f"{path}: cannot be read: {error.strerror}")
        try:
            return _Read(stamp, parse(text, path, of_host=True))
        except ManifestError as error:
            return _Read(stamp, last, str(error))

    def _put_together(self) -> Own:
        refused = {name: each.problem for name, each in self._read.items() if each.problem}
        instances: dict[str, Instance] = {}
        for name, each in self._read.items():
            if each.manifest is None:
                continue
            pod = each.manifest.name
            if pod in instances:
                refused[name] = f"{self._path / name}: another file has a pod {pod} already"
            else:
                instances[pod] = Instance(pod, each.manifest, Origin.FOLDER, None)
        return Own(tuple(instances.values()), refused)
