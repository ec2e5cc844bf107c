"""What goes to etcd and comes from it."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it stands at some revision; `lease` is 0 without one."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Keys in their order, as of one revision of the whole store."""

    revision: int
    items: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A key was put, or deleted (`value` is None), by a person or by the end of its lease."""

    key: str
    value: bytes | None
    revision: int
    lease: int


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease; etcd may give more seconds than were asked for."""

    id: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a watch: with it, all up to the revision `reached` is told (0: no news).

    `store` is the revision that the member is at. `canceled`: etcd ends the watch, for the
    `reason` it gives, or as the history before the revision `compacted` is gone.
    """

    changes: tuple[Change, ...]
    reached: int
    store: int
    canceled: bool
    compacted: int
    reason: str


# --- Transactions ---------------------------------------------------------------------------------


class Target(enum.Enum):
    """What of a key is compared, with its name in JSON."""

    CREATE = "create_revision"
    MOD = "mod_revision"
    LEASE = "lease"


class Relation(enum.Enum):
    """How it must compare."""

    EQUAL = "EQUAL"
    GREATER = "GREATER"


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition of a transaction; made by one of its own functions."""

    key: str
    target: Target
    number: int
    relation: Relation = Relation.EQUAL

    @staticmethod
    def absent(key: str) -> "Compare":
        """There is no such key."""
        return Compare(key, Target.CREATE, 0)

    @staticmethod
    def present(key: str) -> "Compare":
        """There is such a key."""
        return Compare(key, Target.CREATE, 0, Relation.GREATER)

    @staticmethod
    def mod_revision(key: str, revision: int) -> "Compare":
        """The key was last changed at this revision; at 0: there is none."""
        return Compare(key, Target.MOD, revision)

    @staticmethod
    def lease(key: str, identity: int) -> "Compare":
        """The key hangs on this lease; on 0: on none, or there is no such key."""
        return Compare(key, Target.LEASE, identity)


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key; `lease` 0: it stays until it is deleted."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key, if there is one."""

    key: str


@dataclass(frozen=True, slots=True)
class Get:
    """Read a key."""

    key: str


@dataclass(frozen=True, slots=True)
class List:
    """Read all keys that start so."""

    prefix: str


Operation: TypeAlias = Put | Delete | Get | List


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which branch of a transaction ran, the store's revision then, and what its reads read.

    `items` has one Snapshot for each Get and List of that branch, in their order.
    """

    succeeded: bool
    revision: int
    items: tuple[Snapshot, ...]


class Store(Protocol):
    """What of etcd's `Client` is needed by those who write; tests have a model of it."""

    def transact(
        self,
        compare: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
    ) -> Outcome:
        """Do `then` if all of `compare` holds, else `otherwise`."""
