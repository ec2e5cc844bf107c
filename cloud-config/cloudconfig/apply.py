"""Changes are made: files and links first, then systemd is told. It decides nothing."""

import logging
import os
import socket
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from cloudconfig.desired import Fetched, File, Link, Reaction
from cloudconfig.places import Places
from cloudconfig.plan import (
    Change,
    Drop,
    Put,
    React,
    ReloadManager,
    Run,
    Seen,
    SetHostname,
    StartWanted,
)
from updater.errors import BedplateError
from updater.files import sync_directory, write_atomic
from updater.programs import ProgramError, run

_LOG = logging.getLogger(__name__)
_START_SECONDS = 300.0

Fetch = Callable[[Fetched], bytes]
Systemctl = Callable[[tuple[str, ...]], None]


class ApplyError(BedplateError):
    """Some changes could not be made; the message has a line for each. The others were made."""


class Applier:
    """Makes changes on the host below `places.root`.

    `fetch` gives a fetched file's content, proved by its hash. `managed` are the paths that an
    earlier configuration wrote. `wait` is False while the host
    boots: a unit that is started may have to wait for the very boot that we are a part of.
    """

    def __init__(
        self,
        places: Places,
        fetch: Fetch,
        *,
        managed: Collection[PurePosixPath],
        wait: bool,
        systemctl: Systemctl | None = None,
    ) -> None:
        self._places = places
        self._fetch = fetch
        self._managed = managed
        self._flags = () if wait else ("--no-block",)
        self._systemctl = systemctl or _systemctl

    def apply(self, changes: Iterable[Change]) -> None:
        """Make all changes; one that fails does not keep the others from being made.

        Raises:
            ApplyError: some failed.
        """
        failures = []
        for change in changes:
            try:
                self._make(change)
            except (BedplateError, OSError, LookupError) as error:
                failures.append(str(error))
        if failures:
            raise ApplyError("\n".join(failures))

    def _make(self, change: Change) -> None:
        if isinstance(change, Put):
            self._put(change)
        elif isinstance(change, Drop):
            self._drop(change)
        elif isinstance(change, SetHostname):
            socket.sethostname(change.name)
        elif isinstance(change, ReloadManager):
            self._systemctl(("daemon-reload",))
        elif isinstance(change, StartWanted):
            self._start(("start", "--no-block", *change.units))
        elif isinstance(change, React):
            flags = () if change.reaction is Reaction.START else self._flags
            self._systemctl((change.reaction.value, *flags, change.unit))
        elif isinstance(change, Run):
            self._start((change.verb.value, *self._flags, change.unit))

    def _start(self, argv: tuple[str, ...]) -> None:
        try:
            self._systemctl(argv)
        except BedplateError:
            if not self._flags:
                raise
            # It was perhaps written in the very instant in which systemd last read the folder.
            self._systemctl(("daemon-reload",))
            self._systemctl(argv)

    def _put(self, change: Put) -> None:
        item = change.item
        path = self._places.on_host(item.path)
        if change.was is not None and item.path not in self._managed:
            # The image's own, which comes back when no configuration asks for another.
            keep = self._places.original(item.path)
            keep.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(keep, change.was)
        _make_folders(path.parent)
        if isinstance(item, Link):
            _link(path, item.target)
        else:
            content = item.content if isinstance(item, File) else self._fetch(item)
            _write(path, Seen(content, item.mode, item.owner, item.group))

    def _drop(self, change: Drop) -> None:
        path = self._places.on_host(change.path)
        if change.original is None:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty: somebody else's files are in it
                path.parent.rmdir()
        elif change.original.target is not None:
            _link(path, change.original.target)
        else:
            _write(path, change.original)
        self._places.original(change.path).unlink(missing_ok=True)


def _make_folders(folder: Path) -> None:
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)


def _write(path: Path, seen: Seen) -> None:
    if seen.target is not None:
        _link(path, seen.target)
        return
    if path.is_dir() and not path.is_symlink():
        raise ApplyError(f"{path}: cannot write a file, it is a folder")
    # Nobody else reads it before it is whose it should be.
    write_atomic(path, seen.content, mode=0o600)
    if os.geteuid() == 0:
        os.chown(path, _user_id(seen.owner), _group_id(seen.group))
    path.chmod(seen.mode)


def _link(path: Path, target: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
    sync_directory(path.parent)


def _user_id(name: str) -> int:
    import pwd  # noqa: PLC0415 - most documents name root alone

    if name in {"root", "0"}:
        return 0
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ApplyError(f"there is no user {name}; add it to users") from None


def _group_id(name: str) -> int:
    import grp  # noqa: PLC0415

    if name in {"root", "0"}:
        return 0
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ApplyError(f"there is no group {name}; add it to groups") from None


def _systemctl(argv: tuple[str, ...]) -> None:
    try:
        run(("systemctl", "--no-ask-password", *argv), time_out=_START_SECONDS)
    except ProgramError as error:
        raise ApplyError(str(error)) from error
