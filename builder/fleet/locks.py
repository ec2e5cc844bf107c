"""Reboot locks as they stand in etcd, and which holder a person means. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from builder.fleet.safe import clean
from builder.sheets import BAD, BUSY, Row, Sheet
from hostkit.etcd import KeyValue
from rebootlock.semaphore import (
    Semaphore,
    SemaphoreError,
    decode,
    decode_record,
    group_of,
    record_key,
)
from updater.errors import BedplateError, InputError
from updater.strict import render_time


@dataclass(frozen=True, slots=True)
class HolderRow:
    """Who holds a lock; `since` is RFC 3339 in UTC, empty with the rest where nobody said."""

    host: str
    machine_id: str
    since: str
    version: str


@dataclass(frozen=True, slots=True)
class LockRow:
    """The lock of a group; "" is the group of hosts that name none."""

    group: str
    max: int
    available: int
    holders: tuple[HolderRow, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """One holding: by which machine id, of which group's lock."""

    group: str
    holder: str
    host: str


def locks(items: Iterable[KeyValue], group: str | None) -> tuple[LockRow, ...]:
    """Every lock of what is below `semaphore.ROOT`, or one group's, which need not be there yet."""
    values = {item.key: item.value for item in items}
    found = {
        name: _lock(name, key, values)
        for key in values
        if (name := group_of(key)) is not None and group in (None, name)
    }
    if group is not None and not found:
        return (_row(group, Semaphore(), values),)
    return tuple(found[name] for name in sorted(found))


def _lock(group: str, key: str, values: Mapping[str, bytes]) -> LockRow:
    try:
        return _row(group, decode(values[key], key), values)
    except SemaphoreError as error:
        return LockRow(group, 0, 0, (), clean(str(error)))


def _row(group: str, semaphore: Semaphore, values: Mapping[str, bytes]) -> LockRow:
    records = (
        decode_record(values.get(record_key(group, each)), each) for each in semaphore.holders
    )
    holders = tuple(
        HolderRow(
            each.hostname,
            each.id,
            "" if each.since is None else render_time(datetime.fromtimestamp(each.since, UTC)),
            each.version,
        )
        for each in records
    )
    return LockRow(group, semaphore.max, semaphore.available, holders)


def meant(rows: Iterable[LockRow], host: str) -> Held:
    """The one holding of a host, which is named as it calls itself or by its machine id.

    Raises:
        BedplateError: it holds no lock.
        InputError: several hosts or groups are meant.
    """
    every = list(_held(rows))
    found = [each for each in every if host in (each.holder, each.host)]
    if not found:
        names = ", ".join(clean(each.host or each.holder) for each in every) or "nobody"
        raise BedplateError(f"{host} holds no reboot lock; who does: {names}")
    if len(found) > 1:
        listed = "; ".join(f"{clean(each.holder)} in {named(each.group)}" for each in found)
        raise InputError(
            f"{host}: several are meant: {listed}; give a machine id, and --group for the group"
        )
    return found[0]


def _held(rows: Iterable[LockRow]) -> Iterator[Held]:
    for row in rows:
        for each in row.holders:
            yield Held(row.group, each.machine_id, each.host)


def named(group: str) -> str:
    """A group, for people."""
    return f"the group {clean(group)}" if group else "the group of hosts that name none"


def sheet(rows: Sequence[LockRow]) -> Sheet:
    """A line a holder, and one for each lock that nobody holds."""
    return Sheet(
        "Reboot locks",
        ("group", "held", "max", "host", "since", "version", "machine id"),
        tuple(line for row in rows for line in _lines(row)),
    )


def _lines(row: LockRow) -> Iterator[Row]:
    first = (clean(row.group), str(row.max - row.available), str(row.max))
    if row.problem:
        yield Row((clean(row.group), "", "", "", "", "", row.problem), BAD)
    elif not row.holders:
        yield Row((*first, "", "", "", ""))
    for each in row.holders:
        words = (each.host, each.since, each.version, clean(each.machine_id))
        yield Row((*first, *words), BUSY)
