"""The agent's part in the cluster: what it is to run, and what the cluster is told of it.

Everything here runs on the agent's own thread, and nothing waits.
"""

import math
import socket
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from hostapi import port
from hostkit.following import Post
from hostkit.timing import Timing, boottime
from podagent.cluster import reporting
from podagent.cluster.former import Former
from podagent.cluster.hosts import host_labels, host_record
from podagent.cluster.member import Member
from podagent.cluster.plan import Me, SlotId
from podagent.cluster.reached import own_addresses
from podagent.cluster.records import HostRecord, Report, SlotRecord
from podagent.cluster.replicas import Declared, Here, declare
from podagent.cluster.settings import Settings
from podagent.cluster.tenure import TIMING
from podagent.drain import Stage
from podagent.phase import PodReport
from podagent.places import Places
from podagent.services.keeper import Services

if TYPE_CHECKING:
    from podagent.cluster.reporting import Ready

# What others wrote into etcd when they came with us is heard by then.
JOIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Clock:
    """The terms of the lease, and how long a host that joins leaves free slots alone (seconds)."""

    timing: Timing = TIMING
    join: float = JOIN_SECONDS


_CLOCK = Clock()


@dataclass(frozen=True, slots=True)
class Joined:
    """Since when the cluster has this host, by its lease; 0 while it has not. Pure.

    Hosts that start together would not be counted by the first of them that claims. So a host
    claims nothing for some seconds after its record is there, while others count on it already.
    """

    lease: int = 0
    since: float = math.inf

    def now(self, lease: int, now: float, *, first: bool) -> "Joined":
        """As it is, when etcd has our record under `lease`, or 0.

        An agent that was started again finds its record at the `first` look, and need not wait.
        """
        if lease == self.lease:
            return self
        return Joined(lease, -math.inf if first else now) if lease else Joined()


@dataclass(frozen=True, slots=True)
class Intent:
    """What this host is about: whether a drain is on its way, and what else forbids new pods.

    `refused` is what is wrong with manifests, by their keys or files.
    """

    stage: Stage | None = None
    obstacles: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


class Part:
    """See the module; `host` is this host's name in the cluster."""

    def __init__(
        self,
        settings: Settings,
        places: Places,
        *,
        post: Post,
        host: str | None = None,
        clock: Clock = _CLOCK,
    ) -> None:
        """Join the cluster.

        Raises:
            BedplateError: this host's labels are wrong, or a file of the host cannot be read.
        """
        self._places = places
        self._settings = settings
        self._host = host or socket.gethostname()
        self._labels = host_labels(places.root, self._host)
        self._api_port = port.listened_at(places.root / port.FOLDER)
        self._clock = clock
        self._former = Former(places.former)
        self._own_faults: dict[str, str] = {}
        self._ready: dict[str, Ready] = {}
        self._joined = Joined()
        self._heard = False
        self._told: _Asked | None = None
        self.member = Member(
            settings.access,
            self._host,
            places.tenure,
            parse=self._former.parse,
            post=post,
            timing=clock.timing,
        )
        self._services = Services(
            settings.access,
            self._host,
            places.runtime,
            settings.services,
            post=post,
            subnet_file=places.subnet,
        )

    @property
    def faults(self) -> Mapping[str, str]:
        """Why something is not as it should be, by its subject."""
        parts = (self.member.faults, self.member.view.broken, self._services.faults)
        return dict(chain(self._own_faults.items(), *(each.items() for each in parts)))

    def close(self, *, drained: bool) -> None:
        """Hear and write no more; a host that is drained gives its lease back."""
        self._services.close()
        if drained:
            self.member.leave()
        else:
            self.member.close()

    def next_time(self) -> float:
        """When there is something to do, by `boottime`, whatever is heard until then."""
        now = boottime()
        soon = [
            reporting.next_available(self._ready.values(), now),
            self._joined.since + self._clock.join,
        ]
        return min(
            self.member.next_time(),
            self._services.next_time(),
            *(time for time in soon if time > now),
        )

    def declare(self, here: Here) -> Declared:
        """What the cluster wants of this host now."""
        view, member = self.member.view, self.member
        me = Me(self._host, member.tenure.lease)
        found = declare(view, me, self._labels, here, self._former.get, may_run=member.may_run())
        needed = {each.manifest.digest for each in found.instances}
        needed |= {pod.digest for pod in here.pods}
        current = {each.manifest.digest for each in view.workloads.values() if each.manifest}
        current |= {entry.value.digest for _, _, entry in view.held_slots()}
        try:
            self._former.keep(needed, current)
            self._own_faults.pop("former", None)
        except OSError as error:
            self._own_faults["former"] = (
                f"cannot write a manifest to {self._places.former}: {error.strerror}"
            )
        return found

    def has_slots(self, here: Here) -> bool:
        """Whether replicas are here still, or slots are this host's."""
        lease = self.member.tenure.lease if self.member.may_run() else 0
        held = any(entry.lease == lease != 0 for _, _, entry in self.member.view.held_slots())
        return held or bool(here.slots)

    def tend(self, here: Here | None) -> None:
        """Keep the lease, and services; to be called each turn. None: podman is not known yet."""
        self.member.tend(vacant=here is not None and not here.slots)
        self._services.tend(self.member.view)

    def tell(
        self, here: Here, pods: Iterable[PodReport], leaving: Collection[str], intent: Intent
    ) -> None:
        """Tell the cluster of this host, and agree on slots; to be called each turn.

        Args:
            here: what this host has.
            pods: all that is declared for it, as it is.
            leaving: those of them that are being ended.
            intent: what this host is about.
        """
        if self.member.dirty:
            self.member.dirty, self._told = False, None
        own = own_addresses(self._settings.access.endpoints)
        asked = _Asked(
            self._record(intent, own),
            self._reports(here, tuple(pods), leaving, own),
            frozenset(here.slots),
            intent.stage,
            self._has_joined(),
        )
        if asked != self._told and self.member.write(
            asked.record,
            asked.reports,
            asked.slots,
            draining=asked.stage is not None,
            forced=asked.stage not in {None, Stage.LEAVING},
            claims=asked.claims,
        ):
            self._told = asked

    def _record(self, intent: Intent, own: tuple[str, ...]) -> HostRecord:
        obstacles = [*intent.obstacles]
        if intent.stage is not None:
            obstacles.append("it is being drained")
        labels, refused = self._labels, intent.refused
        return host_record(labels, own, obstacles, refused, api_port=self._api_port)

    def _reports(
        self,
        here: Here,
        pods: tuple[PodReport, ...],
        leaving: Collection[str],
        own: tuple[str, ...],
    ) -> dict[str, Report]:
        now, view = boottime(), self.member.view
        told = {pod: each.value for (host, pod), each in view.reports.items() if host == self._host}
        self._ready = reporting.ready_since(self._ready, pods, told, now)
        standing = {pod.id: pod for pod in here.pods}
        overlay = self._places.subnet.exists()
        return {
            pod.id: reporting.to_report(
                pod,
                self._slot(pod),
                self._ready.get(pod.id),
                reporting.addresses(standing.get(pod.id), own, overlay=overlay),
                now,
                leaving=pod.id in leaving,
            )
            for pod in pods
        }

    def _slot(self, pod: PodReport) -> SlotRecord | None:
        if pod.slot is None:
            return None
        numbers = self.member.view.slots.get(pod.id.removesuffix(f"-{pod.slot}"), {})
        entry = numbers.get(pod.slot)
        return entry.value if entry else None

    def _has_joined(self) -> bool:
        """Whether this host may claim slots."""
        view, lease = self.member.view, self.member.tenure.lease
        if not view.revision:
            return False
        entry = view.hosts.get(self._host)
        ours = lease if entry and entry.lease == lease else 0
        self._joined = self._joined.now(ours, boottime(), first=not self._heard)
        self._heard = True
        return boottime() >= self._joined.since + self._clock.join


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the cluster was told; while that and the cluster are the same, nothing is to be done."""

    record: HostRecord
    reports: Mapping[str, Report]
    slots: frozenset[SlotId]
    stage: Stage | None
    claims: bool
