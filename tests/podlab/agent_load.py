"""What the agent costs with 50 pods, and how soon it follows etcd; for tests/bench, which reads it.

Pytest collects it by its name only: `python -m tests.lab --pods -s tests/podlab/agent_load.py`.
"""

import json
import os
import signal
import statistics
import time
from functools import partial
from pathlib import Path

from pod_agents import Agent

from etcd_server import Cluster, serving
from network import run
from podagent.podman import Podman

_PODS = 50
_REST_SECONDS = 90.0  # three whole looks
_CHANGES = 10
_TICKS = os.sysconf("SC_CLK_TCK")
_BUSYBOX = {"command": ["sleep", "100000"]}
_MANIFEST = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: late-{number}}}
spec:
  selector: {{matchLabels: {{app: late}}}}
  template:
    metadata: {{labels: {{app: late}}}}
    spec: {{containers: [{{name: main, image: "localhost/busybox:1", command: [sleep, "9"]}}]}}
"""


def _prepared(root: Path, etcd: Cluster) -> Agent:
    agent = Agent(root)
    for path, text in (
        ("etc/bedplate/cluster.json", json.dumps({"etcd_endpoints": etcd.endpoints[0]})),
        ("etc/machine-id", "the-machine\n"),
        ("usr/lib/os-release", "IMAGE_VERSION=1\n"),
    ):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return agent


def _seconds(process: int, *, children: bool) -> float:
    """Seconds of the processor, of a process and of those that it waited for (proc_pid_stat(5))."""
    values = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    user, system, their_user, their_system = map(int, values[11:15])
    total = user + system + (their_user + their_system if children else 0)
    return total / _TICKS


def _resident(process: int) -> int:
    """Bytes of memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    found = next(line for line in lines if line.startswith("VmRSS:"))
    return int(found.split()[1]) * 1024


def _change(agent: Agent, etcd: Cluster, number: int) -> float:
    """Seconds from a manifest's way into etcd to the agent's start of `podman kube play`."""
    log = agent.root / "log"
    wanted = f"play pod late-{number}"
    began = time.monotonic()
    etcd.put(f"/bedplate/pods/late-{number}", _MANIFEST.format(number=number))
    while wanted not in log.read_text():
        assert time.monotonic() < began + 60, log.read_text()
        time.sleep(0.002)
    return time.monotonic() - began


def _is_ready(agent: Agent, pod: str) -> bool:
    return bool(agent.pod(pod).get("ready"))


def test_load(tmp_path: Path, podman: Podman) -> None:
    del podman  # it takes away what is left
    with serving(tmp_path / "etcd") as etcd:
        agent = _prepared(tmp_path / "root", etcd)
        for number in range(_PODS):
            agent.declare(f"pod-{number}", _BUSYBOX)
        began = time.monotonic()
        agent.start()
        try:
            agent.until(
                lambda: sum(each["ready"] for each in agent.status["pods"]) == _PODS, "all pods"
            )
            started = time.monotonic() - began
            process = agent.process
            own, whole = (_seconds(process, children=each) for each in (False, True))
            time.sleep(_REST_SECONDS)  # what is measured
            at_rest = [
                (_seconds(process, children=each) - before) / _REST_SECONDS
                for each, before in ((False, own), (True, whole))
            ]
            resident = _resident(process)
            changes = []
            for number in range(_CHANGES):
                changes.append(_change(agent, etcd, number))
                agent.until(partial(_is_ready, agent, f"late-{number}"), "it is ready")
        finally:
            agent.end(signal.SIGTERM)
    figures = {
        "started": started,
        "own": at_rest[0],
        "whole": at_rest[1],
        "resident": resident,
        "change": statistics.median(changes),
        "slowest_change": max(changes),
    }
    print(f"\nfigures: {json.dumps(figures)}")
    run(["podman", "pod", "rm", "--all", "--force", "--time", "0"])
