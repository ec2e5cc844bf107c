"""How long the steps of this boot took, as systemd-analyze(1) reckons it: `time` and `blame`.

The stages are the service manager's own timestamps (org.freedesktop.systemd1(5)): microseconds of
the monotonic clock, which begins with the kernel. Firmware and boot loader came before, so theirs
count backwards. A stage that this boot does not have is 0 there, and None here.
"""

from collections.abc import Iterator, Mapping

from hostapi.contract import SCHEMA
from updater import programs

SLOWEST = 40
_STAGES = tuple(
    f"{stage}TimestampMonotonic"
    for stage in ("Firmware", "Loader", "InitRD", "Userspace", "Finish")
)
_CHANGES = tuple(
    f"{change}TimestampMonotonic" for change in ("InactiveExit", "ActiveEnter", "InactiveEnter")
)


def timings() -> dict[str, object]:
    """The timings as JSON values, in seconds; the slowest units first.

    Raises:
        ProgramError: the service manager cannot be asked.
    """
    manager = programs.run(("systemctl", "show", f"--property={','.join(_STAGES)}"))
    units = programs.run(("systemctl", "show", f"--property={','.join(('Id', *_CHANGES))}", "*"))
    return to_plain(_read(manager), [_read(block) for block in units.split("\n\n")])


def _read(block: str) -> dict[str, str]:
    """Properties by name."""
    pairs = (line.partition("=") for line in block.splitlines())
    return {name: value for name, separator, value in pairs if separator}


def to_plain(
    manager: Mapping[str, str], units: list[dict[str, str]], slowest: int = SLOWEST
) -> dict[str, object]:
    """The timings of the properties that `systemctl show` gave. Pure."""
    took = sorted(_units(units), key=lambda each: (-each[1], each[0]))
    return {
        "schema": SCHEMA,
        **{name: _seconds(length) for name, length in _stages(manager).items()},
        "units": [{"unit": name, "seconds": _seconds(length)} for name, length in took[:slowest]],
    }


def _stages(manager: Mapping[str, str]) -> dict[str, int | None]:
    firmware, loader, initrd, userspace, finish = (_count(manager, name) for name in _STAGES)
    # Until then the boot is under way, and has taken nobody knows how long.
    done = finish > 0
    return {
        "firmware": firmware - loader if firmware else None,
        "loader": loader or None,
        "kernel": initrd or userspace or None,
        "initrd": userspace - initrd if initrd else None,
        "userspace": finish - userspace if done else None,
        "total": firmware + finish if done else None,
    }


def _units(units: list[dict[str, str]]) -> Iterator[tuple[str, int]]:
    """Each unit that took time, and how long: until it was active or, if never, gone again."""
    for each in units:
        begun, active, over = (_count(each, name) for name in _CHANGES)
        end = active if active >= begun else over
        if begun and end > begun:
            yield each.get("Id", ""), end - begun


def _count(properties: Mapping[str, str], name: str) -> int:
    value = properties.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() else 0


def _seconds(length: int | None) -> float | None:
    return None if length is None else round(length / 1_000_000, 3)
