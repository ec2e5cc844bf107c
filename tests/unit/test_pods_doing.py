"""Actions under way: in order for a pod, not after a failure, and told."""

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from podagent.actions import Action, Kill, Play, Pull, RemoveImage, RemovePod, StopPod
from podagent.doing import Doing
from pods_kit import instance
from updater.errors import BedplateError

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 30


class Desk:
    """The agent's thread, as far as `Doing` knows of it."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.applied: list[Action] = []
        self.told: list[tuple[Action, str]] = []
        self.settled = 0
        self.gate = threading.Event()
        self.fails: list[tuple[Action, BaseException]] = []
        self.doing = Doing(
            self._apply,
            self.queue.put,
            lambda action, error: self.told.append((action, error)),
            self._settled,
        )

    def _apply(self, action: Action) -> None:
        if isinstance(action, StopPod):
            assert self.gate.wait(SECONDS)
        self.applied.append(action)
        for failing, error in self.fails:
            if failing == action:
                raise error

    def _settled(self) -> None:
        self.settled += 1

    def look(self) -> None:
        self.doing.looks()
        self.doing.looked()

    def work(self, settled: int) -> None:
        """Take what is posted until so many things are over."""
        while self.settled < settled:
            self.queue.get(timeout=SECONDS)()


def test_a_pods_actions_are_done_in_order_and_keep_it_busy() -> None:
    desk = Desk()
    stop, remove, other = StopPod("web", 1), RemovePod("web"), RemovePod("other")
    desk.doing.begin([stop, other, remove])
    assert desk.doing.busy == {"web", "other"}
    desk.work(1)
    assert desk.told == [(other, "")]
    desk.look()
    assert desk.doing.busy == {"web"}
    desk.gate.set()
    desk.work(2)
    assert desk.told[1:] == [(stop, ""), (remove, "")]
    desk.look()
    assert desk.doing.busy == set()


def test_after_a_failure_the_pods_other_actions_are_left_out() -> None:
    desk = Desk()
    stop, remove = StopPod("web", 1), RemovePod("web")
    desk.fails.append((stop, BedplateError("podman stop: no")))
    desk.gate.set()
    desk.doing.begin([stop, remove])
    desk.work(1)
    assert desk.told == [(stop, "podman stop: no")]
    assert desk.applied == [stop]


def test_a_kill_waits_for_no_stop() -> None:
    desk = Desk()
    desk.doing.begin([StopPod(name, 1) for name in "abcdefgh"])
    desk.doing.begin([Kill("a")])
    desk.work(1)
    assert desk.told == [(Kill("a"), "")]
    desk.gate.set()
    desk.work(9)
    desk.look()
    assert desk.doing.busy == set()


def test_what_is_over_is_busy_until_podman_was_looked_at_after_it() -> None:
    desk = Desk()
    play = Play(instance())
    desk.doing.looks()
    desk.doing.begin([play, RemoveImage("a:1", "old")])
    desk.work(2)
    desk.doing.looked()  # it may have begun before they were over
    assert desk.doing.busy == {"web"}
    assert desk.doing.playing == (play.instance,)
    desk.doing.begin([play, RemoveImage("a:1", "old")])
    assert len(desk.applied) == 2, "done twice"
    desk.doing.looks()
    assert desk.doing.busy == {"web"}
    assert desk.doing.playing == (play.instance,)
    desk.doing.looked()
    assert not desk.doing.busy
    assert not desk.doing.playing
    desk.doing.begin([play])
    desk.work(3)


def test_a_kill_is_tried_again_without_a_look() -> None:
    desk = Desk()
    for number in (1, 2):
        desk.doing.begin([Kill("web")])
        desk.work(number)
    assert desk.applied == [Kill("web"), Kill("web")]


def test_an_image_is_pulled_once() -> None:
    desk = Desk()
    pull = Pull("a:1", (("web", "1"),))
    desk.doing.begin([pull])
    assert desk.doing.pulling == {"a:1"}
    desk.fails.append((pull, OSError(28, "No space left on device")))
    desk.work(1)
    assert desk.doing.pulling == set()


def test_an_error_of_our_own_ends_the_agent() -> None:
    desk = Desk()
    desk.fails.append((RemovePod("web"), ValueError("a mistake")))
    desk.doing.begin([RemovePod("web")])
    try:
        desk.work(1)
    except ValueError as error:
        assert str(error) == "a mistake"  # noqa: PT017 - it comes from the queue
    else:
        raise AssertionError("nobody was told")
