"""What is said of a pod."""

from dataclasses import replace

from podagent.phase import Doing, Phase, PodReport, report
from podagent.probing import ProbeKind, told
from podagent.types import Instance, RestartPolicy
from pods_kit import Agent, container, instance, podman, probe


def _report(agent: Agent) -> PodReport:
    plan = agent.plan()
    pods = {each.id: each for each in agent.podman.observe().pods}
    (which,) = agent.desired
    return report(which, pods.get(which.id), agent.memory, plan.waiting)


def _agent(which: Instance, turns: int = 0) -> Agent:
    agent = Agent(podman(), [which])
    for _ in range(turns):
        agent.turn()
    return agent


def _says(said: PodReport) -> tuple[Phase, bool, str]:
    return said.phase, said.ready, said.reason


def test_from_nothing_to_running() -> None:
    agent = _agent(instance())
    assert _says(_report(agent)) == (Phase.PENDING, False, "Pulling")
    agent.turn()
    assert _says(_report(agent)) == (Phase.PENDING, False, "ContainerCreating")
    agent.turn()
    said = _report(agent)
    assert _says(said) == (Phase.RUNNING, True, "")
    assert said.digest == agent.desired[0].manifest.digest
    assert said.addresses == ("10.0.0.2",)
    (only,) = said.containers
    assert (only.doing, only.ready, only.restarts) == (Doing.RUNNING, True, 0)


def test_an_image_that_does_not_come() -> None:
    agent = _agent(instance("web", container(image="registry.example/none")), 1)
    said = _report(agent)
    assert _says(said) == (Phase.PENDING, False, "ImagePullBackOff")
    assert "registry.example/none" in said.message


def test_init_containers() -> None:
    agent = _agent(instance("web", init=(container("one"),)), 3)
    said = _report(agent)
    assert said.phase is Phase.PENDING
    assert [(each.name, each.doing, each.reason) for each in said.containers] == [
        ("one", Doing.RUNNING, ""),
        ("a", Doing.WAITING, "PodInitializing"),
    ]
    agent.settle()
    said = _report(agent)
    assert _says(said) == (Phase.RUNNING, True, "")
    assert [(each.doing, each.reason) for each in said.containers] == [
        (Doing.TERMINATED, "Completed"),
        (Doing.RUNNING, ""),
    ]


def test_it_is_pending_until_all_containers_have_run() -> None:
    agent = _agent(instance("web", container("a"), container("b")))
    agent.podman.broken.add("web-b")
    for _ in range(3):
        agent.turn()
    said = _report(agent)
    assert _says(said) == (Phase.PENDING, False, "RunContainerError")
    assert [each.ready for each in said.containers] == [True, False]


def test_a_crash_loop() -> None:
    agent = _agent(instance(), 2)
    agent.podman.ends("web", "a", 3)
    agent.turn()
    agent.podman.ends("web", "a", 3)
    said = _report(agent)
    assert _says(said) == (Phase.RUNNING, False, "CrashLoopBackOff")
    assert (said.restarts, said.message) == (1, "it ended with 3")
    assert said.containers[0].doing is Doing.WAITING


def test_pods_that_end() -> None:
    for code, phase, reason in ((0, Phase.SUCCEEDED, ""), (2, Phase.FAILED, "Error")):
        agent = _agent(instance(restart=RestartPolicy.NEVER), 2)
        agent.podman.ends("web", "a", code)
        assert _says(_report(agent)) == (phase, False, reason)


def test_an_init_container_that_fails_for_good() -> None:
    once = instance("web", init=(container("one"),), restart=RestartPolicy.NEVER)
    agent = _agent(once, 3)
    agent.podman.init_ends(1)
    said = _report(agent)
    assert _says(said) == (Phase.FAILED, False, "Error")
    assert said.message == "one: it ended with 1"


def test_one_that_has_not_answered_is_not_ready() -> None:
    box = container(readiness=probe())
    agent = _agent(instance("web", box), 2)
    agent.crash()
    assert _says(_report(agent)) == (Phase.RUNNING, False, "")
    health = agent.memory.health["web", "a"]
    for well, reason in ((False, "NotReady"), (True, "")):
        health = told(box, health, ProbeKind.READINESS, well=well, why="refused", now=0)
        agent.memory = replace(agent.memory, health={("web", "a"): health})
        assert _says(_report(agent)) == (Phase.RUNNING, well, reason)


def test_all_containers_and_sidecars_have_to_be_ready() -> None:
    side = container("side", restart_always=True)
    agent = _agent(instance("web", container("a"), container("b"), init=(side,)))
    agent.settle()
    assert _report(agent).ready
    for name in ("side", "b"):
        agent.podman.ends("web", name, 1)
        assert not _report(agent).ready
        agent.settle()
        assert _report(agent).ready


def test_a_pod_of_the_manifest_before_is_told_as_what_it_is() -> None:
    box = container(readiness=probe())
    agent = _agent(instance("web", box), 2)
    agent.plan()
    health = told(
        box, agent.memory.health["web", "a"], ProbeKind.READINESS, well=True, why="", now=0
    )
    agent.memory = replace(agent.memory, health={("web", "a"): health})
    old = agent.desired[0].manifest.digest
    agent.desired = [instance("web", container(image="registry.example/none"))]
    agent.turn()
    said = _report(agent)
    assert _says(said) == (Phase.RUNNING, True, "ImagePullBackOff")
    assert said.digest == old
    # A new agent does not know how it was to be.
    agent.crash()
    assert _says(_report(agent)) == (Phase.PENDING, False, "Pulling")


def test_the_end_that_a_boot_made() -> None:
    agent = _agent(instance(restart=RestartPolicy.NEVER), 2)
    agent.podman.reboot()
    said = _report(agent)
    assert said.phase is Phase.FAILED
    assert said.containers[0].reason == "Unknown"
