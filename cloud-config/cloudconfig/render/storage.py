"""`mounts`, `swap`, `disk_setup`, `fs_setup`: units, and what disks should be like."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from cloudconfig.desired import (
    Affects,
    Desired,
    File,
    Link,
    MakeFileSystem,
    Partition,
    SwapFile,
)
from cloudconfig.facts import Facts
from cloudconfig.kinds import seconds
from cloudconfig.model.mounts import Mount
from cloudconfig.model.storage import FileSystem, Swap
from cloudconfig.model.top import CloudConfig
from cloudconfig.unitnames import device_node, partition_node, unit_for

FOLDER = PurePosixPath("/etc/systemd/system")
_REMOTE = "remote-fs.target"
_SWAP_LIMIT = 8 << 30  # bytes that `auto` never exceeds
_NETWORK_KINDS = frozenset(("nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs"))
_SECTION = {"requires": "Requires", "after": "After", "before": "Before"}


def render(config: CloudConfig, facts: Facts) -> Desired:
    """Units of mounts and swap in /etc/systemd/system, and what `cloudconfig.disks` plans with.

    Raises:
        RenderError: two keys contradict each other.
    """
    items: list[File | Link] = []
    for mount in config.mounts:
        items += _mount(mount)
    if config.swap:
        items += _swap(str(config.swap.filename), ())
    if any(_is_remote(mount) for mount in config.mounts):
        # Nothing of the image's is remote, so nothing of the image asks for this target.
        wanted = FOLDER / "multi-user.target.wants" / _REMOTE
        items.append(Link(wanted, f"/usr/lib/systemd/system/{_REMOTE}"))
    return Desired(
        items=tuple(items),
        partitions=tuple(
            Partition(device, disk.layout, disk.overwrite)
            for device, disk in config.disk_setup.items()
            if disk.layout
        ),
        file_systems=tuple(_file_systems(config)),
        swap=_swap_file(config.swap, facts) if config.swap else None,
    )


def _is_remote(mount: Mount) -> bool:
    return mount.where is not None and ("_netdev" in mount.options or mount.kind in _NETWORK_KINDS)


def _mount(mount: Mount) -> Iterator[File | Link]:
    if mount.where is None:
        yield from _swap(device_node(mount.source), mount.options)
        return
    unit = unit_for(mount.where, "mount")
    yield _file(unit, _mount_unit(mount, mount.where))
    starts = unit
    if "x-systemd.automount" in mount.options:
        starts = unit_for(mount.where, "automount")
        yield _file(starts, _automount_unit(mount, mount.where))
    # As systemd.mount(5) has it, an automount is there though the mount itself is noauto.
    if starts != unit or "noauto" not in mount.options:
        yield _wanted_by(_REMOTE if _is_remote(mount) else "local-fs.target", starts)
    yield from _device_time(mount)


def _mount_unit(mount: Mount, where: PurePosixPath) -> str:
    options = [option for option in mount.options if _is_for_mount(option)]
    if not {"fail", "nofail"} & set(mount.options):
        # A disk that is not there must not keep a host from starting, systemd.mount(5).
        options.append("nofail")
    lines = [
        "[Unit]",
        f"Description={_literal(str(where))}, by the cloud-config",
        *_dependencies(mount),
    ]
    if "x-systemd.growfs" in mount.options:
        lines.append(f"Wants=systemd-growfs@{unit_for(where, 'service')}")
    if "fail" in mount.options and not _is_remote(mount):
        lines.append("Before=sysinit.target")
    lines += ["", "[Mount]", f"What={_literal(device_node(mount.source))}"]
    lines.append(f"Where={_literal(str(where))}")
    if mount.kind != "auto":
        lines.append(f"Type={mount.kind}")
    if options:
        lines.append(f"Options={_literal(','.join(options))}")
    if "x-systemd.rw-only" in mount.options:
        lines.append("ReadWriteOnly=yes")
    lines += _time(mount, "mount-timeout", "TimeoutSec")
    return _text(lines)


def _is_for_mount(option: str) -> bool:
    """Whether an option goes to mount(8) or is looked at in Options= by systemd itself."""
    if option == "x-systemd.device-bound":
        return True
    return option not in ("fail", "noauto") and not option.startswith("x-systemd.")


def _automount_unit(mount: Mount, where: PurePosixPath) -> str:
    lines = [
        "[Unit]",
        f"Description={_literal(str(where))} when it is used, by the cloud-config",
        "",
        "[Automount]",
        f"Where={_literal(str(where))}",
        *_time(mount, "idle-timeout", "TimeoutIdleSec"),
    ]
    return _text(lines)


def _dependencies(mount: Mount) -> Iterator[str]:
    for option in mount.options:
        name, _, value = option.removeprefix("x-systemd.").partition("=")
        if not option.startswith("x-systemd.") or not value:
            continue
        if name in _SECTION:
            unit = _unit_of(value)
            yield f"{_SECTION[name]}={unit}"
            if name == "requires":
                yield f"After={unit}"
        elif name == "requires-mounts-for":
            yield f"RequiresMountsFor={_literal(value)}"


def _unit_of(value: str) -> str:
    """A unit, or that of a path: a device below /dev, a mount else (systemd.mount(5))."""
    if not value.startswith("/"):
        return value
    return unit_for(PurePosixPath(value), "device" if value.startswith("/dev/") else "mount")


def _time(mount: Mount, option: str, name: str) -> list[str]:
    prefix = f"x-systemd.{option}="
    found = [each.removeprefix(prefix) for each in mount.options if each.startswith(prefix)]
    return [f"{name}={seconds(text):g}s" for text in found[-1:]]


def _device_time(mount: Mount) -> Iterator[File]:
    """How long systemd waits for the device, which is a setting of the device's own unit."""
    node = device_node(mount.source)
    if (lines := _time(mount, "device-timeout", "JobRunningTimeoutSec")) and node.startswith("/"):
        folder = FOLDER / f"{unit_for(PurePosixPath(node), 'device')}.d"
        yield File(folder / "50-bedplate.conf", _text(["[Unit]", *lines]).encode())


def _swap(node: str, options: tuple[str, ...]) -> Iterator[File | Link]:
    unit = unit_for(PurePosixPath(node), "swap")
    lines = ["[Unit]", f"Description=Swap on {_literal(node)}, by the cloud-config", ""]
    lines += ["[Swap]", f"What={_literal(node)}"]
    kept = [each for each in options if _is_for_mount(each) and each not in ("nofail", "_netdev")]
    # As with mounts, swap that is not there must not keep a host from starting.
    lines.append(f"Options={_literal(','.join([*kept, 'nofail']))}")
    yield _file(unit, _text(lines))
    if "noauto" not in options:
        yield _wanted_by("swap.target", unit)


def _swap_file(swap: Swap, facts: Facts) -> SwapFile:
    known = (swap.size,) if swap.size else (facts.memory, _SWAP_LIMIT, swap.maxsize)
    pages = min(size for size in known if size) // 4096
    return SwapFile(swap.filename, pages * 4096)


def _file_systems(config: CloudConfig) -> Iterator[MakeFileSystem]:
    """Those of fs_setup, and swap on the partitions whose type says so."""
    given = [_file_system(each, config) for each in config.fs_setup]
    yield from given
    for device, disk in config.disk_setup.items():
        for number, share in enumerate(disk.layout, 1):
            node = partition_node(device, number)
            if share.swap and all(each.device != node for each in given):
                yield MakeFileSystem(node, "swap", overwrite=disk.overwrite)


def _file_system(each: FileSystem, config: CloudConfig) -> MakeFileSystem:
    device = device_node(each.device)
    disk = config.disk_setup.get(device)
    divided = disk is not None and bool(disk.layout)
    if each.partition in ("auto", "any"):
        device = partition_node(device, 1) if divided else device
    elif each.partition != "none":
        device = partition_node(device, int(each.partition))
    return MakeFileSystem(device, each.filesystem.value, each.label, each.overwrite)


def _file(unit: str, text: str) -> File:
    return File(FOLDER / unit, text.encode(), affects=(Affects(unit),))


def _wanted_by(target: str, unit: str) -> Link:
    return Link(FOLDER / f"{target}.wants" / unit, f"../{unit}")


def _literal(text: str) -> str:
    """A text in which systemd finds no specifier (systemd.unit(5), "SPECIFIERS")."""
    return text.replace("%", "%%")


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
