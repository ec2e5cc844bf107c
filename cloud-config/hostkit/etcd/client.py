"""A client for etcd v3, by its JSON gateway."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from hostkit.etcd.access import Access, Limits
from hostkit.etcd.errors import Compacted, EtcdError, LeaseNotFound
from hostkit.etcd.gateway import (
    AnswerError,
    Json,
    flag,
    granted,
    header_revision,
    integer,
    key_bytes,
    key_json,
    member,
    outcome,
    prefix_json,
    put_json,
    snapshot,
    transaction_json,
)
from hostkit.etcd.values import Compare, Granted, KeyValue, Operation, Outcome, Put, Snapshot

if TYPE_CHECKING:
    from hostkit.etcd.watch import Watch

T = TypeVar("T")
_LIMITS = Limits()


class Client:
    """Calls to one etcd cluster, whichever of its endpoints answers.

    For any number of threads: a call waits for the one under way. A watch is its own affair, with
    a connection of its own.

    Each call is bounded by `limits` on each endpoint. Reads, and writes that mean the same when
    done twice, go to the next endpoint when one fails; a write that may have been done and must
    not be done twice ends with Unavailable instead, whose `applied` is then True: ask what is
    there, or ask again if that is safe.

    Every call raises:
        Unavailable: no endpoint served us (down, no leader, silent, garbage, over its limits).
        Refused: a certificate, the user's password or the role's permissions are wrong.
        EtcdError: etcd will not do this, ever.
    """

    def __init__(self, access: Access, *, limits: Limits = _LIMITS) -> None:
        # A command that only reads its settings imports Access from here, and not requests.
        from hostkit.etcd.transport import Endpoints, Transport  # noqa: PLC0415

        self._access = access
        self._limits = limits
        self._endpoints = Endpoints(access.endpoints)
        self._transport = Transport(access, limits, self._endpoints)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections; a call under way may end with Unavailable."""
        self._transport.close()

    def get(self, key: str) -> KeyValue | None:
        """A key as it stands now (linearizable). Idempotent."""
        found = self._call("kv/range", key_json(key), snapshot)
        return found.items[0] if found.items else None

    def list(self, prefix: str, *, revision: int = 0) -> Snapshot:
        """All keys below a prefix in their order, as of one revision (0: now). Idempotent.

        Raises:
            Compacted: that revision is not kept any more, or went while we read.
            EtcdError: there are more keys than `Limits.list_items`.
        """
        items: tuple[KeyValue, ...] = ()
        size = self._limits.page_items
        more = True
        while more:
            start = key_bytes(items[-1].key) + b"\0" if items else None
            request = prefix_json(prefix, start=start)
            request |= {"limit": str(size), "revision": str(revision)}
            page, more = self._call("kv/range", request, lambda answer: _page(answer, size))
            items += page.items
            revision = revision or page.revision
            if len(items) > self._limits.list_items:
                raise EtcdError(
                    f"etcd: more than the {self._limits.list_items} keys allowed below {prefix}"
                )
        return Snapshot(revision, items)

    def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a key, and the revision of that. Not repeated: another's may be in between.

        Raises:
            LeaseNotFound: the lease has ended.
        """
        request = put_json(Put(key, value, lease))
        return self._call("kv/put", request, header_revision, repeat=False)

    def delete(self, key: str) -> bool:
        """Delete a key; whether there was one. Not repeated: it may be another's by then."""
        return self._call(
            "kv/deleterange",
            key_json(key),
            lambda answer: integer(answer, "deleted") > 0,
            repeat=False,
        )

    def transact(
        self,
        compare: Iterable[Compare],
        then: Iterable[Operation],
        otherwise: Iterable[Operation] = (),
    ) -> Outcome:
        """Do `then` if all of `compare` hold, else `otherwise`, as one. Not repeated.

        One whose `compare` holds no more once it is done (a key is absent, or was changed last at
        some revision) may be asked again after an Unavailable: whoever's it was, the `otherwise`
        that reads the key tells.

        Raises:
            LeaseNotFound: a lease of a Put has ended; nothing was done.
        """
        request = transaction_json(compare, then, otherwise)
        return self._call("kv/txn", request, outcome, repeat=False)

    def grant(self, seconds: int) -> Granted:
        """A new lease. Repeated when need be: a lost one holds no key, and ends by itself."""
        return self._call("lease/grant", {"TTL": str(seconds), "ID": "0"}, granted)

    def keep_alive(self, lease: int) -> int:
        """Let a lease begin its time anew; its seconds, or 0: it has ended. Idempotent.

        The time began at the earliest when this was called.
        """
        return self._call(
            "lease/keepalive",
            {"ID": str(lease)},
            lambda answer: max(0, integer(member(answer, "result"), "TTL")),
        )

    def time_to_live(self, lease: int) -> int:
        """The seconds that a lease has left, or -1: it has ended. Idempotent."""
        return self._call(
            "lease/timetolive", {"ID": str(lease)}, lambda answer: integer(answer, "TTL")
        )

    def revoke(self, lease: int) -> None:
        """End a lease, and delete its keys; nothing if it has ended. Idempotent."""
        with suppress(LeaseNotFound):
            self._call("lease/revoke", {"ID": str(lease)}, header_revision)

    def watch(self, prefix: str, *, after: int) -> "Watch":
        """What changes below a prefix after a revision; see `Watch`, which is a context manager.

        It has begun when this returns. Give it the revision of a Snapshot, or that of a `Watch`
        that has ended; wait a little between two that end with Unavailable.

        Raises:
            Compacted: here or while it runs: the changes since then are not kept, or etcd was
                restored to an earlier state; list, and watch after that.
        """
        from hostkit.etcd.transport import Transport  # noqa: PLC0415 - as above
        from hostkit.etcd.watch import Watch  # noqa: PLC0415

        watch = Watch(Transport(self._access, self._limits, self._endpoints), prefix, after)
        if watch.store < after:
            # A member may be behind the others, their majority may not.
            try:
                self._expect_history(prefix, after)
            except BaseException:
                watch.close()
                raise
        return watch

    def _expect_history(self, prefix: str, after: int) -> None:
        newest = self._call("kv/range", {**prefix_json(prefix), "limit": "1"}, header_revision)
        if newest < after:
            raise Compacted(
                f"etcd: it is at revision {newest} and was at {after}: it is another cluster, or "
                "was restored; list anew",
                newest,
            )

    def _call(
        self, path: str, request: Json, read: Callable[[Json], T], *, repeat: bool = True
    ) -> T:
        with self._lock:
            return self._transport.call(path, request, read, repeat=repeat)


def _page(answer: Json, size: int) -> tuple[Snapshot, bool]:
    """A part of a list, and whether there are more."""
    page = snapshot(answer)
    more = flag(answer, "more")
    if more and len(page.items) != size:
        raise AnswerError(f"{len(page.items)} keys of more, asked for {size}")
    return page, more
