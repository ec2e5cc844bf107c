"""All that is below /bedplate/, as far as it was heard; kept up to date change by change.

One watch tells all of it in etcd's order, and within a transaction in the order of its writes:
what a decision is made from is always what was there at one time, or one transaction's first part.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from hostkit.etcd import Change, Snapshot
from podagent.cluster.records import (
    ROOT,
    HostRecord,
    R,
    RecordError,
    Report,
    RolloutRecord,
    SlotRecord,
    decode,
)
from podagent.types import Kind, Manifest
from updater.errors import BedplateError

K = TypeVar("K")
T = TypeVar("T")

Parse = Callable[[bytes, Path], Manifest]


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """What a key holds, the revision of its last change, and its lease, 0 without one."""

    value: T
    revision: int
    lease: int


@dataclass(frozen=True, slots=True)
class Workload:
    """A manifest's key: `manifest` is the last that could be used, None if none was seen.

    `refused` is why the one that is there now cannot be used: then nothing of it is changed.
    """

    name: str
    revision: int
    manifest: Manifest | None
    refused: str = ""

    @property
    def slots(self) -> int:
        """How many slots there are, as far as that is known."""
        return (self.manifest and slot_count(self.manifest)) or 0


def slot_count(manifest: Manifest) -> int | None:
    """How many slots a manifest has that comes from etcd; None: it is for all of its hosts.

    A Pod that names no host is one replica on one of them.
    """
    if manifest.kind is Kind.POD:
        return 1 if manifest.node is None else None
    return manifest.replicas


@dataclass(slots=True)
class View:
    """What is there; others read it only.

    `slots` are by workload and number, `reports` by host and pod; `broken` is why a key's value was
    passed over, by the key.
    """

    parse: Parse
    revision: int = 0
    workloads: dict[str, Workload] = field(default_factory=dict)
    hosts: dict[str, Entry[HostRecord]] = field(default_factory=dict)
    slots: dict[str, dict[int, Entry[SlotRecord]]] = field(default_factory=dict)
    reports: dict[tuple[str, str], Entry[Report]] = field(default_factory=dict)
    rollouts: dict[str, Entry[RolloutRecord]] = field(default_factory=dict)
    services: dict[str, Entry[bytes]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def listed(self, snapshot: Snapshot) -> None:
        """Begin anew with all there is."""
        manifests = self.workloads
        for table in (self.hosts, self.slots, self.reports, self.rollouts, self.services):
            table.clear()
        self.broken.clear()
        self.workloads = {}
        for item in snapshot.items:
            parts = _parts(item.key)
            if parts[:1] == ["pods"] and len(parts) == 2 and parts[1] in manifests:
                # Its last good manifest is still good to know.
                self.workloads[parts[1]] = manifests[parts[1]]
            self.changed(Change(item.key, item.value, item.mod_revision, item.lease))
        self.revision = snapshot.revision

    def changed(self, change: Change) -> None:
        """Take up one change."""
        self.revision = max(self.revision, change.revision)
        self.broken.pop(change.key, None)
        try:
            self._take(_parts(change.key), change)
        except RecordError as error:
            self.broken[change.key] = f"{change.key}: {error}"

    def held_slots(self) -> Iterator[tuple[str, int, Entry[SlotRecord]]]:
        """Every slot that somebody holds, by its workload and number."""
        for name, numbers in self.slots.items():
            for number, entry in numbers.items():
                yield name, number, entry

    def _take(self, parts: list[str], change: Change) -> None:
        match parts:
            case ["pods", name]:
                self._manifest(name, change)
            case ["hosts", host]:
                _set(self.hosts, host, change, HostRecord)
            case ["slots", name, text] if _is_number(text):
                numbers = self.slots.setdefault(name, {})
                try:
                    _set(numbers, int(text), change, SlotRecord, otherwise=_NOBODY)
                finally:
                    if not numbers:
                        del self.slots[name]
            case ["status", host, pod]:
                _set(self.reports, (host, pod), change, Report)
            case ["rollouts", name]:
                _set(self.rollouts, name, change, RolloutRecord, otherwise=_NO_ROLLOUT)
            case ["services", name]:
                self.services.pop(name, None)
                if change.value is not None:
                    self.services[name] = Entry(change.value, change.revision, change.lease)

    def _manifest(self, name: str, change: Change) -> None:
        before = self.workloads.pop(name, None)
        if change.value is None:
            return
        manifest, refused = before.manifest if before else None, ""
        try:
            found = self.parse(change.value, Path(change.key))
            if found.name != name:
                raise RecordError(f"its workload is called {found.name}; expected {name}")
            manifest = found
        except BedplateError as error:
            refused = str(error)
        self.workloads[name] = Workload(name, change.revision, manifest, refused)


# They hold their key's place, so that others do not take for free what cannot be created.
_NOBODY = SlotRecord(host="", digest="")
_NO_ROLLOUT = RolloutRecord(digest="")


def _parts(key: str) -> list[str]:
    return key.removeprefix(ROOT).split("/")


def _is_number(text: str) -> bool:
    return len(text) < 10 and text.isdecimal() and text == str(int(text))


def _set(
    table: dict[K, Entry[R]],
    key: K,
    change: Change,
    kind: type[R],
    *,
    otherwise: R | None = None,
) -> None:
    """Put or take away an entry; one that cannot be read is `otherwise`."""
    table.pop(key, None)
    if change.value is None:
        return
    try:
        table[key] = Entry(decode(kind, change.value), change.revision, change.lease)
    except RecordError:
        if otherwise is not None:
            table[key] = Entry(otherwise, change.revision, change.lease)
        raise
