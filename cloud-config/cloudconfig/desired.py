"""What a host should look like: data, made by `render` and looked at by `plan`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cloudconfig.verbs import UnitCommand

if TYPE_CHECKING:
    # The model is slow to import, and a boot with a document that was read before needs none.
    from cloudconfig.model.machine import PhoneHome, PowerState
    from cloudconfig.model.storage import Share

# Bytes of one fetched file: it is held in memory, twice at most, while it is written.
FETCH_LIMIT = 128 << 20
# Whom the host believes, all in one file (update-ca-certificates(8)).
BUNDLE = PurePosixPath("/etc/ssl/certs/ca-certificates.crt")


class Reaction(Enum):
    """What a program needs to notice that its files changed."""

    RESTART = "try-restart"
    RELOAD = "reload-or-try-restart"
    START = "restart"  # though it does not run yet: a oneshot that applies what is written


@dataclass(frozen=True, slots=True)
class Affects:
    """A unit that reads a file."""

    unit: str
    reaction: Reaction = Reaction.RESTART


# The paths that a configuration wrote, with the units that read them.
Managed = Mapping[PurePosixPath, tuple[Affects, ...]]


@dataclass(frozen=True, slots=True)
class File:
    """One file, whole. `secret` ones are not shown; `affects` are the units that read it."""

    path: PurePosixPath
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    affects: tuple[Affects, ...] = ()
    secret: bool = False
    append: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    path: PurePosixPath
    target: str
    affects: tuple[Affects, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file whose content comes from a server, and must hash to `sha256`."""

    path: PurePosixPath
    url: str
    sha256: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    affects: tuple[Affects, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """Something that is done with a unit at every boot."""

    unit: str
    verb: UnitCommand


@dataclass(frozen=True, slots=True)
class Partition:
    """A disk that is partitioned, if it is empty or `overwrite` says so."""

    device: str
    shares: "tuple[Share, ...]"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class MakeFileSystem:
    """A file system that is made, if there is none or `overwrite` says so."""

    device: str
    kind: str
    label: str = ""
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class SwapFile:
    """A swap file of `size` bytes below /var."""

    path: PurePosixPath
    size: int


@dataclass(frozen=True, slots=True)
class Desired:
    """All that a document asks of a host."""

    items: tuple[File | Link | Fetched, ...] = ()
    commands: tuple[Command, ...] = ()
    partitions: tuple[Partition, ...] = ()
    file_systems: tuple[MakeFileSystem, ...] = ()
    swap: SwapFile | None = None
    power: "PowerState | None" = None
    message: str | None = None
    phone_home: "PhoneHome | None" = None

    def __add__(self, other: "Desired") -> "Desired":
        """Both together; a file that both write is the other's."""
        return Desired(
            items=_without_doubles((*self.items, *other.items)),
            commands=self.commands + other.commands,
            partitions=self.partitions + other.partitions,
            file_systems=self.file_systems + other.file_systems,
            swap=other.swap or self.swap,
            power=other.power or self.power,
            message=other.message or self.message,
            phone_home=other.phone_home or self.phone_home,
        )


def _without_doubles(items: Iterable[File | Link | Fetched]) -> tuple[File | Link | Fetched, ...]:
    # All that is appended counts.
    keyed = (
        ((item.path, at if getattr(item, "append", False) else None), item)
        for at, item in enumerate(items)
    )
    return tuple(dict(keyed).values())
