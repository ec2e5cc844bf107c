"""OpenStack's config drive: a disk with the label config-2."""

from cloudconfig.sources import disks
from cloudconfig.sources.base import Offer, Reader

LABELS = ("config-2", "CONFIG-2")


def _offer(source: str, read: Reader) -> Offer:
    # Few machines have one, and all would spend a part of their boot on importing it.
    from cloudconfig.sources import openstack_data  # noqa: PLC0415

    return openstack_data.offer(source, read)


SOURCE = disks.source("config-drive", LABELS, _offer)
