"""Debian packages to a tree, by mmdebstrap(1): for the tool tree, the root and extensions."""

import hashlib
import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from builder.run import CommandError, run
from builder.scratch import scratch
from updater.store import locked

# What mmdebstrap's and apt's last words mean, the most telling first.
_CAUSES = (
    ("No space left on device", "the disk is full: free some space, or set --cache and TMPDIR"),
    (
        "Unable to locate package|has no installation candidate|was not found",
        "the mirror lacks a package, named below: correct `packages`, or name another --mirror",
    ),
    (
        "Could not (connect|resolve)|Temporary failure|Failed to fetch|index files failed",
        "the Debian mirror cannot be read: check the network, or name another with --mirror",
    ),
)


class Variant(StrEnum):
    """How much of Debian comes without being named (mmdebstrap(1), VARIANTS)."""

    APT = "apt"
    ESSENTIAL = "essential"
    EXTRACT = "extract"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which packages, from where.

    Attributes:
        suite: Debian's release, such as "trixie".
        packages: names, or name=version.
        mirror: a mirror's URL or a sources.list line; None is mmdebstrap's own default.
    """

    suite: str
    variant: Variant
    packages: tuple[str, ...]
    mirror: str | None = None

    def key(self) -> str:
        """A name for what this selection gives, for caches."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def bootstrap(
    selection: Selection,
    target: Path,
    *,
    archives: Path,
    epoch: int,
    on_line: Callable[[str], None],
) -> None:
    """Write the selection's file system as a tar file to `target`, complete or not at all.

    Args:
        archives: a folder of .deb files, read before the network is asked and added to.
        epoch: SOURCE_DATE_EPOCH, no file is younger.
        on_line: called with each line of mmdebstrap's log.

    Raises:
        CommandError: a package is missing, the mirror cannot be reached, the disk is full.
    """
    archives.mkdir(parents=True, exist_ok=True)
    with scratch(target.parent, ".bootstrap-") as folder:
        unfinished = folder / "tree.tar"
        inside, outside = "/var/cache/apt/archives", shlex.quote(str(archives))
        _run(
            [
                "mmdebstrap",
                "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
                f"--variant={selection.variant}",
                f"--include={','.join(selection.packages)}",
                "--skip=essential/unlink",
                f'--setup-hook=mkdir -p "$1{inside}"',
                f"--setup-hook=sync-in {outside} {inside}",
                f"--customize-hook=sync-out {inside} {outside}",
                '--aptopt=Acquire::Retries "3"',
                # A folder of .debs is of no suite, and all of it is meant (mmdebstrap(1), SUITE).
                "" if (selection.mirror or "").startswith("deb ") else selection.suite,
                str(unfinished),
                *([selection.mirror] if selection.mirror else []),
            ],
            epoch,
            on_line,
        )
        unfinished.replace(target)
    for leftover in ("lock", "partial"):
        path = archives / leftover
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _run(argv: list[str], epoch: int, on_line: Callable[[str], None]) -> None:
    try:
        run(argv, env={"SOURCE_DATE_EPOCH": str(epoch)}, on_line=on_line)
    except CommandError as error:
        for pattern, cause in _CAUSES:
            if re.search(pattern, str(error)):
                raise CommandError(f"{cause}\n{error}") from error
        raise


def unpack(tar: Path, tree: Path, only: tuple[str, ...] = ()) -> None:
    """Unpack a bootstrapped tar into the new folder `tree`, owned by who runs this.

    Args:
        only: members such as "./var/lib/dpkg"; everything but /dev by default.
    """
    tree.mkdir(parents=True)
    run(
        ["tar", "-xf", str(tar), "-C", str(tree), "--exclude=./dev/*", "--no-same-owner"]
        + ["--no-same-permissions", *only]
    )


def bootstrapped(selection: Selection, cache: Path, *, on_line: Callable[[str], None]) -> Path:
    """The folder of a selection's tree, bootstrapped when the cache does not hold it.

    Raises:
        CommandError: the bootstrap failed.
    """
    tree = cache / "tools" / selection.key()
    if tree.is_dir():
        return tree
    # Of two that start at once, one bootstraps and the other waits for it.
    with locked(cache / "tools/.lock", wait=True):
        if tree.is_dir():
            return tree
        with scratch(tree.parent, ".tools-") as folder:
            tar, unfinished = folder / "tools.tar", folder / "tree"
            bootstrap(
                selection, tar, archives=cache / "archives", epoch=int(time.time()), on_line=on_line
            )
            unpack(tar, unfinished)
            unfinished.rename(tree)
    return tree
