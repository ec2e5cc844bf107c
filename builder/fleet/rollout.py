"""How far workloads are from what their manifests say, seen once or followed until it is done."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue

from builder.fleet.safe import clean
from hostkit.etcd import Client
from hostkit.following import Follower, Listener
from podagent.cluster.placement import matches
from podagent.cluster.records import ROOT, Report, instance_id
from podagent.cluster.rollout import Progress, summary
from podagent.cluster.view import View, Workload, slot_count
from podagent.manifest import parse
from podagent.phase import Phase
from podagent.types import Manifest
from updater.errors import BedplateError

_MOST_NAMED = 3  # of the hosts that a line names


@dataclass(frozen=True, slots=True)
class State:
    """A workload: how many replicas there are to be, and of these how many are what.

    `held`: a host has them. `updated`: they are, or are being made, as the manifest says now.
    `ready`: they take traffic. Of a workload without slots the replicas are its hosts. `why` is
    what it waits for.
    """

    name: str
    progress: Progress
    replicas: int
    held: int
    updated: int
    ready: int
    why: str


def state_of(view: View, workload: Workload) -> State:
    """How far a workload is, whatever its kind."""
    manifest = workload.manifest
    if manifest is not None and slot_count(manifest) is None:
        return _on_its_hosts(view, workload, manifest)
    found = summary(view, workload)
    reports = [_of_slot(view, workload.name, number) for number in range(workload.slots)]
    return State(
        name=clean(workload.name),
        progress=found.progress,
        replicas=found.replicas,
        held=found.held,
        updated=found.updated,
        ready=sum(each is not None and each.ready for each in reports),
        why=clean(found.why),
    )


def _of_slot(view: View, name: str, number: int) -> Report | None:
    slot = view.slots.get(name, {}).get(number)
    entry = slot and view.reports.get((slot.value.host, instance_id(name, number)))
    return entry.value if entry else None


def _succeeded(report: Report | None, manifest: Manifest) -> bool:
    """Whether a pod that need not run for ever has done its work, by this manifest."""
    if report is None:
        return False
    return report.phase == Phase.SUCCEEDED and report.digest == manifest.digest


def _on_its_hosts(view: View, workload: Workload, manifest: Manifest) -> State:
    """Of a DaemonSet, or a Pod that names its host."""
    wanted = _hosts(view, manifest)
    reports = {host: _report(view, host, workload.name) for host in wanted}
    there = {host: each for host, each in reports.items() if each is not None}
    updated = {host: each for host, each in there.items() if each.digest == manifest.digest}
    waits = {
        host
        for host in wanted
        if host not in updated or not (updated[host].ready or _succeeded(updated[host], manifest))
    }
    progress, why = Progress.COMPLETE, "" if wanted else "no host has the labels that it asks for"
    if workload.refused:
        progress, why = Progress.REFUSED, workload.refused
    elif waits:
        progress = Progress.PROGRESSING
        why = "; ".join(_waits(view, manifest, {host: reports[host] for host in sorted(waits)}))
    return State(
        name=clean(workload.name),
        progress=progress,
        replicas=len(wanted),
        held=len(there),
        updated=len(updated),
        ready=sum(each.ready for each in there.values()),
        why=clean(why),
    )


def _hosts(view: View, manifest: Manifest) -> list[str]:
    """The hosts that it is for; the one that it names, also while that is not there."""
    if manifest.node is not None:
        return [manifest.node]
    return [name for name, entry in view.hosts.items() if matches(manifest, entry.value.labels)]


def _report(view: View, host: str, pod: str) -> Report | None:
    entry = view.reports.get((host, pod))
    return entry.value if entry is not None and entry.value.slot is None else None


def _waits(view: View, manifest: Manifest, reports: Mapping[str, Report | None]) -> Iterator[str]:
    """What is to come on these hosts."""
    for host, report in islice(reports.items(), _MOST_NAMED):
        if host not in view.hosts:
            yield f"the host {host} is not there"
        elif report is None:
            yield f"{host} has not reported it yet"
        elif report.digest not in {"", manifest.digest}:
            yield f"{host} runs another manifest, the former one or its own"
        else:
            yield f"on {host}: {report.error or report.phase}"
    if len(reports) > _MOST_NAMED:
        yield f"and {len(reports) - _MOST_NAMED} more"


def told(state: State) -> str:
    """A state in a line."""
    counts = f"{state.updated} of {state.replicas} updated, {state.ready} ready"
    why = f": {state.why}" if state.why else ""
    return f"{state.name}: {counts}, {state.progress}{why}"


def follow(
    client: Client,
    name: str,
    *,
    seconds: float,
    tell: Callable[[State], None],
    note: Callable[[str], None],
) -> State:
    """Follow a workload until it is done, or halted, or refused, or the time is up.

    Args:
        client: of the fleet's etcd.
        name: the workload's.
        seconds: until the time is up; then the workload is still `Progress.PROGRESSING`.
        tell: called with each state that differs from the one before.
        note: called with why changes are not heard for a while.

    Raises:
        BedplateError: there is no such workload, or no more; etcd does not answer.
    """
    view = View(parse)
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def trouble(reason: str) -> None:
        if reason and not view.revision:
            raise BedplateError(reason)
        if reason:
            note(reason)

    follower = Follower(client, ROOT, Listener(view.listed, view.changed, trouble), posted.put)
    last: State | None = None
    end = time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            if not _take(posted, left) or not view.revision:
                continue
            state = _known(view, name)
            if state != last:
                tell(state)
            last = state
            if state.progress is not Progress.PROGRESSING:
                return state
    finally:
        follower.stop()
    if last is None:
        raise BedplateError(f"etcd did not tell of {name} within {seconds:.0f} s")
    return last


def _take(posted: SimpleQueue[Callable[[], None]], seconds: float) -> bool:
    """Do what is posted within this time, and all that has come with it; whether there was any."""
    try:
        posted.get(timeout=seconds)()
        for _ in range(posted.qsize()):
            posted.get_nowait()()
    except Empty:
        return False
    return True


def _known(view: View, name: str) -> State:
    workload = view.workloads.get(name)
    if workload is None:
        raise BedplateError(f"there is no workload {clean(name)} in etcd")
    return state_of(view, workload)
