"""What the kernel knows of a disk's partitions; that it reads the table anew is not to be had.

It does that (BLKRRPART) only while no partition is in use, and the root always is. Source:
linux/blkpg.h.
"""

import errno
import fcntl
import os
import struct
from array import array
from pathlib import Path

_BLKPG = 0x1269  # _IO(0x12, 105)
_DELETE = 2
# op, flags, length and address of the partition: start, length, number, two names
_ARGUMENT = struct.Struct("@iiiP")
_PARTITION = struct.Struct("@qqi64s64s4x")


def forget(disk: Path, number: int) -> None:
    """Let the kernel know partition `number` no more; nothing if it does not know it.

    Raises:
        OSError: it is in use (EBUSY), or the disk cannot be opened.
    """
    partition = array("B", _PARTITION.pack(0, 0, number, b"", b""))
    address, length = partition.buffer_info()
    descriptor = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _BLKPG, _ARGUMENT.pack(_DELETE, 0, length, address))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise OSError(
                error.errno, f"partition {number} stays: {error.strerror}", str(disk)
            ) from error
    finally:
        os.close(descriptor)
