"""The agent with the real podman: what is declared runs, whatever befalls agent and containers."""

import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pod_agents import SECONDS, Agent, names, running
from pods import FOREVER, SERVER

from network import run
from podagent.podman import Podman


@pytest.fixture
def agent(tmp_path: Path, podman: Podman) -> Iterator[Agent]:
    del podman  # it takes away what a test leaves
    made = Agent(tmp_path / "root")
    made.start()
    yield made
    made.end(signal.SIGKILL)


def test_an_agent_without_pods_is_up_after_its_first_look(
    tmp_path: Path, podman: Podman, monkeypatch: pytest.MonkeyPatch
) -> None:
    del podman  # it takes away what a test leaves
    (tmp_path / "root/var/lib/bedplate/pods").mkdir(parents=True)
    before = tmp_path / "root/var/lib/bedplate/pods/ran.json"
    before.write_text("left over from when there were pods")
    agent = Agent(tmp_path / "root")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        agent.start()
        try:
            assert told.recv(100) == b"READY=1"
            # Nothing is left for it to do at the next boot.
            agent.until(lambda: not before.exists(), "the record of pods to go")
        finally:
            agent.end(signal.SIGKILL)


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
