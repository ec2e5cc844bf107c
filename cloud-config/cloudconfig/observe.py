"""What a host is like now: the machine's facts, and the files that a configuration may change."""

import grp
import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cloudconfig.desired import BUNDLE, FETCH_LIMIT, Desired
from cloudconfig.facts import Facts
from cloudconfig.memory import Memory
from cloudconfig.places import Places
from cloudconfig.plan import Observed, Seen

if TYPE_CHECKING:
    # At run time it would bring the whole model, which is slow to import.
    from cloudconfig.model.top import CloudConfig

_UNIT_FOLDERS = ("usr/lib/systemd/system", "run/extensions/usr/lib/systemd/system")
_MEMORY_STEP = 64 << 20
# The developer extension, and the disk that it comes on before it is merged.
_DEVELOPER = ("usr/lib/bedplate-developer", "dev/disk/by-label/BEDPLATE_EXT")


def see(path: Path) -> Seen | None:
    """A file or a link; None if there is neither."""
    try:
        status = path.lstat()
        if path.is_symlink():
            return Seen(target=str(path.readlink()))
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            content = stream.read(FETCH_LIMIT)
    except FileNotFoundError:
        return None
    ids = status.st_uid, status.st_gid
    return Seen(content, status.st_mode & 0o7777, *_names(*ids), ids=ids)


def _names(uid: int, gid: int) -> tuple[str, str]:
    try:
        owner = pwd.getpwuid(uid).pw_name
    except KeyError:
        owner = str(uid)
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    return owner, group


def observe(desired: Desired, memory: Memory, places: Places, *, booting: bool) -> Observed:
    """What is at the paths that a configuration wants, and at those that the last one had."""
    wanted = {item.path for item in desired.items}
    files = _seen((path, places.on_host(path)) for path in wanted | memory.managed.keys())
    originals = _seen((path, places.original(path)) for path in wanted | memory.managed.keys())
    names = {path.name for path in wanted}
    units = frozenset(
        name for name in names for folder in _UNIT_FOLDERS if (places.root / folder / name).exists()
    )
    return Observed(files, memory.managed, originals, memory.commands, booting=booting, units=units)


def _seen(paths: Iterable[tuple[PurePosixPath, Path]]) -> Mapping[PurePosixPath, Seen]:
    pairs = ((name, see(path)) for name, path in paths)
    return {name: seen for name, seen in pairs if seen is not None}


def facts(config: "CloudConfig", memory: Memory, places: Places) -> Facts:
    """What this machine is, as far as this configuration asks."""
    bundle = see(places.original(BUNDLE)) or see(places.on_host(BUNDLE)) or Seen()
    return Facts(
        passwd=_passwd(memory, places),
        group=_group(places),
        units={
            unit.name: _unit_text(unit.name, places.root)
            for unit in config.coreos.units
            if unit.enable and unit.content is None
        },
        ca_bundle=bundle.content if config.ca_certs else b"",
        time_zones=_time_zones(config.timezone, places.root) if config.timezone else None,
        memory=_memory(),
        developer=_developer(places),
    )


def release_facts(memory: Memory, places: Places) -> tuple[str, ...]:
    """What a rendered document depends on besides the document: the release, its accounts."""
    release = _text(places.root / "proc/cmdline") + _text(places.root / "usr/lib/os-release")
    accounts = _passwd(memory, places), _group(places)
    return release, *accounts, str(_memory()), str(_developer(places))


def _memory() -> int:
    """The machine's memory in bytes, rounded up: a kernel counts what firmware has left it.

    That is a page more or less from one boot to the next.
    """
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return -(-size // _MEMORY_STEP) * _MEMORY_STEP


def _developer(places: Places) -> bool:
    return any((places.root / path).exists() for path in _DEVELOPER)


def _passwd(memory: Memory, places: Places) -> str:
    """/etc/passwd without our accounts; whoever else adds to it is left alone."""
    lines = _text(places.root / "etc/passwd").splitlines(keepends=True)
    return "".join(line for line in lines if line.split(":")[0] not in memory.accounts)


def _group(places: Places) -> str:
    path = PurePosixPath("/etc/group")
    seen = see(places.original(path)) or see(places.on_host(path)) or Seen()
    return seen.content.decode(errors="replace")


def _unit_text(name: str, root: Path) -> str:
    for folder in _UNIT_FOLDERS:
        if text := _text(root / folder / name):
            return text
    return ""


def _time_zones(wanted: str, root: Path) -> frozenset[str]:
    """The zone that is wanted; if there is none, all that there are."""
    folder = root / "usr/share/zoneinfo"
    if (folder / wanted).is_file():
        # To look at all five hundred takes as long as to read a small document.
        return frozenset({wanted})
    return frozenset(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
