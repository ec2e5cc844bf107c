"""Three hosts with replicas: spread, named, balanced, changed in turn, kept when a host dies."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.run import run
from builder.vm.wait import wait_until
from cluster import IMAGE, NUMBERS, SECONDS, Node
from site_of_tests import PROJECT, keep_figures

pytestmark = pytest.mark.thorough

_LEASE_SECONDS = 30
_MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 1}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: web
          image: {image}
          {command}
          ports: [{{containerPort: 80}}]
          readinessProbe: {{httpGet: {{path: /, port: 80}}, periodSeconds: 2, timeoutSeconds: 30}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
"""


class Fleet:
    """The workstation's view of the cluster, by `bedplate fleet`."""

    def __init__(self, nodes: Sequence[Node], folder: Path) -> None:
        self.nodes = list(nodes)
        self._folder = folder

    def command(self, *arguments: str) -> str:
        """What a command prints."""
        endpoints = ",".join(node.etcd for node in self.nodes)
        program = str(PROJECT / ".venv/bin/bedplate")
        return run([program, "fleet", *arguments, "--endpoints", endpoints])

    def apply(self, *, replicas: int, tag: str, crashing: bool = False) -> None:
        """Declare the workload."""
        path = self._folder / "web.yaml"
        command = 'command: ["/bin/busybox", "false"]' if crashing else ""
        text = _MANIFEST.format(replicas=replicas, image=f"{IMAGE}:{tag}", command=command)
        path.write_text(text)
        self.command("apply", "-f", str(path))

    def pods(self) -> Sequence[Mapping[str, Any]]:
        """The pods of all hosts, as `fleet get pods --json` has them."""
        found: Sequence[Mapping[str, Any]] = json.loads(self.command("get", "pods", "--json"))[
            "pods"
        ]
        return found

    def progress(self) -> str:
        """How far the change of the workload is."""
        workloads = json.loads(self.command("get", "workloads", "--json"))["workloads"]
        return str(workloads[0]["progress"])

    def wait_until_ready(self, *, replicas: int, tag: str) -> Sequence[Mapping[str, Any]]:
        """Wait until so many replicas of this version are ready, and no others are there."""

        def ready() -> Sequence[Mapping[str, Any]] | None:
            found = self.pods()
            well = [each for each in found if each["ready"]]
            complete = self.progress() == "complete"
            return found if complete and len(well) == len(found) == replicas else None

        try:
            found = wait_until(ready, SECONDS, f"{replicas} ready replicas of {tag}")
        except BaseException:
            print(self.command("get", "pods", "--wide"), self.command("get", "hosts"))
            raise
        said = {node.number: self.said(node) for node in self.nodes}
        assert set(said.values()) == {f"web {tag}"}, said
        return found

    @staticmethod
    def said(node: Node) -> str:
        """What a host gets by the service's name."""

        def asked() -> str | None:
            return node.guest.ask("curl -sS --max-time 20 http://web.bedplate.internal/") or None

        return wait_until(asked, SECONDS, f"an answer by the service's name on {node.name}")


@pytest.fixture(scope="module")
def fleet(nodes: tuple[Node, ...], tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The cluster, once every host has told of itself."""
    found = Fleet(nodes, tmp_path_factory.mktemp("fleet"))

    def all_there() -> bool | None:
        hosts = json.loads(found.command("get", "hosts", "--json"))["hosts"]
        return True if {each["name"] for each in hosts} == {each.name for each in nodes} else None

    wait_until(all_there, SECONDS, "every host in the cluster")
    return found


def test_replicas_are_spread_over_the_hosts(fleet: Fleet) -> None:
    fleet.apply(replicas=3, tag="1")
    pods = fleet.wait_until_ready(replicas=3, tag="1")
    assert sorted(each["host"] for each in pods) == [f"node-{number}" for number in NUMBERS]


def test_a_container_asks_by_name_and_every_replica_answers_in_turn(fleet: Fleet) -> None:
    """The stable address is one; whom it leads to differs."""
    first = fleet.nodes[0]
    command = (
        "podman run --rm --quiet --dns 169.254.20.10 --dns-search bedplate.internal"
        f" {IMAGE}:1 /bin/busybox wget -q -O - http://web/"
    )
    assert first.guest.host.check_output(command) == "web 1"
    table = first.guest.host.check_output("nft list table inet bedplate_services")
    for pod in fleet.pods():
        assert pod["addresses"][0] in table


def test_a_change_rolls_through_with_one_down_at_most(fleet: Fleet) -> None:
    fleet.apply(replicas=3, tag="2")
    fewest = 3
    began = time.monotonic()

    def done() -> bool | None:
        nonlocal fewest
        fewest = min(fewest, sum(each["ready"] for each in fleet.pods()))
        return True if fleet.progress() == "complete" else None

    wait_until(done, SECONDS, "the end of the change")
    keep_figures(pods_rolling_change_seconds=time.monotonic() - began)
    assert fewest >= 2
    fleet.command("rollout", "status", "web", "--timeout", "15m")
    fleet.wait_until_ready(replicas=3, tag="2")


def test_a_change_whose_image_is_nowhere_takes_nothing_down(fleet: Fleet) -> None:
    fleet.apply(replicas=3, tag="missing")

    def one_waits() -> bool | None:
        waiting = [each for each in fleet.pods() if "ImagePull" in each["reason"]]
        return True if len(waiting) == 1 else None

    wait_until(one_waits, SECONDS, "a replica whose image is nowhere")
    assert sum(each["ready"] for each in fleet.pods()) == 3
    fleet.apply(replicas=3, tag="2")
    fleet.wait_until_ready(replicas=3, tag="2")


def test_a_change_that_does_not_come_up_is_taken_back_by_the_old_manifest(fleet: Fleet) -> None:
    fleet.apply(replicas=3, tag="1", crashing=True)

    def halted() -> bool | None:
        return True if fleet.progress() == "halted" else None

    wait_until(halted, SECONDS, "the change's halt")
    assert sum(each["ready"] for each in fleet.pods()) == 2
    fleet.apply(replicas=3, tag="2")
    fleet.wait_until_ready(replicas=3, tag="2")


def test_a_dead_hosts_replicas_are_elsewhere(fleet: Fleet) -> None:
    """The last test: the host stays dead."""
    third = fleet.nodes.pop()
    third.guest.machine.kill()
    began = time.monotonic()

    def taken() -> bool | None:
        hosts = [each["host"] for each in fleet.pods()]
        return True if len(hosts) == 3 and third.name not in hosts else None

    wait_until(taken, SECONDS, "three replicas on two hosts")
    keep_figures(pods_taken_over_seconds=time.monotonic() - began)
    fleet.wait_until_ready(replicas=3, tag="2")
    keep_figures(pods_ready_elsewhere_seconds=time.monotonic() - began)
