"""What is handed to other agents: the overlay, pods and labels."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cloudconfig.desired import Affects, Desired, Fetched, File
from cloudconfig.facts import Facts
from cloudconfig.model.bedplate import Pod
from cloudconfig.model.lock import of_cluster, of_flannel
from cloudconfig.model.top import CloudConfig

if TYPE_CHECKING:
    from cloudconfig.model.cluster import Cluster
    from cloudconfig.model.flannel import Flannel

FOLDER = PurePosixPath("/etc/bedplate")
_PODS = (Affects("bedplate-pods.service"),)


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """One file each in /etc/bedplate; what may hold a password is for root alone."""
    items: list[File | Fetched] = []
    if config.coreos.flannel:
        items.append(_json("overlay.json", _given(config.coreos.flannel), secret=True))
    if config.bedplate.cluster:
        cluster = _cluster(config.bedplate.cluster, config.coreos.flannel)
        items.append(_json("cluster.json", cluster, secret=True, affects=_PODS))
    if config.bedplate.labels:
        items.append(_json("labels.json", config.bedplate.labels, affects=_PODS))
    items += [_pod(pod) for pod in config.bedplate.pods]
    return Desired(items=tuple(items))


def _given(section: "Flannel") -> dict[str, object]:
    """The keys of a section that the document gives; paths as text, times in seconds."""
    values = {each.name: getattr(section, each.name) for each in dataclasses.fields(section)}
    return {
        name: str(value) if isinstance(value, PurePosixPath) else value
        for name, value in values.items()
        if value is not None
    }


def _cluster(cluster: "Cluster", flannel: "Flannel | None") -> dict[str, str]:
    """Etcd's settings under the overlay's names; those of the overlay itself if none are given."""
    shared = flannel if not cluster.endpoints else None
    found = of_flannel(shared) if shared else of_cluster(cluster)
    if cluster.services_range:
        found["services_range"] = cluster.services_range
    return found


def _json(
    name: str,
    value: Mapping[str, object],
    *,
    secret: bool = False,
    affects: tuple[Affects, ...] = (),
) -> File:
    content = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    mode = 0o600 if secret else 0o644
    return File(FOLDER / name, content, mode=mode, affects=affects, secret=secret)


def _pod(pod: Pod) -> File | Fetched:
    path = FOLDER / "pods" / f"{pod.name}.yaml"
    if pod.url is not None and pod.sha256 is not None:
        return Fetched(path, pod.url, pod.sha256, mode=0o600)
    text = pod.manifest or ""
    content = text if text.endswith("\n") else f"{text}\n"
    return File(path, content.encode(), mode=0o600, secret=True)
