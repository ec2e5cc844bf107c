"""The fence without an agent, on podman's own containers; the lab has no cgroups to kill."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pods import FOREVER, instance, pod_of

from podagent import fence, reading
from podagent.actions import Play
from podagent.places import Places
from podagent.podman import Podman


def test_replicas_end_and_nothing_else(
    podman: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "agent_state", lambda: "activating")
    places = Places(tmp_path)
    # Without a replica, podman has nothing to do.
    assert fence.fence(places) == 0
    replica, own = instance("web", {"main": FOREVER}, slot=2), instance("web-2-x", {"a": FOREVER})
    own = replace(own, manifest=replace(own.manifest, replicas=None))
    for each in (replica, own):
        podman.apply(Play(each))
    places.runtime.mkdir(parents=True)
    pods: list[dict[str, Any]] = [{"id": "web-2", "slot": 2}, {"id": "web-2-x", "slot": None}]
    places.status.write_text(json.dumps({"schema": 1, "pods": pods}))
    running = {name: container for container, name in fence.conmons(Path("/proc"))}
    assert {"web-2-main", "web-2-x-a"} <= set(running)
    assert fence.doomed(((one, name) for name, one in running.items()), pods) == {
        running["web-2-main"]
    }
    podman.observe()
    assert podman.container_id("web-2-main") == running["web-2-main"]

    assert fence.fence(places) == 0
    assert not pod_of(podman, "web-2").running
    assert pod_of(podman, "web-2-x").running
    assert fence.fence(places) == 0
