"""Which probes are run when, and what their answers do in the end."""

import math

from podagent.asking import Question, answered, questions
from podagent.probing import ProbeKind
from pods_kit import Agent, container, instance, podman, probe


def _agent(**probes: "object") -> Agent:
    box = container(**probes)  # type: ignore[arg-type]
    agent = Agent(podman(), [instance("web", box)])
    agent.settle()
    return agent


def _ask(agent: Agent, *asked: Question) -> tuple[list[Question], float]:
    agent.plan()
    found, later = questions(
        agent.memory, agent.podman.observe(), agent.podman.now, [each.key for each in asked]
    )
    return found, round(later - agent.podman.now, 3)


def test_without_probes_nothing_is_asked() -> None:
    assert _ask(_agent()) == ([], math.inf)


def test_what_is_due_is_asked_once_and_again_after_its_period() -> None:
    agent = _agent(readiness=probe(period=10), liveness=probe(delay=5))
    (question,), later = _ask(agent)
    assert (question.pod, question.podman_name, question.kind) == (
        "web",
        "web-a",
        ProbeKind.READINESS,
    )
    assert question.addresses == ("10.0.0.2",)
    assert 4.9 < later <= 5
    assert _ask(agent, question)[0] == []
    now = agent.podman.now
    agent.memory = answered(agent.memory, question, well=True, why="", clock=now)
    assert agent.memory.health["web", "a"].ready
    agent.podman.now += 5
    assert [each.kind for each in _ask(agent)[0]] == [ProbeKind.LIVENESS]
    agent.podman.now += 5
    assert len(_ask(agent)[0]) == 2


def test_an_answer_about_the_run_before_is_nobodys() -> None:
    agent = _agent(liveness=probe(failures=1))
    (question,), _ = _ask(agent)
    agent.podman.ends("web", "a", 1)
    assert _ask(agent)[0] == []
    agent.settle()
    before = agent.memory
    late = answered(before, question, well=False, why="refused", clock=agent.podman.now)
    assert late == before
    assert [each.run > question.run for each in _ask(agent)[0]] == [True]
    assert agent.plan().actions == ()


def test_a_pod_of_the_manifest_before_is_asked_what_that_says() -> None:
    agent = _agent(liveness=probe(failures=1))
    agent.desired = [instance("web", container(image="registry.example/none"))]
    agent.turn()
    (question,), _ = _ask(agent)
    clock = agent.podman.now
    agent.memory = answered(agent.memory, question, well=False, why="refused", clock=clock)
    assert [type(each).__name__ for each in agent.plan().actions] == ["StopContainer"]
