"""The TUF metadata a host has seen, in generations that a power cut cannot tear.

    tuf/current -> 7          switched by rename once everything in 7 is on the disk
    tuf/7/{timestamp,snapshot,targets,...}.json, 2.root.json, 3.root.json, ...
    tuf/6/                    the generation before, should 7 be damaged

python-tuf renames what it writes without fsync, so it works in a copy (`work`). Nothing here is
trusted: the roots are proved one by one from the image's own root, which dm-verity protects,
and everything else is signed by keys that the last of them names.
"""

import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tuf.api._payload import Root
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata

from updater.files import sync_directory, write_atomic

_GENERATION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_ROOT_FILE = re.compile(r"([1-9][0-9]{0,8})\.root\.json", re.ASCII)
_MAXIMUM_FILE = 8 * 1024 * 1024


def chain(first: bytes, roots: Mapping[int, bytes]) -> dict[int, bytes]:
    """Prove roots one after another, as far as they go (TUF specification, 5.3).

    Args:
        first: the trusted root to start from.
        roots: candidates by version; the first that does not prove itself ends the chain.

    Returns:
        The proved roots by version, `first` included; the last one is the newest.

    Raises:
        RepositoryError: `first` itself is no root metadata signed by its own keys.
    """
    trusted = Metadata[Root].from_bytes(first)
    trusted.verify_delegate(Root.type, trusted)
    proved = {trusted.signed.version: first}
    while (data := roots.get(trusted.signed.version + 1)) is not None:
        try:
            candidate = Metadata[Root].from_bytes(data)
            trusted.verify_delegate(Root.type, candidate)
            candidate.verify_delegate(Root.type, candidate)
        except (RepositoryError, ValueError):
            break
        if candidate.signed.version != trusted.signed.version + 1:
            break
        trusted = candidate
        proved[trusted.signed.version] = data
    return proved


def read_roots(folder: Path) -> dict[int, bytes]:
    """The numbered roots in a generation, unproved."""
    return {
        int(match[1]): data
        for path in folder.glob("*.root.json")
        if (match := _ROOT_FILE.fullmatch(path.name)) and (data := _read(path)) is not None
    }


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAXIMUM_FILE)
    except OSError:
        return None


def _whole(generation: Path) -> bool:
    """Whether every file is readable metadata: a torn timestamp would be a lost rollback guard."""
    for path in generation.glob("*.json"):
        data = _read(path)
        try:
            if data is None or not Metadata.from_bytes(data):
                return False
        except RepositoryError:
            return False
    return (generation / "timestamp.json").exists()


class Cache:
    """The generations under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.work = folder / "work"

    def open(self, first: bytes) -> None:
        """Make the working copy: the newest whole generation, under the newest proved root.

        Raises:
            RepositoryError: `first` is no root.
            OSError: the folder cannot be written.
        """
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        if newest := self._newest_whole():
            for path in newest.glob("*.json"):
                shutil.copyfile(path, self.work / path.name)
        for path in self.work.glob("*.root.json"):
            path.unlink()
        self._lay_out(chain(first, self._stored_roots()))

    def read(self, first: bytes) -> tuple[bytes, dict[str, bytes]]:
        """The newest proved root, and the other roles' metadata by role, unproved; changes nothing.

        Raises:
            RepositoryError: `first` is no root.
        """
        proved = chain(first, self._stored_roots())
        newest = self._newest_whole()
        files = _contents(newest) if newest else {}
        others = {name.removesuffix(".json"): data for name, data in files.items() if data}
        return proved[max(proved)], others

    def _stored_roots(self) -> dict[int, bytes]:
        stored = read_roots(self._current())
        for generation in self._newest_first():
            stored = {**read_roots(generation), **stored}
        return stored

    def _newest_whole(self) -> Path | None:
        return next((each for each in self._newest_first() if _whole(each)), None)

    def _lay_out(self, proved: Mapping[int, bytes]) -> None:
        for version, data in proved.items():
            (self.work / f"{version}.root.json").write_bytes(data)
        (self.work / "root.json").write_bytes(proved[max(proved)])

    def commit(self, first: bytes, seen: Mapping[int, bytes]) -> None:
        """Keep what the working copy holds, if it differs from the current generation.

        Everything in it was verified before it was written, so it is kept after a failed refresh
        too: a host that has seen a new root must not go back to the keys it revoked.

        Args:
            first: the trusted root to start from.
            seen: the roots that came over the network, by version.
        """
        self._lay_out(chain(first, {**read_roots(self.work), **seen}))
        for path in self.work.iterdir():
            if path.suffix != ".json":
                path.unlink()
        current = self._current()
        if _contents(self.work) != _contents(current):
            self._switch(current)
        shutil.rmtree(self.work, ignore_errors=True)

    def _switch(self, before: Path) -> None:
        for path in self.work.iterdir():
            write_atomic(path, path.read_bytes())
        number = max((int(each.name) for each in self._newest_first()), default=0) + 1
        generation = self._folder / str(number)
        self.work.rename(generation)
        sync_directory(self._folder)
        link = self._folder / "current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(generation.name)
        link.rename(self._folder / "current")
        sync_directory(self._folder)
        for old in self._newest_first():
            if old not in (generation, before):
                shutil.rmtree(old, ignore_errors=True)

    def _current(self) -> Path:
        with suppress(OSError):
            name = str((self._folder / "current").readlink())
            if _GENERATION.fullmatch(name):
                return self._folder / name
        return self._folder / "0"

    def _newest_first(self) -> list[Path]:
        """The generations, the current one before all others."""
        try:
            found = [each for each in self._folder.iterdir() if _GENERATION.fullmatch(each.name)]
        except OSError:
            return []
        current = self._current()
        return sorted(found, key=lambda each: (each == current, int(each.name)), reverse=True)


def _contents(folder: Path) -> dict[str, bytes | None]:
    return {path.name: _read(path) for path in folder.glob("*.json")}
