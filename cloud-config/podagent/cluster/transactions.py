"""The few writes to etcd by which hosts agree; every one is conditional, and hangs on our lease.

One that is lost to others, or that comes too late, changes nothing: what is there by then is heard,
and decided on anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hostkit.etcd import Compare, Delete, Get, KeyValue, Operation, Put, Store
from podagent.cluster.hosts import MACHINE
from podagent.cluster.plan import Claim, GiveBack, Halt, Step, TakeDown
from podagent.cluster.records import (
    HostRecord,
    RecordError,
    Report,
    SlotRecord,
    decode,
    encode,
    host_key,
    instance_id,
    manifest_key,
    report_key,
    rollout_key,
    slot_key,
)
from podagent.cluster.view import View
from updater.errors import BedplateError

_MOST_REPORTS = 40  # in one transaction: etcd takes 128 operations, --max-txn-ops


class NameTaken(BedplateError):  # noqa: N818 - the host is what is wrong
    """Another machine has this host's name."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who writes, and on which lease."""

    host: str
    lease: int


def enter(store: Store, identity: Identity, record: HostRecord) -> int:
    """Put the host's record, and the revision after that.

    Raises:
        NameTaken: it is another machine's.
        LeaseNotFound: the lease has ended.
        EtcdError: etcd does not answer, or refuses.
    """
    key = host_key(identity.host)
    put = Put(key, encode(record), identity.lease)
    compare, outcome = Compare.lease(key, identity.lease), None
    while outcome is None or not outcome.succeeded:
        outcome = store.transact([compare], [put], [Get(key)])
        if not outcome.succeeded:
            found = outcome.items[0].items
            if found and _another(found[0], record):
                raise NameTaken(
                    f"etcd has another machine as {key}; give each host a hostname of its own, or "
                    "wait until the other's lease has ended"
                )
            compare = Compare.mod_revision(key, found[0].mod_revision if found else 0)
    return outcome.revision


def _another(found: KeyValue, record: HostRecord) -> bool:
    try:
        return decode(HostRecord, found.value).labels.get(MACHINE) != record.labels.get(MACHINE)
    except RecordError:
        return False


def agree(store: Store, identity: Identity, step: Step, now: float) -> int | None:
    """Do a step of `plan.steps`: the revision after it, or None: others were faster.

    Args:
        store: etcd.
        identity: this host.
        step: what was planned.
        now: by `boottime`.

    Raises:
        LeaseNotFound: the lease has ended.
        EtcdError: etcd does not answer, or refuses. It may have been done all the same; the watch
            tells.
    """
    compare, then = _transaction(identity, step, now)
    outcome = store.transact(compare, then)
    return outcome.revision if outcome.succeeded else None


def _transaction(
    identity: Identity, step: Step, now: float
) -> tuple[list[Compare], list[Operation]]:
    match step:
        case Claim():
            return _claim(identity, step, now)
        case TakeDown():
            return _take_down(identity, step, now)
        case GiveBack():
            return _give_back(step)
        case Halt():
            return _halt(step)


def _claim(identity: Identity, step: Claim, now: float) -> tuple[list[Compare], list[Operation]]:
    key = slot_key(step.name, step.number)
    slot = SlotRecord(identity.host, step.digest, since=now)
    compare = [
        Compare.absent(key),
        Compare.mod_revision(manifest_key(step.name), step.manifest_revision),
        Compare.lease(host_key(identity.host), identity.lease),
    ]
    return compare, [_no_report(identity, step), Put(key, encode(slot), identity.lease)]


def _take_down(
    identity: Identity, step: TakeDown, now: float
) -> tuple[list[Compare], list[Operation]]:
    key = slot_key(step.name, step.number)
    slot = Put(key, encode(replace(step.slot, since=now)), identity.lease)
    compare = [Compare.mod_revision(key, step.slot_revision)]
    then: list[Operation] = [_no_report(identity, step), slot]
    if step.rollout is not None:
        agreed = rollout_key(step.name)
        compare += [
            Compare.mod_revision(agreed, step.rollout_revision),
            Compare.mod_revision(manifest_key(step.name), step.manifest_revision),
        ]
        # Last: who has heard of this write has heard of the others.
        then.append(Put(agreed, encode(step.rollout)))
    return compare, then


def _give_back(step: GiveBack) -> tuple[list[Compare], list[Operation]]:
    key = slot_key(step.name, step.number)
    compare = [
        Compare.mod_revision(key, step.slot_revision),
        # By another manifest it may be wanted again, and run by the time that this is done.
        Compare.mod_revision(manifest_key(step.name), step.manifest_revision),
    ]
    then: list[Operation] = [Delete(key)]
    if not step.manifest_revision:
        then.append(Delete(rollout_key(step.name)))
    return compare, then


def _halt(step: Halt) -> tuple[list[Compare], list[Operation]]:
    key = rollout_key(step.name)
    compare = [
        Compare.mod_revision(key, step.rollout_revision),
        Compare.mod_revision(manifest_key(step.name), step.manifest_revision),
    ]
    return compare, [Put(key, encode(step.rollout))]


def _no_report(identity: Identity, step: Claim | TakeDown) -> Delete:
    """A report from before says nothing of the replica that is to come."""
    return Delete(report_key(identity.host, instance_id(step.name, step.number)))


# --- Reports --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """One operation and what must hold for it."""

    compare: tuple[Compare, ...]
    operation: Put | Delete


def differences(view: View, identity: Identity, reports: Mapping[str, Report]) -> tuple[Write, ...]:
    """What is to be written so that etcd has these reports of this host and no others.

    Args:
        view: what is known; it must have all that we wrote ourselves.
        identity: this host.
        reports: by the instance's id.
    """
    present = {pod: entry for (host, pod), entry in view.reports.items() if host == identity.host}
    writes = []
    for pod, report in sorted(reports.items()):
        entry = present.get(pod)
        if entry is not None and entry.value == report and entry.lease == identity.lease:
            continue
        key = report_key(identity.host, pod)
        compare = [Compare.mod_revision(key, entry.revision if entry else 0)]
        compare += _same_slot(view, identity, pod, report)
        writes.append(Write(tuple(compare), Put(key, encode(report), identity.lease)))
    for pod in sorted(present.keys() - reports.keys()):
        key = report_key(identity.host, pod)
        writes.append(Write((Compare.mod_revision(key, present[pod].revision),), Delete(key)))
    return tuple(writes)


def _same_slot(view: View, identity: Identity, pod: str, report: Report) -> list[Compare]:
    """That the slot is as it was: a late report must not make a replica in change seem well."""
    if report.slot is None:
        return []
    name = pod.removesuffix(f"-{report.slot}")
    entry = view.slots.get(name, {}).get(report.slot)
    if entry is None or entry.lease != identity.lease:
        return []
    return [Compare.mod_revision(slot_key(name, report.slot), entry.revision)]


def publish(store: Store, writes: Sequence[Write]) -> int | None:
    """Write the reports that changed: the last revision, or None if some were out of date.

    Raises:
        LeaseNotFound: the lease has ended.
        EtcdError: etcd does not answer, or refuses.
    """
    revision = 0
    for start in range(0, len(writes), _MOST_REPORTS):
        some = writes[start : start + _MOST_REPORTS]
        outcome = store.transact(
            [each for write in some for each in write.compare], [each.operation for each in some]
        )
        if not outcome.succeeded:
            return None
        revision = outcome.revision
    return revision
