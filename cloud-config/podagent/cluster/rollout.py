"""Rolling change of a workload's replicas: who may take his down, and how far it is. Pure.

A replica is taken down on purpose, to change it or to give its slot back, only while fewer than
`maxUnavailable` of all slots are down. The host says so in a transaction that writes the workload's
rollout record and requires it to be the one that the decision was made from: of hosts that decide
at once one goes, and the others look again. From then on the slot's record has the new digest, so
that the slot counts as down until its host reports a replica of that digest as available.

The host of a replica that does not become ready writes why into the rollout record, and no further
one is changed to that digest. Another manifest goes on, the old one goes back: what is down already
may be changed at once.
"""

from dataclasses import dataclass
from enum import StrEnum

from podagent.cluster.placement import homeless
from podagent.cluster.records import RolloutRecord, SlotRecord, instance_id
from podagent.cluster.view import View, Workload
from podagent.phase import Phase

# Kubernetes' progressDeadlineSeconds, and a minReadySeconds of our own: a container without a
# readiness probe is ready as soon as it runs, also if it ends a second later.
PROGRESS_SECONDS = 600.0
AVAILABLE_SECONDS = 10.0


def available(ready_since: float | None, now: float) -> bool:
    """Whether a replica that is ready since then counts as up; None: it is not ready."""
    return ready_since is not None and now >= ready_since + AVAILABLE_SECONDS


def stuck(slot: SlotRecord, *, is_available: bool, crashing: str, now: float) -> str:
    """Why a slot's replica is not expected to become ready, or nothing.

    Args:
        slot: our own slot's record.
        is_available: as `available` says.
        crashing: why its containers wait for their next start, if they do.
        now: by `boottime`.
    """
    if is_available:
        return ""
    if crashing:
        return crashing
    late = now >= slot.since + PROGRESS_SECONDS
    return f"not ready within {PROGRESS_SECONDS:.0f} s" if late else ""


def down(view: View, workload: Workload) -> frozenset[int]:
    """The slots that have no replica which is up: free ones, those in change, those not ready."""
    return frozenset(
        number for number in range(workload.slots) if not _up(view, workload.name, number)
    )


def may_take_down(view: View, workload: Workload, number: int) -> bool:
    """Whether the replica of a slot may be ended on purpose."""
    if workload.manifest is None:
        return False
    fallen = down(view, workload)
    return number in fallen or len(fallen) < workload.manifest.max_unavailable


def halted(view: View, workload: Workload) -> str:
    """Why no further replica is changed to the present manifest, or nothing."""
    record = view.rollouts.get(workload.name)
    if record is None or workload.manifest is None:
        return ""
    return record.value.halted if record.value.digest == workload.manifest.digest else ""


def outdated(view: View, workload: Workload) -> tuple[int, ...]:
    """The slots whose hosts run another digest than the present manifest's."""
    if workload.manifest is None:
        return ()
    return tuple(
        number
        for number, entry in sorted(view.slots.get(workload.name, {}).items())
        if number < workload.slots and entry.value.digest != workload.manifest.digest
    )


def record_of(view: View, name: str) -> tuple[RolloutRecord, int]:
    """The rollout record and its revision; an empty one at 0 if there is none."""
    entry = view.rollouts.get(name)
    return (entry.value, entry.revision) if entry else (RolloutRecord(""), 0)


class Progress(StrEnum):
    """How far a workload is."""

    COMPLETE = "complete"
    PROGRESSING = "progressing"
    HALTED = "halted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Summary:
    """A workload with slots, for people; `why` is what it waits for."""

    name: str
    progress: Progress
    replicas: int
    held: int
    updated: int
    available: int
    why: str = ""


def summary(view: View, workload: Workload) -> Summary:
    """How far a workload is from what its manifest says."""
    numbers = range(workload.slots)
    slots = view.slots.get(workload.name, {})
    held = [number for number in numbers if number in slots]
    fallen = down(view, workload)
    old = outdated(view, workload)
    progress, why = _progress(view, workload, old, fallen)
    return Summary(
        workload.name,
        progress,
        replicas=len(numbers),
        held=len(held),
        updated=len(held) - len(old),
        available=len(numbers) - len(fallen),
        why=why,
    )


def _progress(
    view: View, workload: Workload, old: tuple[int, ...], fallen: frozenset[int]
) -> tuple[Progress, str]:
    reason = halted(view, workload)
    if workload.refused:
        return Progress.REFUSED, workload.refused
    if not old and not fallen:
        return Progress.COMPLETE, ""
    if old and reason:
        return Progress.HALTED, f"{reason}; put another manifest, or the old one to go back"
    return Progress.PROGRESSING, "; ".join(_waits(view, workload, old, fallen))


def _waits(
    view: View, workload: Workload, old: tuple[int, ...], fallen: frozenset[int]
) -> list[str]:
    """What is still to come."""
    waits = []
    if old:
        waits.append(f"{len(old)} of {workload.slots} still run the former manifest")
    without = [number for name, number in homeless(view) if name == workload.name]
    if without:
        waits.append(f"{len(without)} have no host that accepts them and has their labels")
    for number in sorted(fallen - set(without))[:3]:
        entry = view.slots.get(workload.name, {}).get(number)
        pod = instance_id(workload.name, number)
        if entry is None:
            waits.append(f"{pod} is not claimed yet")
            continue
        report = view.reports.get((entry.value.host, pod))
        reason = report and (report.value.stuck or report.value.error or report.value.phase)
        waits.append(f"{pod} on {entry.value.host} is not up: {reason or 'no report yet'}")
    return waits


def _up(view: View, name: str, number: int) -> bool:
    entry = view.slots.get(name, {}).get(number)
    if entry is None or entry.value.leaving:
        return False
    report = view.reports.get((entry.value.host, instance_id(name, number)))
    return (
        report is not None
        and report.value.slot == number
        and report.value.digest == entry.value.digest
        # One that has done its work is as good as it gets.
        and (report.value.available or report.value.phase == Phase.SUCCEEDED)
    )
