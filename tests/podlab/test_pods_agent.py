"""The agent with the real podman: what is declared runs, whatever befalls agent and containers."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pods import FOREVER, SERVER

from network import run, wait_for
from podagent.podman import Podman

SECONDS = 120.0


class Agent:
    """`python3 -m podagent.daemon` with a folder of its own as `--root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifests = root / "etc/bedplate/pods"
        self.manifests.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "podagent.daemon", "--root", str(self.root)]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(SECONDS)

    def declare(self, name: str, container: Mapping[str, Any], **spec: Any) -> None:  # noqa: ANN401
        """Put a manifest in the folder, as cloud-config does it: another file takes its place."""
        body = {
            "containers": [{"name": "main", "image": "localhost/busybox:1", **container}],
            "terminationGracePeriodSeconds": 1,
            **spec,
        }
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}
        new = self.manifests / "new"
        new.write_text(json.dumps(document))
        new.replace(self.manifests / f"{name}.yaml")

    def drop(self, name: str) -> None:
        (self.manifests / f"{name}.yaml").unlink()

    @property
    def status(self) -> dict[str, Any]:
        try:
            found = json.loads((self.root / "run/bedplate/pods/status.json").read_bytes())
        except FileNotFoundError:
            return {"pods": [], "refused": {}}
        assert isinstance(found, dict)
        return found

    def pod(self, name: str) -> dict[str, Any]:
        """What is said of a pod; empty when nothing is."""
        return next((each for each in self.status["pods"] if each["id"] == name), {})

    def wait(self, *ready: str) -> None:
        """Wait until these are all the pods there are, and all of them are ready."""

        def so() -> bool:
            pods = self.status["pods"]
            return sorted(each["id"] for each in pods if each["ready"]) == sorted(ready) and len(
                pods
            ) == len(ready)

        self.until(so, f"{ready} are ready")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until it is so; what the agent said is in the failure."""
        try:
            wait_for(condition, what, SECONDS)
        except TimeoutError as error:
            log = (self.root / "log").read_text()
            raise AssertionError(f"{error}\n{self.status}\n{log}") from None


@pytest.fixture
def agent(tmp_path: Path, podman: Podman) -> Iterator[Agent]:
    del podman  # it takes away what a test leaves
    made = Agent(tmp_path / "root")
    made.start()
    yield made
    made.end(signal.SIGKILL)


def running(name: str) -> dict[str, str]:
    """Podman's containers of a pod that run: name and command."""
    listing = json.loads(run(["podman", "ps", "--pod", "--format", "json"]))
    ours = [each["Id"] for each in listing if each["PodName"] == name and not each["IsInfra"]]
    details = json.loads(run(["podman", "container", "inspect", *ours])) if ours else []
    return {each["Name"]: " ".join((each["Path"], *each["Args"])) for each in details}


def names() -> set[str]:
    """Podman's pods."""
    return {each["Name"] for each in json.loads(run(["podman", "pod", "ps", "--format", "json"]))}


def test_what_is_declared_runs_is_changed_and_goes(agent: Agent) -> None:
    agent.declare("web", {"command": list(SERVER)})
    agent.declare("other", {"command": list(FOREVER)})
    agent.wait("other", "web")
    address = agent.pod("web")["addresses"][0]
    assert run(["/usr/bin/busybox", "wget", "-qO-", f"http://{address}/"]) == "served\n"
    other = running("other")
    agent.declare("web", {"command": ["sleep", "99999"]})
    agent.until(lambda: running("web") == {"web-main": "sleep 99999"}, "the change")
    agent.wait("other", "web")
    agent.drop("web")
    agent.until(lambda: names() == {"other"}, "the end of it")
    assert running("other") == other
    assert (agent.root / "run/bedplate/notes/pods").read_text() == "1 of 1 pods ready"


def test_a_container_that_ends_is_started_again(agent: Agent) -> None:
    agent.declare("web", {"command": list(FOREVER)})
    agent.wait("web")
    run(["podman", "kill", "web-main"])
    agent.until(lambda: agent.pod("web")["restarts"] == 1, "a restart")
    agent.wait("web")
    run(["podman", "kill", "web-main"])
    agent.until(lambda: agent.pod("web")["reason"] == "CrashLoopBackOff", "a wait before the next")
    agent.until(lambda: agent.pod("web")["restarts"] == 2, "another restart")


def test_probes_are_heard(agent: Agent) -> None:
    probe = {"periodSeconds": 1, "failureThreshold": 1}
    agent.declare(
        "web",
        {
            "command": list(SERVER),
            "readinessProbe": {"httpGet": {"path": "/", "port": 80}, **probe},
            "livenessProbe": {"exec": {"command": ["ls", "/www/index.html"]}, **probe},
        },
    )
    agent.wait("web")
    run(["podman", "exec", "web-main", "/bin/busybox", "rm", "/www/index.html"])
    agent.until(lambda: not agent.pod("web")["ready"], "it is not ready")
    agent.until(lambda: agent.pod("web")["restarts"] >= 1, "it is started again")


def test_a_manifest_that_is_wrong_is_told_and_harms_nobody(agent: Agent) -> None:
    agent.declare("web", {"command": list(FOREVER)})
    agent.wait("web")
    agent.declare("wrong", {"cmd": ["x"]})
    agent.until(lambda: "wrong.yaml" in agent.status["refused"], "it is refused")
    assert "spec.containers[0].cmd" in agent.status["refused"]["wrong.yaml"]
    agent.declare("web", {"cmd": ["x"]})
    agent.until(lambda: "web.yaml" in agent.status["refused"], "it is refused")
    assert names() == {"web"}
    assert agent.pod("web")["ready"]


def test_an_agent_that_is_killed_20_times_under_change_leaves_what_is_declared(
    agent: Agent,
) -> None:
    chance = random.Random(5)  # noqa: S311 - no secret
    declared: dict[str, str] = {}
    for number in range(20):
        name = chance.choice("abcd")
        if name in declared and chance.random() < 0.3:
            agent.drop(name)
            del declared[name]
        else:
            declared[name] = f"sleep {90_000 + number}"
            agent.declare(name, {"command": declared[name].split()})
        time.sleep(chance.uniform(0, 2))  # the random moment itself: nothing is waited for
        agent.end(signal.SIGKILL)
        agent.start()

    def as_declared() -> bool:
        return names() == set(declared) and all(
            running(name) == {f"{name}-main": command} for name, command in declared.items()
        )

    agent.until(as_declared, "what is declared")
    agent.wait(*declared)
    assert as_declared()
