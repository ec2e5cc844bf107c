"""What the agent says of itself: a status document, metrics, a line for the console."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from podagent.phase import Phase, PodReport
from podagent.places import Places
from updater.files import write_atomic
from updater.metrics import Sample, render_metrics

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """This host in its cluster: whether its lease holds, and what is wrong, by subject."""

    lease: bool
    faults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that a person or a program wants to know of this host's pods.

    `refused` has the manifests that are wrong, by the names of their files or their keys in etcd;
    `fault` is why podman cannot be asked, or nothing. `draining` is how far a drain is, by
    `podagent.drain.Stage`, or nothing. `cluster` is None where there is none.
    """

    pods: tuple[PodReport, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    draining: str = ""
    cluster: ClusterStatus | None = None

    @property
    def well(self) -> bool:
        """Whether all that is declared is as it should be."""
        done = all(each.ready or each.phase is Phase.SUCCEEDED for each in self.pods)
        return done and not self.refused and not self.fault and not self.trouble

    @property
    def trouble(self) -> str:
        """What is wrong in the cluster first, or nothing."""
        if self.cluster is None or not (self.cluster.faults or not self.cluster.lease):
            return ""
        return next(iter(self.cluster.faults.values()), "no lease in etcd yet")


def to_plain(status: Status) -> dict[str, object]:
    """The status as JSON values (schema 1); times are Unix seconds, 0 for never."""
    return {"schema": SCHEMA, **asdict(status)}


def note(status: Status) -> str:
    """One line for the console."""
    ready = sum(1 for each in status.pods if each.ready)
    told = f"draining ({status.draining}); " if status.draining else ""
    told += f"{ready} of {len(status.pods)} pods ready"
    wrong = next((each for each in status.pods if each.reason), None)
    if status.fault:
        told += f"; {status.fault}"
    elif status.refused:
        told += f"; {next(iter(status.refused.values()))}"
    elif status.trouble:
        told += f"; {status.trouble}"
    elif wrong is not None:
        told += f"; {wrong.id}: {wrong.reason} {wrong.message}".rstrip()
    return told.splitlines()[0]


def samples(status: Status) -> list[Sample]:
    """The status in numbers."""
    prefix = "bedplate_pods"
    return [
        *(
            Sample(
                prefix,
                "Pods of this host by phase.",
                sum(1 for pod in status.pods if pod.phase is phase),
                {"phase": phase.value},
            )
            for phase in Phase
        ),
        Sample(f"{prefix}_ready", "Pods that are ready.", sum(pod.ready for pod in status.pods)),
        Sample(f"{prefix}_refused", "Manifests that are wrong.", len(status.refused)),
        Sample(f"{prefix}_fault", "1 if podman cannot be asked.", int(bool(status.fault))),
        Sample(f"{prefix}_draining", "1 while a drain is on.", int(bool(status.draining))),
        *_cluster_samples(status.cluster),
        *(
            Sample(
                "bedplate_pod_restarts",
                "Restarts of a pod's containers since the agent's start.",
                pod.restarts,
                {"pod": pod.id},
            )
            for pod in status.pods
        ),
    ]


def _cluster_samples(cluster: ClusterStatus | None) -> list[Sample]:
    if cluster is None:
        return []
    prefix = "bedplate_pods_cluster"
    return [
        Sample(f"{prefix}_lease", "1 if replicas may run.", int(cluster.lease)),
        Sample(f"{prefix}_faults", "What is wrong in the cluster.", len(cluster.faults)),
    ]


def publish(status: Status, places: Places) -> None:
    """Write what people and programs read.

    Raises:
        OSError: it cannot be written.
    """
    for path, data in (
        (places.status, json.dumps(to_plain(status)).encode()),
        (places.metrics, render_metrics(samples(status))),
        (places.note, note(status).encode()),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
