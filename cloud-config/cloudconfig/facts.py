"""What is known of a machine before its configuration is planned."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A disk or a partition; `kind` is the file system or table that is on it, if any.

    `kind` None says nothing unless udev has `probed` it; `blank` are its beginning and its end if
    they were looked at and hold nothing but zeros.
    """

    path: str
    size: int  # bytes
    kind: str | None = None
    label: str | None = None
    uuid: str | None = None
    parent: str | None = None  # the disk that a partition is on
    number: int | None = None  # of a partition
    partition_label: str | None = None
    links: tuple[str, ...] = ()  # its other names below /dev
    probed: bool = False
    blank: bool = False
    in_use: bool = False  # mounted, swapped on, or part of something else
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """One machine, observed; an empty one is that of a workstation."""

    hostname: str = ""  # what the source's metadata calls it
    public_keys: tuple[str, ...] = ()
    passwd: str = ""  # /etc/passwd and /etc/group without what a configuration added
    group: str = ""
    units: Mapping[str, str] = field(default_factory=dict)  # texts of the image's own units
    ca_bundle: bytes = field(default=b"", repr=False)
    time_zones: frozenset[str] | None = None  # the wanted one, or all; None: anything goes
    memory: int = 0  # bytes
    developer: bool = True  # whether the developer extension is there, or may be
