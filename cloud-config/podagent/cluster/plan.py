"""What this host is to do about slots now, from what is known: pure.

    verdicts   for podman: which replicas run, which end, which are killed
    steps      for etcd: slots to claim, to change, to leave, to give back

One rule holds the two together: a replica runs only in a slot that hangs on our own lease, and a
slot is given back only when its replica is gone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from podagent.cluster import rollout
from podagent.cluster.placement import claims, matches
from podagent.cluster.records import RolloutRecord, SlotRecord, instance_id
from podagent.cluster.view import Entry, View, Workload

SlotId = tuple[str, int]  # a workload's name and a slot's number


@dataclass(frozen=True, slots=True)
class Me:
    """This host. `draining`: replicas leave; `forced`: even if too many are down then.

    `claims`: it takes free slots; not while hosts that came with it may not be heard of yet.
    """

    name: str
    lease: int
    draining: bool = False
    forced: bool = False
    claims: bool = True


class Verdict(StrEnum):
    """What is to become of a replica on this host."""

    RUN = "run"  # in the version that the slot's record says; as it is, while that is not known
    STOP = "stop"  # with its grace period
    KILL = "kill"  # at once: its slot may be another host's


@dataclass(frozen=True, slots=True)
class Claim:
    """Take a free slot."""

    name: str
    number: int
    digest: str
    manifest_revision: int


@dataclass(frozen=True, slots=True)
class TakeDown:
    """End a replica on purpose, once `slot` is agreed on: to change it, or to leave.

    `rollout` is None where nobody is asked.
    """

    name: str
    number: int
    slot: SlotRecord
    slot_revision: int
    manifest_revision: int
    rollout: RolloutRecord | None
    rollout_revision: int


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Let others have a slot.

    `manifest_revision` is 0 if the manifest is gone; then the rollout record goes too.
    """

    name: str
    number: int
    slot_revision: int
    manifest_revision: int


@dataclass(frozen=True, slots=True)
class Halt:
    """Change no further replica."""

    name: str
    manifest_revision: int
    rollout: RolloutRecord
    rollout_revision: int


Step = Claim | TakeDown | GiveBack | Halt


def verdicts(
    view: View, me: Me, present: Iterable[SlotId], *, may_run: bool
) -> dict[SlotId, Verdict]:
    """What is to become of the replicas that are here, and of those that should be.

    Args:
        view: what is known.
        me: this host.
        present: the slots that podman has a pod for here, whatever it does.
        may_run: as our `Tenure` says.
    """
    if not may_run:
        return dict.fromkeys(present, Verdict.KILL)
    if not view.revision:
        # An agent that was started again while etcd is away: the lease is still ours.
        return dict.fromkeys(present, Verdict.RUN)
    found: dict[SlotId, Verdict] = dict.fromkeys(present, Verdict.KILL)
    for name, number, entry in _ours(view, me):
        wanted = _wanted(view, name, number, entry.value)
        found[name, number] = Verdict.RUN if wanted else Verdict.STOP
    return found


def steps(view: View, me: Me, present: Iterable[SlotId]) -> tuple[Step, ...]:
    """What to agree on in etcd; in this order, and no further once one was lost to others.

    Args:
        view: what is known; it must have all that we wrote ourselves.
        me: this host, with a lease.
        present: as in `verdicts`.
    """
    ours = list(_ours(view, me))
    here = frozenset(present)
    return (
        *_given_back(view, ours, here),
        *_halts(view, me, ours),
        *_taken_down(view, me, ours),
        *_claimed(view, me),
    )


def _ours(view: View, me: Me) -> Iterator[tuple[str, int, Entry[SlotRecord]]]:
    """The slots on our own lease; without a lease none."""
    for name, number, entry in view.held_slots():
        if entry.lease == me.lease != 0:
            yield name, number, entry


def _wanted(view: View, name: str, number: int, slot: SlotRecord) -> bool:
    """Whether a slot of ours is to have a replica."""
    workload = view.workloads.get(name)
    if workload is None or slot.leaving:
        return False
    # One whose manifest we never understood stays as it is.
    return workload.manifest is None or number < workload.slots


def _given_back(
    view: View, ours: list[tuple[str, int, Entry[SlotRecord]]], here: frozenset[SlotId]
) -> Iterator[GiveBack]:
    for name, number, entry in ours:
        if (name, number) not in here and not _wanted(view, name, number, entry.value):
            workload = view.workloads.get(name)
            yield GiveBack(name, number, entry.revision, workload.revision if workload else 0)


def _halts(view: View, me: Me, ours: list[tuple[str, int, Entry[SlotRecord]]]) -> Iterator[Halt]:
    """Tell of replicas of ours in the new version that do not become ready."""
    for name, number, entry in ours:
        workload = view.workloads.get(name)
        if workload is None or workload.manifest is None or workload.refused:
            continue
        digest = workload.manifest.digest
        pod = instance_id(name, number)
        report = view.reports.get((me.name, pod))
        if report is None or not report.value.stuck or report.value.digest != digest:
            continue
        if entry.value.digest == digest and _still_changing(view, workload):
            record = RolloutRecord(digest, f"{pod} on {me.name}: {report.value.stuck}")
            _, revision = rollout.record_of(view, name)
            yield Halt(name, workload.revision, record, revision)


def _still_changing(view: View, workload: Workload) -> bool:
    return bool(rollout.outdated(view, workload)) and not rollout.halted(view, workload)


def _taken_down(
    view: View, me: Me, ours: list[tuple[str, int, Entry[SlotRecord]]]
) -> Iterator[TakeDown]:
    """At most one replica of each workload at a time."""
    by_name: dict[str, dict[int, Entry[SlotRecord]]] = {}
    for name, number, entry in ours:
        if _wanted(view, name, number, entry.value):
            by_name.setdefault(name, {})[number] = entry
    for name, slots in sorted(by_name.items()):
        workload = view.workloads[name]
        fallen = rollout.down(view, workload)
        # What is down already costs nothing more.
        for number in sorted(slots, key=lambda each: (each not in fallen, each)):
            step = _take_down(view, me, workload, number, slots[number])
            if step is not None:
                yield step
                break


def _take_down(
    view: View, me: Me, workload: Workload, number: int, entry: Entry[SlotRecord]
) -> TakeDown | None:
    record, revision = rollout.record_of(view, workload.name)
    forced = False
    if me.draining or _misplaced(view, me, workload):
        slot = SlotRecord(me.name, entry.value.digest, leaving=True)
        forced = me.draining and me.forced
    else:
        digest = _next_digest(view, workload, entry.value.digest)
        if digest is None:
            return None
        slot, record = SlotRecord(me.name, digest), RolloutRecord(digest)
    if not forced and not rollout.may_take_down(view, workload, number):
        return None
    agreed = None if forced else record
    return TakeDown(
        workload.name, number, slot, entry.revision, workload.revision, agreed, revision
    )


def _next_digest(view: View, workload: Workload, digest: str) -> str | None:
    """What a replica of this digest is to be changed to."""
    if workload.manifest is None or workload.refused or rollout.halted(view, workload):
        return None
    return workload.manifest.digest if workload.manifest.digest != digest else None


def _misplaced(view: View, me: Me, workload: Workload) -> bool:
    """Whether the workload is not for this host any more."""
    mine = view.hosts.get(me.name)
    if mine is None or mine.lease != me.lease or workload.manifest is None or workload.refused:
        return False
    return not matches(workload.manifest, mine.value.labels)


def _claimed(view: View, me: Me) -> Iterator[Claim]:
    mine = view.hosts.get(me.name)
    if me.draining or not me.claims or mine is None or mine.lease != me.lease:
        return
    for name, number in claims(view, me.name):
        workload = view.workloads[name]
        if workload.manifest is not None:
            yield Claim(name, number, workload.manifest.digest, workload.revision)
