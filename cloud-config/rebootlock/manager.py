"""The few writes to etcd by which hosts agree on the lock: each only if nobody else was faster."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hostkit.etcd import Compare, Delete, Get, Operation, Put, Store
from rebootlock.semaphore import (
    Holder,
    Semaphore,
    decode,
    decode_record,
    encode,
    encode_record,
    record_key,
    semaphore_key,
)
from updater.errors import BedplateError

_TRIES = 10
_MOST_RECORDS = 64  # in one transaction: etcd takes 128 operations, --max-txn-ops


class Contended(BedplateError):  # noqa: N818 - the lock is what is wrong
    """Others changed the lock all the time; ask again later."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A lock as it stands: who holds it is in `holders`, in the semaphore's order."""

    semaphore: Semaphore
    holders: tuple[Holder, ...]

    def held_by(self, holder: str) -> bool:
        """Whether this machine id holds it."""
        return holder in self.semaphore.holders


class Manager:
    """The lock of one group; every call raises what `Store` raises, and SemaphoreError."""

    def __init__(self, store: Store, group: str) -> None:
        self._store = store
        self._group = group
        self._key = semaphore_key(group)

    def look(self) -> Standing:
        """Who holds the lock."""
        semaphore, _ = self._read()
        return self._standing(semaphore)

    def take(self, holder: Holder) -> Standing:
        """Take the lock if there is room; the lock as it is then tells whether it is held.

        Who holds it already, from before a crash say, has it.

        Raises:
            Contended: others were faster, again and again.
        """
        put = Put(record_key(self._group, holder.id), encode_record(holder))
        _, after = self._change(lambda known: known.taken_by(holder.id), [put])
        return self._standing(after)

    def give_back(self, holder: str) -> bool:
        """Give the lock back for a machine id; whether it was held.

        Raises:
            Contended: others were faster, again and again.
        """
        gone = Delete(record_key(self._group, holder))
        before, after = self._change(lambda known: known.without(holder), [gone])
        return before != after

    def set_max(self, number: int) -> int:
        """Say how many hosts may hold the lock at once; how many might before.

        Those who hold it keep it, also where they are more than that.

        Raises:
            Contended: others were faster, again and again.
        """
        before, _ = self._change(lambda known: Semaphore(number, known.holders), [])
        return before.max

    def _change(
        self, step: Callable[[Semaphore], Semaphore], more: Iterable[Operation]
    ) -> tuple[Semaphore, Semaphore]:
        """Take a step, with what goes with it; the lock before and after. Nothing is no write."""
        for _ in range(_TRIES):
            before, revision = self._read()
            after = step(before)
            if after == before:
                return before, after
            done = self._store.transact(
                [Compare.mod_revision(self._key, revision)],
                [Put(self._key, encode(after)), *more],
            )
            if done.succeeded:
                return before, after
        raise Contended(f"etcd: {self._key} changes all the time; try again")

    def _read(self) -> tuple[Semaphore, int]:
        """The semaphore and its revision; where there is none, anybody may make it."""
        (found,) = self._store.transact([], [Get(self._key)]).items
        if not found.items:
            return Semaphore(), 0
        (item,) = found.items
        return decode(item.value, self._key), item.mod_revision

    def _standing(self, semaphore: Semaphore) -> Standing:
        asked = semaphore.holders[:_MOST_RECORDS]
        gets = [Get(record_key(self._group, each)) for each in asked]
        found = self._store.transact([], gets).items if gets else ()
        values = {
            holder: snapshot.items[0].value
            for holder, snapshot in zip(asked, found, strict=True)
            if snapshot.items
        }
        holders = (decode_record(values.get(each), each) for each in semaphore.holders)
        return Standing(semaphore, tuple(holders))
