"""OpenStack's config drive: a disk with the label config-2."""

from cloudconfig.sources import disks
from cloudconfig.sources.base import Machine, Offer, Source

NAME = "config-drive"
LABELS = ("config-2", "CONFIG-2")


def _present(machine: Machine) -> str:
    label = machine.label(*LABELS)
    return f"a disk has the label {label.name}" if label else ""


def _look(machine: Machine) -> Offer | None:
    label = machine.label(*LABELS)
    if label is None:
        return None
    # Few machines have one, and all would spend a part of their boot on importing it.
    from cloudconfig.sources import openstack_data  # noqa: PLC0415

    with disks.files(machine, label) as read:
        return openstack_data.offer(NAME, read)


SOURCE = Source(NAME, _present, _look)
