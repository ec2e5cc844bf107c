"""Pods for tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from podagent.manifest import parse
from podagent.observed import Observed, PodState
from podagent.podman import Podman
from podagent.types import Instance, Origin

FOREVER = ("sleep", "100000")
# A first process without a handler does not get SIGTERM at all.
POLITE = ("sh", "-c", "trap 'exit 3' TERM; sleep 100000 & wait")
SERVER = ("httpd", "-f", "-h", "/www")


def instance(
    name: str,
    containers: Mapping[str, Sequence[str]],
    *,
    init: Mapping[str, Sequence[str]] | None = None,
    image: str = "localhost/busybox:1",
    slot: int | None = None,
    spec: Mapping[str, Any] | None = None,
    each: Mapping[str, Any] | None = None,
    more: Sequence[str] = (),
) -> Instance:
    """A pod of containers by name, with the commands that they run.

    Args:
        init: init containers.
        image: of all of them.
        slot: which replica of the workload `name` it is.
        spec: more of the pod's spec.
        each: more of every container.
        more: documents that belong to it, as JSON.
    """

    def written(of: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        return [
            {"name": key, "image": image, "command": list(argv), **(each or {})}
            for key, argv in of.items()
        ]

    body: dict[str, Any] = {"containers": written(containers), **(spec or {})}
    body |= {"initContainers": written(init)} if init else {}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}
    if slot is not None:
        labels = {"app": name}
        document |= {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": body},
            },
        }
    text = "\n---\n".join((json.dumps(document), *more))
    manifest = parse(text.encode(), Path("test.yaml"))
    pod = name if slot is None else f"{name}-{slot}"
    return Instance(pod, manifest, Origin.FOLDER, slot)


def pod_of(podman: Podman, name: str) -> PodState:
    """One of our pods, as it is now."""
    return found(podman.observe(), name)


def found(observed: Observed, name: str) -> PodState:
    """One of our pods."""
    (pod,) = [each for each in observed.pods if each.id == name]
    return pod
