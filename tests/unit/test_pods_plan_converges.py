"""Whatever podman has and whatever happens, the loop comes to the declared state and then rests.

Crashes of the agent between and within actions, exits, boots, changes and outages come at random;
the model of podman refuses what must never be asked.
"""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from podagent.actions import StopPod
from podagent.naming import podman_names
from podagent.types import Container, Instance, Origin, PullPolicy, RestartPolicy
from podagent.waiting import Reason
from podman_model import Podman
from pods_kit import IMAGE, Agent, container, instance, podman

_OTHER = "registry.example/other:1"
_NAMES = ("web", "api", "db", "web-2")
_FOREIGN = ("web", "api-a", "db-one", "box")

_images = st.sampled_from((IMAGE, _OTHER))
_pulls = st.sampled_from((PullPolicy.ALWAYS, PullPolicy.IF_NOT_PRESENT))


@st.composite
def _containers(draw: st.DrawFn, names: tuple[str, ...], least: int) -> tuple[Container, ...]:
    count = draw(st.integers(least, len(names)))
    return tuple(
        container(
            name,
            draw(_images),
            draw(_pulls),
            restart_always=not least and draw(st.booleans()),
        )
        for name in names[:count]
    )


@st.composite
def _instances(draw: st.DrawFn, name: str) -> Instance:
    return instance(
        name,
        *draw(_containers(("a", "b"), 1)),
        init=draw(_containers(("one", "two"), 0)),
        restart=draw(st.sampled_from(RestartPolicy)),
        host_network=draw(st.booleans()),
        origin=draw(st.sampled_from(Origin)),
        # Of its own: two that want the same can never both run.
        ports=draw(st.sampled_from(((), (1000 + _NAMES.index(name),), (80,)))),
        note=draw(st.sampled_from(("", "x"))),
    )


def _sane(desired: list[Instance]) -> list[Instance]:
    """No two that want one port of the host."""
    kept: list[Instance] = []
    ports: set[int] = set()
    for each in desired:
        mine = {one["hostPort"] for one in each.manifest.documents["ports"]}
        if not mine & ports:
            kept.append(each)
            ports |= mine
    return kept


@st.composite
def _desires(draw: st.DrawFn) -> list[Instance]:
    names = draw(st.sets(st.sampled_from(_NAMES)))
    return _sane([draw(_instances(each)) for each in sorted(names)])


@st.composite
def _beginnings(draw: st.DrawFn) -> Podman:
    """Any state: pods of other manifests, half-made ones, boxes in any state, foreign ones."""
    model = podman(_OTHER)
    begun = Agent(model, draw(_desires()))
    for _ in range(draw(st.integers(0, 6))):
        begun.turn()
        model.init_ends(draw(st.sampled_from((0, 1))))
    if draw(st.booleans()):
        begun.desired = draw(_desires())
        begun.turn(draw(st.integers(1, 5)), draw(st.integers(0, 2)))
    for pod, name in model.running():
        if draw(st.booleans()):
            model.ends(pod, name, draw(st.sampled_from((0, 1))))
    taken = {name for each in model.pods.values() for name in podman_names(each.instance)}
    model.foreign = {
        name: f"id of {IMAGE}"
        for name in draw(st.sets(st.sampled_from(_FOREIGN)))
        if name not in taken
    }
    if model.foreign:
        model.images.setdefault(f"id of {IMAGE}", {IMAGE})
    return model


def _happens(data: st.DataObject, agent: Agent) -> None:
    """Something goes wrong, or is changed."""
    model = agent.podman
    event = data.draw(
        st.sampled_from(
            ("turn", "part", "crash", "exit", "init", "change", "boot", "outage", "later", "break")
        )
    )
    if event == "turn":
        agent.turn()
    elif event == "part":
        agent.turn(data.draw(st.integers(1, 6)), data.draw(st.integers(0, 3)))
        agent.crash()
    elif event == "crash":
        agent.crash()
    elif event == "exit" and model.running():
        pod, name = data.draw(st.sampled_from(model.running()))
        model.ends(pod, name, data.draw(st.sampled_from((0, 1))))
    elif event == "init":
        model.init_ends(data.draw(st.sampled_from((0, 1))))
    elif event == "change":
        agent.desired = data.draw(_desires())
    elif event == "boot":
        model.reboot()
        agent.crash()
    elif event == "outage":
        model.registry = {} if model.registry else podman(_OTHER).registry
    elif event == "later":
        model.now += data.draw(st.sampled_from((1, 60, 3600)))
    else:
        model.broken = {"web-a"} - model.broken


def _check(agent: Agent, foreign: dict[str, str]) -> None:
    """All is well and at rest; only what a foreign pod is in the way of waits."""
    plan = agent.plan()
    assert plan.actions == ()
    blocked = {each.pod for each in plan.waiting if each.reason is Reason.NAME_TAKEN}
    assert {each.pod for each in plan.waiting} == blocked
    in_the_way = {
        each.id for each in agent.desired if set(podman_names(each)) & set(agent.podman.foreign)
    }
    assert blocked == in_the_way
    # One that cannot become another yet stays as it is.
    free = [each for each in agent.desired if each.id not in blocked]
    mine = replace_pods(agent.podman, blocked)
    assert mine.faults(free) == []
    assert agent.podman.foreign == foreign


def replace_pods(model: Podman, without: set[str]) -> Podman:
    return replace(
        model, pods={name: pod for name, pod in model.pods.items() if name not in without}
    )


@settings(deadline=None, max_examples=60)
@given(_beginnings(), _desires(), st.data())
def test_it_comes_to_the_declared_state(
    model: Podman, desired: list[Instance], data: st.DataObject
) -> None:
    agent, foreign = Agent(model, desired), dict(model.foreign)
    for _ in range(data.draw(st.integers(0, 12))):
        _happens(data, agent)
        assert model.foreign == foreign
    # At last all goes well for long enough.
    model.registry, model.broken = podman(_OTHER).registry, set()
    agent.settle()
    _check(agent, foreign)


@settings(deadline=None, max_examples=30)
@given(_desires())
def test_pods_that_stand_are_not_touched_by_a_new_agent(desired: list[Instance]) -> None:
    agent = Agent(podman(_OTHER), desired)
    agent.settle()
    before = len(agent.podman.log)
    Agent(agent.podman, desired).settle()
    assert agent.podman.log[before:] == []


@settings(deadline=None, max_examples=30)
@given(_beginnings())
def test_nothing_desired_leaves_nothing_of_ours(model: Podman) -> None:
    foreign, agent = dict(model.foreign), Agent(model, [])
    running, log = {pod for pod, _ in model.running()}, len(model.log)
    agent.settle()
    assert (model.pods, model.foreign) == ({}, foreign)
    assert {each.pod for each in model.log[log:] if isinstance(each, StopPod)} == running
