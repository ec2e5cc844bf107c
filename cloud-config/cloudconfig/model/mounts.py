# ruff: noqa: D102 (what overrides a method of Kind is documented there)
"""`mounts`: lines of fstab(5) as lists, as cloud-init takes them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from cloudconfig.kinds import UNIT, own_at, seconds
from cloudconfig.unitnames import NAME_LIMIT, unit_for
from hostkit.document.schema import Kind, Reading, Wrong, is_null
from hostkit.document.source import Node, Place, Sequence, shown

# The root is read-only, so only below these can a mount point be made.
TOPS = ("/var", "/run", "/tmp")  # noqa: S108 - named for what a host may write
DEVICE_KINDS = frozenset(("auto", "ext2", "ext3", "ext4", "xfs", "vfat", "iso9660", "erofs"))
FREE_KINDS = frozenset(("tmpfs", "overlay", "none"))
_DEVICE = r"/[^\s\\\"'\x00-\x1f\x7f]+|(LABEL|UUID|PARTLABEL|PARTUUID)=[^/\"'\x00-\x1f\x7f]{1,72}"
_SHORT = r"(x?[svh]d[a-z]{1,2}[0-9]{0,3}|nvme[0-9]+n[0-9]+(p[0-9]+)?)"
_WORD = r"[^\s\\\"'\x00-\x1f\x7f]+"
_DROPPED = frozenset(("defaults", "auto", "rw", "sw", "user", "users", "owner", "group", "nouser"))


@dataclass(frozen=True, slots=True)
class Mount:
    """One line; `where` is None for swap, `source` is still as in fstab(5)."""

    source: str
    where: PurePosixPath | None
    kind: str = "auto"
    options: tuple[str, ...] = ()


class MountLine(Kind):
    """One line of fstab(5) as a list; the last four fields may be left out."""

    @property
    def label(self) -> str:
        return "a list: device, mount point, type, options, dump, pass"

    def json_schema(self) -> dict[str, object]:
        item = {"type": ["string", "number", "null"]}
        return {"type": "array", "items": item, "minItems": 2, "maxItems": 6}

    def write(self, value: Mount) -> object:
        where = "none" if value.where is None else str(value.where)
        return [value.source, where, value.kind, ",".join(value.options) or "defaults"]

    def read(self, node: Node, reading: Reading) -> Mount:
        if not isinstance(node, Sequence) or not 2 <= len(node.items) <= 6:
            raise reading.fail(node.place, f"expected {self.label}; the last four may be left out")
        source, where, *rest = node.items
        if is_null(where):
            message = "no mount point; nothing is mounted unasked here, so leave this line out"
            raise reading.fail(where.place, message)
        texts = [None if is_null(item) else self.text(item, reading) for item in rest]
        kind, options, dump, last = [*texts, None, None, None, None][:4]
        _warn_unused(node.place, dump, last, reading)
        before = len(reading.problems)
        mount = Mount(
            source=_source(source, self.text(source, reading), kind or "auto", reading),
            where=_where(where, self.text(where, reading), kind, reading),
            kind=_kind(rest[0] if rest else node, kind or "auto", reading),
            options=_options(rest[1] if len(rest) > 1 else node, options or "", reading),
        )
        if len(reading.problems) > before:
            raise Wrong
        return mount


class Mounts(Kind):
    """All the lines; no two have one mount point."""

    @property
    def label(self) -> str:
        return "a list of lines of fstab(5), each a list"

    def json_schema(self) -> dict[str, object]:
        return {"type": "array", "items": MountLine().json_schema()}

    def write(self, value: tuple[Mount, ...]) -> object:
        return [MountLine().write(mount) for mount in value]

    def read(self, node: Node, reading: Reading) -> tuple[Mount, ...]:
        if not isinstance(node, Sequence):
            raise reading.fail(node.place, f"expected {self.label}")
        found: dict[PurePosixPath | str, Mount] = {}
        for item in node.items:
            try:
                mount = MountLine().read(item, reading)
            except Wrong:
                continue
            point = mount.where or f"swap {mount.source}"
            if point in found:
                reading.note(item.place, f"{point} is mounted twice")
            found[point] = mount
        return tuple(found.values())


def _warn_unused(place: Place, dump: str | None, last: str | None, reading: Reading) -> None:
    for name, field in (("dump", dump), ("pass", last)):
        if field not in (None, "0"):
            message = f"{name} ({shown(field or '')}) does nothing here: nothing is dumped, and"
            reading.warn(place, f"{message} file systems are not checked at boot but by a journal")


def _source(node: Node, text: str, kind: str, reading: Reading) -> str:
    if re.fullmatch(_SHORT, text) and kind not in FREE_KINDS:
        return f"/dev/{text}"
    if re.match(r"(ephemeral|ebs|root|ami|swap)[0-9]*$", text):
        message = f"{shown(text)} is a name that only EC2's metadata knows; name the device itself"
        raise reading.fail(node.place, f"{message}: /dev/..., LABEL=... or UUID=...")
    of_device = kind in DEVICE_KINDS or kind == "swap"
    if not re.fullmatch(_DEVICE if of_device else _WORD, text) or ".." in text.split("/"):
        expected = "/dev/..., LABEL=... or UUID=..." if of_device else "one word"
        raise reading.fail(node.place, f"{shown(text)} cannot be mounted; expected {expected}")
    return text


def _where(node: Node, text: str, kind: str | None, reading: Reading) -> PurePosixPath | None:
    if kind == "swap":
        if text not in ("none", "swap"):
            raise reading.fail(node.place, f"{shown(text)}: swap has no mount point; expected none")
        return None
    if not re.fullmatch(rf"/({_WORD})?", text) or ".." in text.split("/"):
        message = f"{shown(text)} is no mount point; expected an absolute path without spaces"
        raise reading.fail(node.place, message)
    path = PurePosixPath("/" + text.strip("/"))
    if not any(path.is_relative_to(top) and str(path) != top for top in TOPS):
        message = f"{shown(text)}: the root is read-only, so mount points are below /var, /run"
        raise reading.fail(node.place, f"{message} or /tmp{_instead(path)}")
    if covered := own_at(path):
        raise reading.fail(node.place, f"{shown(text)} would cover {covered}, the host's own")
    if len(unit_for(path, "automount")) > NAME_LIMIT:
        raise reading.fail(node.place, f"{shown(text)} is too long for the name of a unit")
    return path


def _instead(path: PurePosixPath) -> str:
    if str(path) == "/" or path.parts[1] in ("var", "run", "tmp", "etc", "usr", "proc", "sys"):
        return ""
    rest = path.relative_to("/mnt" if path.is_relative_to("/mnt") else "/")
    return f"; write /var/mnt/{rest}" if rest.parts else "; write /var/mnt/data"


def _kind(node: Node, text: str, reading: Reading) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._]{0,31}", text):
        raise reading.fail(node.place, f"{shown(text)} is no type of file system such as ext4")
    if text not in DEVICE_KINDS | FREE_KINDS | {"swap"}:
        message = f"the image cannot mount {text} by itself; a system extension must bring its"
        reading.warn(node.place, f"{message} kernel module and mount.{text}")
    return text


def _options(node: Node, text: str, reading: Reading) -> tuple[str, ...]:
    if text and not re.fullmatch(_WORD, text):
        message = f"{shown(text)} are no mount options; expected words with commas between"
        raise reading.fail(node.place, message)
    place = node.place
    kept = [option for option in text.split(",") if option and option not in _DROPPED]
    return tuple(option for option in kept if _keeps(option, place, reading))


def _keeps(option: str, place: Place, reading: Reading) -> bool:
    """Whether an option goes on to the unit; what is wrong with it is noted."""
    if option == "fail":
        message = "fail: the boot waits for this mount, but goes on without it; a unit that needs"
        reading.warn(place, f"{message} it says so with RequiresMountsFor=")
    if option.startswith("x-initrd."):
        reading.note(place, f"{option} is for the initrd, which only mounts the host itself")
    if not option.startswith("x-systemd."):
        return True
    name, _, value = option.removeprefix("x-systemd.").partition("=")
    if value.startswith("cloud-"):
        reading.warn(place, f"{option} does nothing here: there is no cloud-init")
        return False
    if wrong := _systemd_problem(name, value):
        reading.note(place, f"{option}: {wrong}")
    return True


def _systemd_problem(name: str, value: str) -> str | None:
    if name in ("makefs", "pcrfs"):
        return "file systems are made by fs_setup"
    if name in _ALONE:
        return f"expected no value, found {shown(value)}" if value else None
    if name in _WITH_VALUE:
        is_right, expected = _WITH_VALUE[name]
        return None if is_right(value) else f"expected {expected}"
    return f"not supported; known after x-systemd. are {', '.join(sorted({*_ALONE, *_WITH_VALUE}))}"


def _is_path(value: str) -> bool:
    return value.startswith("/") and ".." not in value.split("/")


def _is_unit(value: str) -> bool:
    return _is_path(value) or re.fullmatch(UNIT.pattern, value) is not None


def _can_wait(value: str) -> bool:
    return _is_unit(value) and not value.startswith("/dev/")


def _is_time(value: str) -> bool:
    try:
        return seconds(value) >= 0
    except ValueError:
        return False


# What systemd.mount(5), "fstab", knows after `x-systemd.`: options that stand alone, and those
# with a value, each with the check of it and what is expected.
_ALONE = frozenset(("automount", "growfs", "rw-only", "device-bound"))
_TIME = (_is_time, "a length of time such as 30s")
_UNIT = (_is_unit, "a unit's name or a path")
_WITH_VALUE = {
    "idle-timeout": _TIME,
    "mount-timeout": _TIME,
    "device-timeout": _TIME,
    "requires": _UNIT,
    "after": _UNIT,
    "before": (_can_wait, "a unit's name or a path, and no device: those wait for nothing"),
    "requires-mounts-for": (_is_path, "an absolute path"),
}
MOUNTS = Mounts()
