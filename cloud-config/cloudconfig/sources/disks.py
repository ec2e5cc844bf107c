"""Sources that are a labelled disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudconfig.sources import mounts
from cloudconfig.sources.base import Machine, Offer, Reader, Source, SourceError
from updater.errors import BedplateError

_AT = "run/bedplate-config/disk"


def source(name: str, labels: tuple[str, ...], offer: Callable[[str, Reader], Offer]) -> Source:
    """A source that is a disk with one of these labels; `offer` makes sense of its files."""

    def present(machine: Machine) -> str:
        label = machine.label(*labels)
        return f"a disk has the label {label.name}" if label else ""

    def look(machine: Machine) -> Offer | None:
        label = machine.label(*labels)
        if label is None:
            return None
        with files(machine, label) as read:
            return offer(name, read)

    return Source(name, present, look)


@contextmanager
def files(machine: Machine, device: Path) -> Iterator[Reader]:
    """Read files of `device` during the block.

    Raises:
        SourceError: it cannot be mounted, or a file of it not be read.
    """
    at = machine.root / _AT

    def read(name: str, limit: int) -> bytes | None:
        try:
            data = mounts.read_below(at, name, limit)
        except OSError as error:
            raise SourceError(f"{name}: cannot be read: {error.strerror}") from error
        if data is not None and len(data) > limit:
            raise SourceError(f"{name}: longer than the {limit} bytes that it may have")
        return data

    try:
        with machine.mount(device, at):
            yield read
    except SourceError:
        raise
    except (OSError, BedplateError) as error:
        raise SourceError(f"the disk {device.name} cannot be read: {error}") from error
