"""Etcd in memory, with a clock that stands still until it is moved: what `Manager` needs of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hostkit.etcd import (
    Change,
    Compare,
    Delete,
    Get,
    Granted,
    KeyValue,
    LeaseNotFound,
    List,
    Operation,
    Outcome,
    Put,
    Snapshot,
)
from hostkit.etcd.values import Relation, Target


@dataclass
class EtcdModel:
    """One etcd; `now` is its own clock, in seconds, `log` all that ever changed."""

    now: float = 0.0
    revision: int = 1
    keys: dict[str, KeyValue] = field(default_factory=dict)
    ends: dict[int, float] = field(default_factory=dict)
    lengths: dict[int, int] = field(default_factory=dict)
    granted: int = 0
    transactions: int = 0
    reads: int = 0
    log: list[Change] = field(default_factory=list)

    def move(self, now: float) -> None:
        """Let time pass; leases end on the way."""
        assert now >= self.now
        self.now = now
        for lease in [each for each, end in self.ends.items() if end <= now]:
            self._end(lease)

    def extend(self) -> None:
        """A new leader gives every lease its whole time again."""
        for lease in self.ends:
            self.ends[lease] = self.now + self.lengths[lease]

    def _end(self, lease: int) -> None:
        del self.ends[lease], self.lengths[lease]
        gone = [key for key, item in self.keys.items() if item.lease == lease]
        self.revision += bool(gone)
        for key in gone:
            self._drop(key)

    def get(self, key: str) -> KeyValue | None:
        self.reads += 1
        return self.keys.get(key)

    def list(self, prefix: str) -> Snapshot:
        self.reads += 1
        found = sorted(key for key in self.keys if key.startswith(prefix))
        return Snapshot(self.revision, tuple(self.keys[key] for key in found))

    def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        return self.transact([], [Put(key, value, lease)]).revision

    def delete(self, key: str) -> bool:
        there = key in self.keys
        self.transact([], [Delete(key)])
        return there

    def transact(
        self,
        compare: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
    ) -> Outcome:
        self.transactions += 1
        succeeded = all(map(self._holds, compare))
        operations = then if succeeded else otherwise
        puts = [each for each in operations if isinstance(each, Put)]
        for put in puts:
            if put.lease and put.lease not in self.ends:
                raise LeaseNotFound(f"the lease {put.lease} has ended")
        self.revision += any(self._changes(each) for each in operations)
        for each in operations:
            if isinstance(each, Put):
                self._write(each)
            elif isinstance(each, Delete) and each.key in self.keys:
                self._drop(each.key)
        items = []
        for each in operations:
            if isinstance(each, Get):
                item = self.keys.get(each.key)
                items.append(Snapshot(self.revision, (item,) if item else ()))
            assert not isinstance(each, List)
        return Outcome(succeeded, self.revision, tuple(items))

    def _changes(self, operation: Operation) -> bool:
        return isinstance(operation, Put) or (
            isinstance(operation, Delete) and operation.key in self.keys
        )

    def _write(self, put: Put) -> None:
        before = self.keys.get(put.key)
        created, version = (
            (before.create_revision, before.version) if before else (self.revision, 0)
        )
        self.keys[put.key] = KeyValue(
            put.key, put.value, created, self.revision, version + 1, put.lease
        )
        self.log.append(Change(put.key, put.value, self.revision, put.lease))

    def _drop(self, key: str) -> None:
        del self.keys[key]
        self.log.append(Change(key, None, self.revision, 0))

    def _holds(self, compare: Compare) -> bool:
        item = self.keys.get(compare.key)
        number = 0
        if item:
            number = {
                Target.CREATE: item.create_revision,
                Target.MOD: item.mod_revision,
                Target.LEASE: item.lease,
            }[compare.target]
        if compare.relation is Relation.GREATER:
            return number > compare.number
        return number == compare.number

    def grant(self, seconds: int) -> Granted:
        self.granted += 1
        lease = 1000 + self.granted
        self.ends[lease] = self.now + seconds
        self.lengths[lease] = seconds
        return Granted(lease, seconds)

    def keep_alive(self, lease: int) -> int:
        if lease not in self.ends:
            return 0
        self.ends[lease] = self.now + self.lengths[lease]
        return self.lengths[lease]

    def revoke(self, lease: int) -> None:
        if lease in self.ends:
            self._end(lease)
