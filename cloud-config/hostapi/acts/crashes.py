"""Give out a crash, whole: what is in it is memory of a process or the kernel, so root reads it."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from hostapi.acts.types import Act, Request, Tell
from hostapi.crashes import walk

_BLOCK = 256 << 10  # bytes


def crash(request: Request, tell: Tell, root: Path = Path("/")) -> Mapping[str, object]:
    """Tell the file's bytes; the result has its name and how many they were.

    Raises:
        FileNotFoundError: no crash of that name is kept.
        OSError: it cannot be read.
    """
    name = str(request.arguments["name"])
    for found, opening in walk(root):
        if found.name == name:
            descriptor = opening()
            try:
                return {"name": name, "bytes": _give(descriptor, tell)}
            finally:
                os.close(descriptor)
    raise FileNotFoundError(f"no crash {name} is kept; see the list of crashes")


def _give(descriptor: int, tell: Tell) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise FileNotFoundError("that is no file")
    given = 0
    while block := os.read(descriptor, _BLOCK):
        tell.data(block)
        given += len(block)
    return given


ACTS: Mapping[str, Act] = {"crash": crash}
