"""What the cluster is told of a pod. Pure; times are by `boottime`."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from podagent.cluster.records import Report, SlotRecord
from podagent.cluster.rollout import AVAILABLE_SECONDS, available, stuck
from podagent.observed import PodState
from podagent.phase import PodReport
from podagent.waiting import Reason

_LONGEST = 500  # characters of an error
# What a container waits for that ended, or that could not be started.
_CRASHING = frozenset({Reason.CRASH_LOOP, Reason.START_ERROR})


@dataclass(frozen=True, slots=True)
class Ready:
    """Since when a pod of one manifest has been ready without a break."""

    digest: str
    since: float


def ready_since(
    before: Mapping[str, Ready],
    pods: Iterable[PodReport],
    told: Mapping[str, Report],
    now: float,
) -> dict[str, Ready]:
    """Since when each pod has been ready, by its id; those that are not are not in it.

    Args:
        before: what this said last.
        pods: as they are now.
        told: what the cluster was told last, perhaps by an agent before this one.
        now: the present time.
    """
    found = {}
    for pod in pods:
        if not pod.ready:
            continue
        known, last = before.get(pod.id), told.get(pod.id)
        if known is not None and known.digest == pod.digest:
            found[pod.id] = known
        elif known is None and last and last.available and last.digest == pod.digest:
            found[pod.id] = Ready(pod.digest, now - AVAILABLE_SECONDS)
        else:
            found[pod.id] = Ready(pod.digest, now)
    return found


def next_available(ready: Iterable[Ready], now: float) -> float:
    """When the next of them counts as available."""
    times = (each.since + AVAILABLE_SECONDS for each in ready)
    return min((time for time in times if time > now), default=math.inf)


def addresses(pod: PodState | None, host: tuple[str, ...], *, overlay: bool) -> tuple[str, ...]:
    """Where other hosts reach a pod.

    Args:
        pod: as podman has it.
        host: the host's own addresses.
        overlay: whether pods have addresses that no other host's have.
    """
    if pod is None:
        return ()
    if pod.host_network:
        return host
    return pod.addresses if overlay else ()


def to_report(
    pod: PodReport,
    slot: SlotRecord | None,
    ready: Ready | None,
    reached: tuple[str, ...],
    now: float,
    *,
    leaving: bool,
) -> Report:
    """What to tell of a pod.

    Args:
        pod: as it is.
        slot: the record of its slot.
        ready: since when it is.
        reached: its addresses.
        now: the present time.
        leaving: whether it is being ended, and should be sent nothing new.
    """
    up = available(ready.since if ready and not leaving else None, now)
    reason = "" if slot is None else stuck(slot, is_available=up, crashing=_crashing(pod), now=now)
    return Report(
        phase=pod.phase.value,
        ready=pod.ready and not leaving,
        digest=pod.digest,
        slot=pod.slot,
        available=up,
        stuck=reason,
        addresses=reached,
        restarts=pod.restarts,
        images={each.name: each.image_digest for each in pod.containers},
        error=_text(pod.reason, pod.message),
    )


def leaving(pods: Iterable[PodState], wanted: Mapping[str, str], busy: Collection[str]) -> set[str]:
    """The pods that are being ended to make room for those of another manifest.

    Args:
        pods: podman's.
        wanted: digests of what is declared, by id.
        busy: those that something works on.
    """
    return {pod.id for pod in pods if pod.id in busy and wanted.get(pod.id) != pod.digest}


def _crashing(pod: PodReport) -> str:
    return next(
        (
            _text(each.reason, f"{each.name}: {each.message}")
            for each in pod.containers
            if each.reason in _CRASHING
        ),
        "",
    )


def _text(reason: str, message: str) -> str:
    return ": ".join(filter(None, (reason, message)))[:_LONGEST]
