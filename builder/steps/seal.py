"""Sealing: the root as EROFS, and the dm-verity tree that proves every block of it."""

import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from builder.run import Sandbox
from updater.errors import BedplateError

# One salt for all releases, so that a block that did not change keeps its hash and a host
# can find it in the slot it runs. A salt defends against nothing here: the tree is public.
SALT = "00" * 32
_NAMESPACE = uuid.UUID("6b0d3c0e-52c6-4d6c-9a55-6f3a6d0f9e11")
_ROOT_HASH = re.compile(r"^Root hash:\s+([0-9a-f]{64})$", re.MULTILINE)


class SealError(BedplateError):
    """The root could not be sealed."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A sealed root: its size in 4 KiB blocks and the hash at the top of its tree."""

    root_hash: str
    blocks: int


def stable_uuid(name: str) -> str:
    """A UUID that depends on `name` alone."""
    return str(uuid.uuid5(_NAMESPACE, name))


def seal(tree: Path, root: Path, verity: Path, tools: Sandbox, *, name: str, epoch: int) -> Seal:
    """Write `tree` as an EROFS image to `root` and its hash tree to `verity`.

    Plain EROFS, no compression and no tail packing across files: an unchanged file keeps its
    blocks from one release to the next.
    """
    tools.run(
        ["mkfs.erofs", "--quiet", "--all-root", f"-T{epoch}", f"-U{stable_uuid(name)}"]
        + ["-b4096", str(root), str(tree)]
    )
    output = tools.run(
        ["veritysetup", "format", str(root), str(verity), f"--salt={SALT}", "--hash=sha256"]
        + ["--data-block-size=4096", "--hash-block-size=4096"]
        + [f"--uuid={stable_uuid(f'{name} verity')}"]
    )
    match = _ROOT_HASH.search(output)
    if not match:
        raise SealError(f"veritysetup printed no root hash:\n{output}")
    return Seal(match[1], root.stat().st_size // 4096)
