"""What is planned for pods, rule by rule; the whole of it is in test_pods_plan_converges."""

from dataclasses import replace

import pytest

from podagent.actions import (
    Kill,
    Play,
    Pull,
    RemoveImage,
    RemovePod,
    StartContainer,
    StopContainer,
    StopPod,
    describe,
)
from podagent.memory import Memory
from podagent.naming import podman_names
from podagent.plan import Plan, Under
from podagent.probing import ProbeKind, told
from podagent.types import Instance, Origin, PullPolicy, RestartPolicy
from podagent.waiting import Reason
from pods_kit import IMAGE, Agent, changed, container, instance, podman, probe

_OLD, _NEW = "registry.example/app:1", "registry.example/app:2"


def _names(plan: Plan) -> list[str]:
    return [type(each).__name__ for each in plan.actions]


def _standing(*instances: Instance) -> Agent:
    agent = Agent(podman(_NEW), instances)
    agent.settle()
    return agent


def test_an_image_is_pulled_then_the_pod_is_played_then_nothing_is_left() -> None:
    web = instance()
    agent = Agent(podman(), [web])
    plan = agent.turn()
    assert plan.actions == (Pull(IMAGE, (("web", web.manifest.digest),)),)
    assert [(each.reason, each.until) for each in plan.waiting] == [(Reason.PULLING, None)]
    assert agent.turn().actions == (Play(web),)
    plan = agent.turn()
    assert (plan.actions, plan.waiting, plan.look_at) == ((), (), None)
    assert agent.podman.faults([web]) == []


def test_pods_that_want_one_image_share_its_pull() -> None:
    pods = [instance(name) for name in ("a", "b")]
    (pull,) = Agent(podman(), pods).turn().actions
    assert isinstance(pull, Pull)
    assert [name for name, _ in pull.needed_by] == ["a", "b"]


def test_what_is_on_its_way_is_not_pulled_twice() -> None:
    agent = Agent(podman(), [instance()], under=Under(pulling={IMAGE}))
    plan = agent.turn()
    assert plan.actions == ()
    assert plan.waiting[0].reason is Reason.PULLING


def test_order_of_need() -> None:
    pods = [
        instance("a"),
        instance("b", origin=Origin.FOLDER),
        instance("c", host_network=True),
        instance("d", host_network=True, origin=Origin.FOLDER),
    ]
    agent = Agent(podman(), pods)
    agent.turn()
    plan = agent.turn()
    assert [each.pod for each in plan.actions if isinstance(each, Play)] == ["d", "c", "b", "a"]


def test_a_pod_nobody_wants_is_stopped_with_its_grace_and_removed() -> None:
    agent = _standing(instance())
    agent.desired = []
    assert agent.turn().actions == (StopPod("web", 30), RemovePod("web"))
    assert agent.podman.pods == {}


def test_one_that_has_ended_is_just_removed() -> None:
    agent = _standing(instance())
    agent.podman.reboot()
    agent.desired = []
    assert agent.plan().actions == (RemovePod("web"),)


def test_a_changed_pod_goes_when_its_new_image_is_there() -> None:
    agent = _standing(instance())
    new = instance("web", container(image=_NEW))
    agent.desired = [new]
    assert _names(agent.turn()) == ["Pull"]
    assert agent.podman.running() == [("web", "a")]
    assert agent.turn().actions == (StopPod("web", 30), RemovePod("web"), Play(new))


def test_a_change_that_cannot_be_pulled_leaves_the_old_pod_alive() -> None:
    agent = _standing(instance())
    agent.desired = [instance("web", container(image="registry.example/none"))]
    agent.turn()
    plan = agent.turn()
    assert plan.actions == ()
    assert [each.reason for each in plan.waiting] == [Reason.IMAGE_BACK_OFF]
    assert plan.waiting[0].message == "no image registry.example/none at its registry"
    assert plan.look_at == agent.podman.now + 10
    # It lives by its own manifest until then.
    agent.podman.ends("web", "a", 1)
    assert _names(agent.turn()) == ["StartContainer"]


def test_a_pull_that_fails_is_tried_ever_less_often() -> None:
    agent = Agent(podman(), [instance("web", container(image="registry.example/none"))])
    waits = []
    for _ in range(8):
        assert _names(agent.turn()) == ["Pull"]
        at = agent.plan().look_at
        assert at is not None
        waits.append(at - agent.podman.now)
        agent.podman.now = at
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


def test_always_asks_the_registry_once_for_a_change() -> None:
    always = container(pull=PullPolicy.ALWAYS)
    agent = _standing(instance("web", always))
    assert [type(each) for each in agent.podman.log] == [Pull, Play]
    agent.desired = [changed(agent.desired[0], "other")]
    agent.settle()
    assert [type(each) for each in agent.podman.log[2:]] == [Pull, StopPod, RemovePod, Play]


def test_an_image_by_digest_that_is_there_is_not_asked_for() -> None:
    image = "registry.example/app@sha256:0"
    agent = Agent(podman(image), [instance("a", container(image=image))])
    agent.settle()
    agent.desired = [*agent.desired, instance("b", container(image=image, pull=PullPolicy.ALWAYS))]
    assert _names(agent.turn()) == ["Play"]


def test_a_policy_of_never_waits_for_somebody_to_bring_the_image() -> None:
    agent = Agent(podman(), [instance("web", container(pull=PullPolicy.NEVER))])
    plan = agent.turn()
    assert (plan.actions, plan.waiting[0].reason) == ((), Reason.IMAGE_NEVER)
    agent.podman.images["x"] = {IMAGE}
    assert _names(agent.turn()) == ["Play"]


def test_a_foreign_name_is_waited_for_and_its_owner_left_alone() -> None:
    for name in podman_names(instance()):
        agent = Agent(podman(), [instance(), instance("other")])
        agent.podman.foreign[name] = "x"
        plan = agent.settle()
        assert [(each.pod, each.reason) for each in plan.waiting] == [("web", Reason.NAME_TAKEN)]
        assert list(agent.podman.pods) == ["other"]
        del agent.podman.foreign[name]
        assert agent.settle().waiting == ()


def test_two_pods_of_one_name_in_podman_are_not_both_played() -> None:
    first = instance("web", container("a-b"), origin=Origin.FOLDER)
    agent = Agent(podman(), [first, instance("web-a", container("b"))])
    plan = agent.settle()
    assert [each.pod for each in plan.waiting] == ["web-a"]
    assert "pod web" in plan.waiting[0].message


def test_one_that_stands_keeps_its_name() -> None:
    agent = _standing(instance("web-a", container("b")))
    agent.desired = [*agent.desired, instance("web", container("a-b"), origin=Origin.FOLDER)]
    plan = agent.settle()
    assert [each.pod for each in plan.waiting] == ["web"]
    assert agent.podman.running() == [("web-a", "b")]


def test_of_two_with_one_id_one_is_played() -> None:
    agent = Agent(podman(), [instance(), instance(note="other")])
    plan = agent.settle()
    assert [each.reason for each in plan.waiting] == [Reason.NAME_TAKEN]
    assert len(agent.podman.log) == 2


@pytest.mark.parametrize("made", [0, 1])
def test_a_half_made_pod_is_made_anew(made: int) -> None:
    agent = Agent(podman(), [instance("web", container("a"), container("b"))])
    agent.turn()
    agent.turn(1, half=made)
    agent.crash()
    assert _names(agent.turn()) == ["RemovePod", "Play"]
    assert agent.podman.faults(agent.desired) == []


def test_a_play_that_fails_is_cleared_away_and_waits() -> None:
    agent = Agent(podman(), [instance("a", ports=(80,)), instance("b", ports=(80,))])
    agent.turn()
    agent.turn()
    plan = agent.turn()
    assert plan.waiting[0].reason is Reason.CREATE_ERROR
    assert plan.waiting[0].message == "address already in use"
    assert plan.look_at == pytest.approx(agent.podman.now + 10)


def test_a_port_of_the_host_is_waited_for() -> None:
    agent = _standing(instance("old", ports=(80,)))
    agent.desired = [instance("new", ports=(80,)), instance("free", ports=(81,))]
    plan = agent.turn()
    assert _names(plan) == ["StopPod", "RemovePod", "Play"]
    assert [(each.pod, each.reason) for each in plan.waiting] == [("new", Reason.OTHER_POD_ENDS)]
    assert _names(agent.turn()) == ["Play"]


def test_pods_can_swap_their_ports() -> None:
    agent = _standing(instance("a", ports=(80,)), instance("b", ports=(81,)))
    agent.desired = [instance("a", ports=(81,)), instance("b", ports=(80,))]
    agent.settle()
    assert agent.podman.faults(agent.desired) == []
    assert not any(isinstance(each, Play) for each in agent.podman.log[-3:-2])


def test_new_pods_wait_while_var_is_nearly_full_and_old_ones_stay() -> None:
    agent = _standing(instance("old"))
    agent.podman.filled = 95_000
    agent.podman.ends("old", "a", 1)
    agent.desired = [*agent.desired, instance("new")]
    plan = agent.turn()
    assert _names(plan) == ["StartContainer"]
    assert [(each.pod, each.reason) for each in plan.waiting] == [("new", Reason.DISK_PRESSURE)]
    agent.podman.filled = 0
    assert _names(agent.turn()) == ["Play"]


def test_a_busy_pod_is_left_to_who_works_on_it() -> None:
    agent = _standing(instance("a", ports=(80,)), instance("b"))
    agent.desired = [changed(instance("a"), "x"), instance("c", ports=(80,))]
    agent.under = Under(busy={"a", "b"})
    plan = agent.plan()
    assert plan.actions == ()
    assert [each.message for each in plan.waiting] == ["pod a has ports of the host"]


def test_a_fenced_pod_is_killed_even_while_it_is_stopped() -> None:
    agent = _standing(instance("a"), instance("b"))
    agent.desired = [instance("a")]
    agent.under = Under(fenced={"a", "b"}, busy={"b"})
    plan = agent.plan()
    assert plan.actions == (Kill("a"), RemovePod("a"), Kill("b"))
    assert [each.reason for each in plan.waiting] == [Reason.FENCED]


def test_a_container_that_ends_is_started_ever_later() -> None:
    agent = _standing(instance())
    waits = []
    for _ in range(7):
        agent.podman.ends("web", "a", 1)
        ended = agent.podman.now
        plan = agent.plan()
        if plan.look_at is not None:
            assert plan.waiting[0].reason is Reason.CRASH_LOOP
            agent.podman.now = plan.look_at
        waits.append(round(agent.podman.now - ended, 3))
        assert agent.turn().actions == (StartContainer("web", "a", ended),)
    assert waits == [0, 10, 20, 40, 80, 160, 300]
    agent.podman.now += 601
    agent.podman.ends("web", "a", 1)
    assert _names(agent.plan()) == ["StartContainer"]


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        (RestartPolicy.ALWAYS, 0, True),
        (RestartPolicy.ALWAYS, 1, True),
        (RestartPolicy.ON_FAILURE, 0, False),
        (RestartPolicy.ON_FAILURE, 1, True),
        (RestartPolicy.NEVER, 0, False),
        (RestartPolicy.NEVER, 1, False),
    ],
)
def test_restart_policies(policy: RestartPolicy, code: int, again: bool) -> None:  # noqa: FBT001
    agent = _standing(instance(restart=policy))
    agent.podman.ends("web", "a", code)
    agent.crash()
    assert bool(agent.plan().actions) is again


def test_a_container_that_cannot_start_is_tried_ever_less_often() -> None:
    agent = Agent(podman(), [instance()])
    agent.podman.broken.add("web-a")
    agent.turn()
    agent.turn()
    assert _names(agent.turn()) == ["StartContainer"]
    plan = agent.plan()
    assert (plan.waiting[0].reason, plan.waiting[0].message) == (
        Reason.START_ERROR,
        "no such program",
    )
    assert plan.look_at == agent.podman.now + 10


def _unwell(agent: Agent) -> None:
    web = agent.desired[0]
    agent.plan()
    health = agent.memory.health["web", "a"]
    health = told(
        web.manifest.pod.containers[0],
        health,
        ProbeKind.LIVENESS,
        well=False,
        why="refused",
        now=agent.podman.now,
    )
    agent.memory = replace(agent.memory, health={("web", "a"): health})


@pytest.mark.parametrize("policy", RestartPolicy)
def test_a_container_that_is_not_alive_is_stopped_and_started(policy: RestartPolicy) -> None:
    sick = container(liveness=probe(failures=1))
    agent = _standing(instance("web", sick, restart=policy))
    _unwell(agent)
    why = "liveness probe failed 1 times: refused"
    assert agent.turn().actions == (StopContainer("web", "a", 30, why),)
    # Its end was 0, and was none of its own.
    again = ["StartContainer"] if policy is not RestartPolicy.NEVER else []
    assert _names(agent.turn()) == again
    assert agent.plan().actions == ()


def test_init_containers_run_one_after_the_other() -> None:
    init = (container("one"), container("side", restart_always=True), container("two"))
    agent = Agent(podman(), [instance("web", container("a"), container("b"), init=init)])
    started = []
    for _ in range(8):
        plan = agent.turn()
        started += [each.container for each in plan.actions if isinstance(each, StartContainer)]
        agent.podman.init_ends()
    assert started == ["one", "side", "two", "a", "b"]
    assert agent.podman.faults(agent.desired) == []


def test_a_sidecar_is_waited_for_until_it_has_started() -> None:
    side = container("side", restart_always=True, startup=probe())
    agent = Agent(podman(), [instance("web", init=(side,))])
    agent.settle()
    assert agent.podman.running() == [("web", "side")]
    health = agent.memory.health["web", "side"]
    health = told(side, health, ProbeKind.STARTUP, well=True, why="", now=agent.podman.now)
    agent.memory = replace(agent.memory, health={("web", "side"): health})
    agent.settle()
    assert agent.podman.running() == [("web", "side"), ("web", "a")]


def test_an_init_container_that_fails_is_run_again_by_itself() -> None:
    agent = Agent(podman(), [instance("web", init=(container("one"),))])
    for _ in range(3):
        agent.turn()
    assert agent.podman.running() == [("web", "one")]
    agent.podman.init_ends(1)
    agent.turn()
    agent.podman.init_ends(1)
    plan = agent.plan()
    assert [(each.reason, each.container) for each in plan.waiting] == [(Reason.CRASH_LOOP, "one")]
    agent.settle()
    assert agent.podman.faults(agent.desired) == []


def test_sidecars_end_with_the_others() -> None:
    side = container("side", restart_always=True)
    agent = _standing(instance("web", init=(side,), restart=RestartPolicy.ON_FAILURE))
    agent.podman.ends("web", "a", 0)
    assert agent.turn().actions == (StopContainer("web", "side", 30, "the pod has ended"),)
    assert agent.turn().actions == ()


def test_after_a_boot_containers_are_started() -> None:
    agent = _standing(instance("web", container("a"), container("b")))
    agent.podman.reboot()
    agent.crash()
    assert _names(agent.turn()) == ["StartContainer", "StartContainer"]


def test_after_a_boot_a_pod_with_init_containers_is_played_anew() -> None:
    agent = _standing(instance("web", init=(container("one"),)))
    agent.podman.reboot()
    agent.crash()
    assert _names(agent.turn()) == ["RemovePod", "Play"]
    agent.settle()
    assert agent.podman.faults(agent.desired) == []


def test_after_a_boot_a_job_that_was_done_is_not_done_again() -> None:
    once = instance("web", init=(container("one"),), restart=RestartPolicy.ON_FAILURE)
    agent = _standing(once)
    agent.podman.ends("web", "a", 0)
    agent.podman.reboot()
    agent.crash()
    assert agent.plan().actions == ()


def test_a_job_that_a_boot_cut_off_is_done_again_only_if_it_may() -> None:
    for policy, again in ((RestartPolicy.ON_FAILURE, True), (RestartPolicy.NEVER, False)):
        agent = _standing(instance(restart=policy))
        agent.podman.reboot()
        agent.crash()
        assert bool(agent.plan().actions) is again


def test_unused_images_grow_old_and_go() -> None:
    agent = _standing(instance())
    agent.podman.images["old"] = {"registry.example/old:1"}
    agent.podman.images["theirs"] = {"registry.example/theirs:1"}
    agent.podman.foreign["their-box"] = "theirs"
    plan = agent.turn()
    assert plan.actions == ()
    assert plan.look_at is not None
    agent.podman.now = plan.look_at
    assert agent.turn().actions == (RemoveImage("old", "nothing has used it for long"),)
    assert agent.turn().actions == ()


def test_a_memory_that_is_lost_takes_nothing_with_it() -> None:
    agent = _standing(instance())
    agent.memory = Memory()
    assert agent.plan().actions == ()


def test_actions_have_a_line_for_people() -> None:
    agent = _standing(instance("web", init=(container("one"),)))
    agent.desired = []
    agent.settle()
    assert [describe(each) for each in agent.podman.log] == [
        f"pull image {IMAGE}",
        "play pod web",
        "start container one of pod web",
        "start container a of pod web",
        "stop pod web",
        "remove pod web",
    ]


def test_in_the_hosts_network_any_port_may_be_taken() -> None:
    for old, new in (
        (instance("old", host_network=True), instance("new", ports=(80,))),
        (instance("old", ports=(80,)), instance("new", host_network=True)),
    ):
        agent = _standing(old)
        agent.desired = [new, instance("free")]
        plan = agent.turn()
        assert [each.pod for each in plan.actions if isinstance(each, Play)] == ["free"]
        assert [each.reason for each in plan.waiting] == [Reason.OTHER_POD_ENDS]


def test_init_containers_that_had_their_turn_are_looked_at_no_more() -> None:
    agent = _standing(instance("web", container("a"), container("b"), init=(container("one"),)))
    # The clock was set back while it ran: it looks as if a boot had cut it off.
    box = agent.podman.pods["web"].boxes["one"]
    box.finished = box.started - 3600
    agent.podman.ends("web", "a", 1)
    ended = agent.podman.now
    assert agent.turn().actions == (StartContainer("web", "a", ended),)


def test_a_sidecar_in_trouble_does_not_hold_up_the_others_again() -> None:
    agent = _standing(instance("web", init=(container("side", restart_always=True),)))
    agent.podman.broken.add("web-side")
    agent.podman.ends("web", "side", 1)
    agent.turn()
    agent.podman.ends("web", "a", 1)
    assert [each.container for each in agent.plan().waiting] == ["side"]
    assert [
        each.container for each in agent.turn().actions if isinstance(each, StartContainer)
    ] == ["a"]


def test_a_name_of_a_pod_that_goes_is_waited_for() -> None:
    agent = _standing(instance("web", container("a-b")))
    new = instance("web-a", container("b"))
    agent.desired = [new]
    plan = agent.turn()
    assert _names(plan) == ["StopPod", "RemovePod"]
    assert plan.waiting[0].message == "pod web has the name web-a-b"
    assert agent.turn().actions == (Play(new),)


def test_a_half_made_pod_is_cleared_away_where_it_cannot_be_made() -> None:
    agent = Agent(podman(), [instance("web", container("a"), container("b"))])
    agent.turn()
    agent.turn(1, half=1)
    agent.podman.foreign["web-b"] = "x"
    assert agent.turn().actions == (RemovePod("web"),)
    assert agent.turn().actions == ()


def test_a_pod_that_is_wanted_twice_is_tended_once() -> None:
    agent = Agent(podman(), [instance(), instance(note="other")])
    agent.settle()
    agent.podman.ends("web", "a", 1)
    assert _names(agent.turn()) == ["StartContainer"]


def test_one_that_is_just_being_made_is_killed_when_its_fence_falls() -> None:
    agent = Agent(podman(), [instance(init=(container("one"),))])
    agent.turn()
    agent.turn()
    agent.under = Under(fenced={"web"}, busy={"web"})
    assert agent.plan().actions == (Kill("web"),)
    agent.under = Under(fenced={"web"})
    assert agent.plan().actions == (RemovePod("web"),)


def test_what_is_played_again_unchanged_asks_no_registry() -> None:
    always = container(pull=PullPolicy.ALWAYS)
    agent = _standing(instance("web", always, init=(container("one"),)))
    agent.podman.registry.clear()
    agent.podman.reboot()
    agent.crash()
    assert _names(agent.turn()) == ["RemovePod", "Play"]


def test_a_half_made_pod_of_the_manifest_before_is_not_brought_up() -> None:
    agent = Agent(podman(), [instance("web", container("a"), container("b"))])
    agent.turn()
    agent.turn(1, half=1)
    agent.plan()
    agent.desired = [instance("web", container(image="registry.example/none"))]
    assert _names(agent.turn()) == ["Pull"]
    assert agent.plan().actions == ()
