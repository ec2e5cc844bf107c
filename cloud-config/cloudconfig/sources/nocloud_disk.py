"""A vfat or ISO 9660 disk with the label CIDATA or cidata."""

from cloudconfig.sources import disks, nocloud

SOURCE = disks.source("nocloud-disk", ("CIDATA", "cidata"), nocloud.offer)
