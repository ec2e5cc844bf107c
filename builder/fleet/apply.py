"""Manifests into etcd and out of it: everything is looked at before anything is written."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from hostkit.document.source import Limits, read_bytes
from hostkit.etcd import Compare, Put, Store
from podagent.cluster.records import manifest_key
from podagent.cluster.view import View, Workload, slot_count
from podagent.manifest import parse
from podagent.manifest.reading import LIMITS
from podagent.types import Manifest
from updater.errors import BedplateError, InputError

STDIN = Path("-")
_STDIN_SHOWN = Path("<stdin>")


class Change(StrEnum):
    """What putting a manifest does."""

    CREATED = "created"
    CHANGED = "changed"  # its pods too: they are made anew
    RESTATED = "restated"  # its pods stay: only how many there are, for which hosts, a comment
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A manifest as it was given."""

    source: Path
    text: bytes
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Step:
    """A manifest and what its putting does; `revision` is the key's, 0 if there is none."""

    wanted: Wanted
    change: Change
    revision: int


def read_manifests(files: Iterable[Path], stdin: BinaryIO) -> tuple[Wanted, ...]:
    """The manifests of files, a workload each; `-` is stdin.

    Raises:
        InputError: some are wrong; the message has every fault, with its place and field.
    """
    found: dict[str, Wanted] = {}
    faults: list[str] = []
    for file in files:
        try:
            wanted = _read(file, stdin)
        except InputError as error:
            faults.append(str(error))
            continue
        name = wanted.manifest.name
        if name in found:
            faults.append(f"{wanted.source}: {name} is in {found[name].source} already")
        found.setdefault(name, wanted)
    if faults:
        raise InputError("\n".join(faults))
    return tuple(found.values())


def _read(file: Path, stdin: BinaryIO) -> Wanted:
    if file == STDIN:
        source, text = _STDIN_SHOWN, stdin.read(LIMITS.length + 1)
    else:
        source, text = file, read_bytes(file, Limits(length=LIMITS.length))
    return Wanted(source, text, parse(text, source))


def plan(wanted: Iterable[Wanted], view: View, texts: Mapping[str, bytes]) -> tuple[Step, ...]:
    """What putting these manifests does.

    Args:
        wanted: as `read_manifests` gives them.
        view: the workloads that are there.
        texts: their manifests as etcd has them, by key.

    Raises:
        InputError: a pod of one workload would have the name of another.
    """
    every = tuple(wanted)
    known = {name: each.manifest for name, each in view.workloads.items()}
    after = known | {each.manifest.name: each.manifest for each in every}
    if faults := [*_clashes(every, after)]:
        raise InputError("\n".join(faults))
    return tuple(_step(each, view.workloads.get(each.manifest.name), texts) for each in every)


def _step(wanted: Wanted, before: Workload | None, texts: Mapping[str, bytes]) -> Step:
    if before is None:
        return Step(wanted, Change.CREATED, 0)
    if texts.get(manifest_key(before.name)) == wanted.text:
        return Step(wanted, Change.UNCHANGED, before.revision)
    same = before.manifest is not None and before.manifest.digest == wanted.manifest.digest
    return Step(wanted, Change.RESTATED if same else Change.CHANGED, before.revision)


def _clashes(wanted: Iterable[Wanted], after: Mapping[str, Manifest | None]) -> Iterator[str]:
    """Workloads that hosts would have to refuse: replica 2 of web is called web-2 by its host."""
    sources = {each.manifest.name: each.source for each in wanted}
    for name in after:
        base, _, number = name.rpartition("-")
        manifest = after.get(base)
        source = sources.get(name) or sources.get(base)
        if manifest is None or source is None or not number.isdecimal():
            continue
        if number == str(int(number)) and int(number) < (slot_count(manifest) or 0):
            yield (
                f"{source}: the workload {name} would have the name of replica {number} of {base}; "
                "give one of them another name"
            )


def told(step: Step, *, dry_run: bool) -> str:
    """What putting a manifest has done, or would do, in a line."""
    name = step.wanted.manifest.name
    if step.change is Change.UNCHANGED:
        return f"{name}: unchanged"
    more = {
        Change.CHANGED: "; its pods are made anew",
        Change.RESTATED: "; its pods stay as they are",
    }.get(step.change, "")
    done = "changed" if step.change is Change.RESTATED else str(step.change)
    return f"{name}: {'would be ' if dry_run else ''}{done}{more}"


def put(store: Store, step: Step) -> None:
    """Put one manifest, if its key is still as it was when that was planned.

    Raises:
        BedplateError: it is not, or etcd does not take it.
    """
    if step.change is Change.UNCHANGED:
        return
    key = manifest_key(step.wanted.manifest.name)
    outcome = store.transact(
        [Compare.mod_revision(key, step.revision)], [Put(key, step.wanted.text)]
    )
    if not outcome.succeeded:
        raise BedplateError(
            f"{step.wanted.source}: {key} was changed by another just now; apply it again if it "
            "is still wanted"
        )


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """Refuse to delete what is not there, before anything is deleted.

    Raises:
        BedplateError: some are not there.
    """
    missing = [name for name in names if name not in known]
    if missing:
        near = get_close_matches(missing[0], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise BedplateError(
            f"no workload is called {', '.join(missing)}{hint}; nothing was deleted"
        )
