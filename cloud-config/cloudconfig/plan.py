"""Desired and observed -> a list of changes. Pure: nothing is read, nothing is done."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import PurePosixPath

from cloudconfig.desired import (
    Affects,
    Command,
    Desired,
    Fetched,
    File,
    Link,
    Managed,
    Reaction,
)
from cloudconfig.verbs import UnitCommand

HOSTNAME = PurePosixPath("/etc/hostname")
_MANAGER = (PurePosixPath("/etc/systemd/system"), PurePosixPath("/etc/systemd/system.conf.d"))
# Those that default.target brings with it on these hosts (bootup(7)).
_TARGETS = (
    *("default", "multi-user", "basic", "sysinit", "local-fs", "remote-fs", "swap"),
    *("paths", "sockets", "timers"),
)
_MERGE = "systemd-sysext.service"
_LINK_KINDS = ("wants", "requires", "upholds")
# Those that are over by then, that nothing comes after, or whose units say themselves that they are
# first. What a server holds (remote-fs) others wait for.
_LOOSE = frozenset(_TARGETS) - {"basic", "sysinit", "remote-fs"}
_SHOWN_LINES = 200  # of one file's difference


@dataclass(frozen=True, slots=True)
class Seen:
    """A file or a link as it is; a link has a target and nothing else.

    `ids` are the numbers of owner and group, for documents that name those.
    """

    content: bytes = field(default=b"", repr=False)
    mode: int = 0
    owner: str = ""
    group: str = ""
    target: str | None = None
    ids: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """A host, as far as a configuration may change it.

    `files` holds what is at the desired paths and at those `managed` by the configuration before;
    `originals` what was there before any configuration came; `units` are the names of those
    desired units that the image or an extension has as well.
    """

    files: Mapping[PurePosixPath, Seen] = field(default_factory=dict)
    managed: Managed = field(default_factory=dict)
    originals: Mapping[PurePosixPath, Seen] = field(default_factory=dict)
    commands: frozenset[Command] = frozenset()
    booting: bool = False  # nothing of the configuration runs yet
    units: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Put:
    """Write a file or a link; `was` is what is there now."""

    item: File | Link | Fetched
    was: Seen | None


@dataclass(frozen=True, slots=True)
class Drop:
    """Take away what an earlier configuration wrote; `original` comes back."""

    path: PurePosixPath
    was: Seen
    original: Seen | None
    affects: tuple[Affects, ...] = ()


@dataclass(frozen=True, slots=True)
class SetHostname:
    """Tell the kernel the host's name."""

    name: str


@dataclass(frozen=True, slots=True)
class ReloadManager:
    """Let systemd read its units anew."""


@dataclass(frozen=True, slots=True)
class StartWanted:
    """Start what the boot's targets want by now; nobody waits for it."""

    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class React:
    """Let a unit notice that its files changed."""

    unit: str
    reaction: Reaction


@dataclass(frozen=True, slots=True)
class Run:
    """Do something with a unit."""

    unit: str
    verb: UnitCommand


Change = Put | Drop | SetHostname | ReloadManager | StartWanted | React | Run


def make_plan(desired: Desired, observed: Observed) -> tuple[Change, ...]:
    """What has to be done, in this order; nothing if the host is as it should be."""
    items = merged(desired.items, observed)
    puts = [
        Put(item, observed.files.get(item.path))
        for item in items
        if not _is_so(item, observed.files.get(item.path))
    ]
    wanted = {item.path for item in items}
    drops = [
        Drop(path, observed.files[path], observed.originals.get(path), observed.managed[path])
        for path in sorted(observed.managed.keys() - wanted)
        if path in observed.files
    ]
    stopped = _stopped(drops)
    changes: list[Change] = [*stopped, *puts, *drops]
    changes += [SetHostname(name) for name in _hostname(puts, drops)]
    gone = {each.unit for each in stopped}
    affects = [each for put in puts for each in put.item.affects]
    affects += [each for drop in drops for each in drop.affects if each.unit not in gone]
    reactions = _reactions(affects, booting=observed.booting)
    # An extension may bring units, so it is merged before they are read.
    merges = [each for each in reactions if each.unit == _MERGE]
    changes += merges
    if merges or _outdated(puts, drops, observed):
        changes.append(ReloadManager())
    if newly_wanted := _wanted(puts):
        changes.append(StartWanted(newly_wanted))
    changes += [each for each in reactions if each.unit != _MERGE]
    changes += _commands(desired, observed, {each.unit for each in affects})
    return tuple(changes)


def managed_after(desired: Desired, managed: Managed, changes: Iterable[Change]) -> Managed:
    """The paths that are the configuration's own after these changes.

    A file of the image that was as it should be stays the image's.
    """
    written = {change.item.path for change in changes if isinstance(change, Put)}
    return {
        item.path: item.affects
        for item in desired.items
        if item.path in managed or item.path in written
    }


def merged(
    items: Iterable[File | Link | Fetched], observed: Observed
) -> tuple[File | Link | Fetched, ...]:
    """One item a path: what is appended is joined to what was there before."""
    whole: dict[PurePosixPath, File | Link | Fetched] = {}
    for item in items:
        if not (isinstance(item, File) and item.append):
            whole[item.path] = item
            continue
        before = whole.get(item.path)
        if isinstance(before, File):
            content = before.content
        elif item.path in observed.originals or item.path in observed.managed:
            content = observed.originals.get(item.path, Seen()).content
        else:
            content = observed.files.get(item.path, Seen()).content
        whole[item.path] = replace(item, content=content + item.content, append=False)
    return tuple(whole.values())


def _is_so(item: File | Link | Fetched, seen: Seen | None) -> bool:
    if seen is None:
        return False
    if isinstance(item, Link):
        return seen.target == item.target
    if seen.target is not None:
        return False
    if seen.mode != item.mode or not _is_owned(item, seen):
        return False
    if isinstance(item, Fetched):
        return hashlib.sha256(seen.content).hexdigest() == item.sha256
    return seen.content == item.content


def _is_owned(item: File | Fetched, seen: Seen) -> bool:
    uid, gid = map(str, seen.ids or ("", ""))
    return item.owner in {seen.owner, uid} and item.group in {seen.group, gid}


def _outdated(puts: Iterable[Put], drops: Iterable[Drop], observed: Observed) -> bool:
    """Whether systemd has read what is changed, and so has to read it again.

    That takes a small host two seconds. A unit of which it has not even heard at boot needs none:
    systemd looks for it when it is started, as its folder has changed since (src/core/manager.c,
    manager_unit_cache_should_retry_load). Nor does what a target wants, which is started by its
    name; only that the target waits for it would be new.
    """
    changed = [put.item.path for put in puts if not (observed.booting and _is_new(put, observed))]
    changed += [drop.path for drop in drops]
    return any(path.is_relative_to(folder) for path in changed for folder in _MANAGER)


def _is_new(put: Put, observed: Observed) -> bool:
    path = put.item.path
    if isinstance(put.item, Link):
        return put.was is None and path.parent in _folders(_LOOSE, ("wants",))
    return path.parent == _MANAGER[0] and put.was is None and path.name not in observed.units


def _wanted(puts: Iterable[Put]) -> tuple[str, ...]:
    """Units newly linked to a target of every boot, which may have been reached already.

    A target that is active does not look at what it wants again.
    """
    folders = _folders(_TARGETS, _LINK_KINDS)
    names = [put.item.path.name for put in puts if put.item.path.parent in folders]
    return tuple(dict.fromkeys(names))


def _folders(targets: Iterable[str], kinds: Iterable[str]) -> frozenset[PurePosixPath]:
    pairs = product(targets, kinds)
    return frozenset(_MANAGER[0] / f"{target}.target.{kind}" for target, kind in pairs)


def _stopped(drops: Iterable[Drop]) -> list[Run]:
    """Units that are no more are stopped while systemd still knows them."""
    return [
        Run(drop.path.name, UnitCommand.STOP)
        for drop in drops
        if drop.path.parent == _MANAGER[0] and drop.was.target is None and drop.original is None
    ]


def _hostname(puts: Iterable[Put], drops: Iterable[Drop]) -> list[str]:
    for put in puts:
        if put.item.path == HOSTNAME and isinstance(put.item, File):
            return [put.item.content.decode().strip()]
    return ["localhost" for drop in drops if drop.path == HOSTNAME]


def _reactions(affected: Iterable[Affects], *, booting: bool) -> list[React]:
    """Each unit once; what has not started yet reads its files when it does."""
    found: dict[str, Reaction] = {}
    for affects in affected:
        starts = affects.reaction is Reaction.START
        # What is started notices whatever else has changed.
        if starts or (not booting and found.get(affects.unit) is not Reaction.START):
            found[affects.unit] = affects.reaction
    return [React(unit, reaction) for unit, reaction in found.items()]


def _commands(desired: Desired, observed: Observed, changed: Collection[str]) -> list[Change]:
    """All of them at boot; later those that are new, or whose unit changed."""
    return [
        Run(command.unit, command.verb)
        for command in desired.commands
        if observed.booting or command not in observed.commands or command.unit in changed
    ]


def summary(change: Change) -> str:
    """A change for people, in one line; nothing of a file's content is in it."""
    if isinstance(change, Put):
        return _summary_of_put(change)
    if isinstance(change, Drop):
        return f"{'restore' if change.original else 'remove'} {change.path}"
    if isinstance(change, SetHostname):
        return f"set the hostname to {change.name}"
    if isinstance(change, ReloadManager):
        return "reload systemd's units"
    if isinstance(change, StartWanted):
        return f"start {', '.join(change.units)}"
    verb = change.reaction if isinstance(change, React) else change.verb
    return f"{verb.value} {change.unit}"


def _summary_of_put(change: Put) -> str:
    item = change.item
    if isinstance(item, Link):
        return f"link {item.path} -> {item.target}"
    verb = "change" if change.was else "write"
    head = f"{verb} {item.path} ({item.mode:04o} {item.owner}:{item.group})"
    return f"{head} from {item.url}" if isinstance(item, Fetched) else head


def describe(change: Change) -> list[str]:
    """A change for people; the difference of a text, unless it is secret."""
    head = summary(change)
    if not isinstance(change, Put) or not isinstance(change.item, File):
        return [head]
    item, was = change.item, change.was
    if item.secret:
        return [f"{head}, not shown: it is secret"]
    import difflib  # noqa: PLC0415 - boots show nothing

    try:
        old = (was.content if was else b"").decode()
        lines = [*difflib.unified_diff(old.splitlines(), item.content.decode().splitlines(), n=2)]
    except UnicodeDecodeError:
        return [f"{head}, {len(item.content)} bytes"]
    shown = [f"    {line.rstrip()}" for line in lines[2 : 2 + _SHOWN_LINES]]
    more = len(lines) - 2 - len(shown)
    return [head, *shown, *([f"    ... {more} more lines"] if more > 0 else [])]
