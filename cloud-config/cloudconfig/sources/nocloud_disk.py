"""A vfat or ISO 9660 disk with the label CIDATA or cidata."""

from cloudconfig.sources import disks, nocloud
from cloudconfig.sources.base import Machine, Offer, Source

_NAME = "nocloud-disk"
_LABELS = ("CIDATA", "cidata")


def _present(machine: Machine) -> str:
    label = machine.label(*_LABELS)
    return f"a disk has the label {label.name}" if label else ""


def _look(machine: Machine) -> Offer | None:
    label = machine.label(*_LABELS)
    if label is None:
        return None
    with disks.files(machine, label) as read:
        return nocloud.offer(_NAME, read)


SOURCE = Source(_NAME, _present, _look)
