"""This host's part in the cluster: its lease, what it knows, what it writes; kept up with etcd.

Everything here runs on the agent's own thread, and nothing waits: one worker renews the lease,
another writes, a follower hears of changes, and what they find comes back through `post`.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import SystemRandom

from hostkit.etcd import Access, Change, Client, EtcdError, LeaseNotFound, Snapshot, Store
from hostkit.following import Follower, Listener, Post
from hostkit.timing import Timing, boottime
from hostkit.worker import Worker
from podagent.cluster import tenure as life
from podagent.cluster.plan import Me, SlotId, Step, steps
from podagent.cluster.records import ROOT, HostRecord, Report
from podagent.cluster.tenure import LIMITS, TIMING, Tenure
from podagent.cluster.transactions import (
    Identity,
    Write,
    agree,
    differences,
    enter,
    publish,
)
from podagent.cluster.view import Parse, View
from updater.errors import BedplateError
from updater.files import write_atomic

_SMALL_FILE = 64 * 1024
_AFTER_FAILURE = 2.0  # seconds until the next try to write
_AFTER_LOSS = 0.2  # likewise: what others wrote is likely to be heard by then
_RANDOM = SystemRandom()


class Member:
    """What is known of the cluster, and what we hold of it.

    `faults` has why something is not as it should be, by its subject; `dirty` is set when what
    this host is to do may be something else by now.
    """

    def __init__(
        self,
        access: Access,
        host: str,
        saved: Path,
        *,
        parse: Parse,
        post: Post,
        timing: Timing = TIMING,
    ) -> None:
        """As `host`, whose lease's number is kept in the file `saved` below /run."""
        self.view = View(parse)
        self.faults: dict[str, str] = {}
        self.dirty = True
        self._host = host
        self._saved = saved
        self._timing = timing
        self.tenure = self._restored()
        self._vacant = False
        self._written = 0
        self._write_at = 0.0
        self._lease_store = Client(access, limits=LIMITS)
        self._store = Client(access)
        self._renewing = Worker("lease", post)
        self._writing = Worker("etcd", post)
        listener = Listener(self._listed, self._changed, self._trouble)
        self._follower = Follower(self._store, ROOT, listener, post)

    def close(self) -> None:
        """Hear and write no more; what we hold stays ours until its lease ends."""
        self._follower.stop()
        self._renewing.close()
        self._writing.close()
        self._store.close()
        self._lease_store.close()

    def leave(self) -> None:
        """Give everything back, once no replica of ours is left, and close."""
        before = self.tenure
        self._hold(Tenure())
        if before.lease:
            # Without etcd the lease ends by itself.
            with suppress(EtcdError):
                self._lease_store.revoke(before.lease)
        self.close()

    # --- Our lease --------------------------------------------------------------------------------

    def may_run(self) -> bool:
        """Whether replicas may run now."""
        return self.tenure.may_run(boottime())

    def next_time(self) -> float:
        """When there is something to do, by `boottime`: a renewal, the fence, a write anew."""
        now = boottime()
        if self._renewing.busy or not (self.tenure.lease or self._vacant):
            soon = self.tenure.until if self.tenure.may_run(now) else math.inf
        else:
            soon = self.tenure.next_time(now)
        return min(soon, self._write_at) if self._write_at > now else soon

    def tend(self, *, vacant: bool) -> None:
        """Renew the lease if it is time; to be called each turn.

        Args:
            vacant: whether no replica is on this host. Only then a new lease is asked for: an agent
                that is started again must not take for its own what ran under a former one.
        """
        self._vacant = vacant
        if self._renewing.busy or boottime() < self.tenure.due:
            return
        if self.tenure.lease or vacant:
            asked = self.tenure
            work = partial(life.tend, self._lease_store, self._timing, asked, boottime, _RANDOM)
            self._renewing.do(work, partial(self._tended, asked))

    def hurry(self) -> None:
        """See to our lease at once, and to what we wrote."""
        self.tenure = life.hurry(self.tenure, boottime())
        self._write_at = 0.0

    def _tended(self, asked: Tenure, found: Tenure) -> None:
        hurried = self.tenure is not asked
        self._hold(found)
        if hurried:
            # What called for haste may have come after etcd was asked.
            self.hurry()

    def _hold(self, found: Tenure) -> None:
        before, self.tenure = self.tenure, found
        now = boottime()
        if before.lease != found.lease or before.may_run(now) != found.may_run(now):
            self.dirty = True
        _tell(self.faults, "lease", found.problem or "")
        try:
            # Before any claim: whoever is started after us must know when to stop.
            write_atomic(self._saved, life.save(found), mode=0o600)
            _tell(self.faults, "state", "")
        except OSError as error:
            _tell(self.faults, "state", f"cannot write {self._saved}: {error.strerror}")

    def _restored(self) -> Tenure:
        try:
            with self._saved.open("rb") as stream:
                return life.restore(self._timing, stream.read(_SMALL_FILE), boottime())
        except (OSError, ValueError):
            return Tenure()

    # --- What we write ----------------------------------------------------------------------------

    def write(
        self,
        record: HostRecord,
        reports: Mapping[str, Report],
        present: Iterable[SlotId],
        *,
        draining: bool = False,
        forced: bool = False,
        claims: bool = True,
    ) -> bool:
        """Bring etcd to what is so here, and agree on what is to be; whether that was possible now.

        Nothing is written before all that we wrote is heard, so that no decision lacks it. To be
        called each turn, until it was possible and as long as something changes.

        Args:
            record: this host's.
            reports: on all pods of this host, by the instance's id.
            present: the slots that podman has a pod for here, whatever it does.
            draining: whether replicas are to leave.
            forced: whether they leave even if too many are down then.
            claims: whether free slots are taken.
        """
        if not self._may_write():
            return False
        identity = Identity(self._host, self.tenure.lease)
        known = self.view.hosts.get(self._host)
        there = known is not None and known.value == record and known.lease == identity.lease
        me = Me(self._host, identity.lease, draining, forced, claims)
        job = _Job(
            identity,
            None if there else record,
            differences(self.view, identity, reports),
            steps(self.view, me, present),
        )
        if job.record or job.reports or job.steps:
            self._writing.do(partial(_do, self._store, job), partial(self._done, identity.lease))
        return True

    def _may_write(self) -> bool:
        now = boottime()
        heard = self.view.revision > 0 and self.view.revision >= self._written
        return heard and not self._writing.busy and now >= self._write_at and self.may_run()

    def _done(self, lease: int, found: "_Done") -> None:
        self._written = max(self._written, found.revision)
        self.dirty = True
        _tell(self.faults, "writes", str(found.error or ""))
        if isinstance(found.error, LeaseNotFound) and lease == self.tenure.lease:
            self.tenure = life.hurry(self.tenure, boottime())
        if found.error:
            self._write_at = boottime() + _AFTER_FAILURE
        elif found.lost:
            self._write_at = boottime() + _AFTER_LOSS

    # --- What is heard ----------------------------------------------------------------------------

    def _listed(self, snapshot: Snapshot) -> None:
        self.view.listed(snapshot)
        # After etcd was restored to an earlier state, what we wrote may never be heard.
        self._written = min(self._written, snapshot.revision)
        self.dirty = True

    def _changed(self, change: Change) -> None:
        self.view.changed(change)
        self.dirty = True

    def _trouble(self, reason: str) -> None:
        before = self.faults.get("watch")
        _tell(self.faults, "watch", reason)
        if before and not reason:
            self.hurry()


def _tell(faults: dict[str, str], subject: str, reason: str) -> None:
    faults.pop(subject, None)
    if reason:
        faults[subject] = reason


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be written, in this order."""

    identity: Identity
    record: HostRecord | None
    reports: tuple[Write, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class _Done:
    """How far that went: the last revision, whether others were faster, what failed."""

    revision: int
    lost: bool = False
    error: BedplateError | None = None


def _do(store: Store, job: _Job) -> _Done:
    """Write until something is lost or fails."""
    revision = 0
    try:
        if job.record is not None:
            revision = enter(store, job.identity, job.record)
        if job.reports:
            found = publish(store, job.reports)
            if found is None:
                return _Done(revision, lost=True)
            revision = found
        for step in job.steps:
            found = agree(store, job.identity, step, boottime())
            if found is None:
                return _Done(revision, lost=True)
            revision = found
    except BedplateError as error:
        return _Done(revision, error=error)
    return _Done(revision)
