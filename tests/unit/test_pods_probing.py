"""Answers of probes -> started, alive, ready; when to ask next."""

import math

import pytest

from podagent.probing import Health, ProbeKind, begin, due, next_due, told
from podagent.types import Container
from pods_kit import container, probe

_STARTUP, _LIVENESS, _READINESS = ProbeKind


def _answers(box: Container, health: Health, kind: ProbeKind, answers: str) -> Health:
    """`+` and `-`, each asked when it is due."""
    for each in answers:
        at = dict(due(health)).get(kind, 0.0)
        health = told(box, health, kind, well=each == "+", why="refused", now=at)
    return health


def test_without_probes_what_runs_is_ready() -> None:
    health = begin(container(), 5, 0, 100)
    assert (health.started, health.ready, health.failure) == (True, True, "")
    assert next_due(health) == math.inf


def test_the_first_probe_comes_after_the_delay() -> None:
    box = container(readiness=probe(delay=7, period=3))
    assert due(begin(box, 5, 0, 100)) == ((_READINESS, 107),)
    # The container is older than the agent, or the clock was set back since.
    assert due(begin(box, 5, 4, 100)) == ((_READINESS, 103),)
    assert due(begin(box, 5, 999, 100)) == ((_READINESS, 100),)
    assert due(begin(box, 5, -999, 100)) == ((_READINESS, 107),)


def test_probes_keep_their_pace_and_do_not_pile_up() -> None:
    box = container(readiness=probe(period=10))
    health = begin(box, 5, 0, 100)
    health = told(box, health, _READINESS, well=True, why="", now=104)
    assert next_due(health) == 110
    health = told(box, health, _READINESS, well=True, why="", now=135)
    assert next_due(health) == 135


@pytest.mark.parametrize(
    ("answers", "ready"),
    [("", False), ("+", False), ("++", True), ("+-+", False), ("++-", True), ("++--", False),
     ("++-+-", True), ("++--+", False), ("++--++", True)],
)  # fmt: skip
def test_readiness(answers: str, ready: bool) -> None:  # noqa: FBT001
    box = container(readiness=probe(successes=2, failures=2))
    health = _answers(box, begin(box, 5, 0, 100), _READINESS, answers)
    assert health.ready is ready
    assert health.failure == ""
    assert health.unready == ("refused" if "-" in answers and not ready else "")


@pytest.mark.parametrize(
    ("answers", "alive"), [("", True), ("--", True), ("--+--", True), ("---", False)]
)
def test_liveness(answers: str, alive: bool) -> None:  # noqa: FBT001
    box = container(liveness=probe(failures=3))
    health = _answers(box, begin(box, 5, 0, 100), _LIVENESS, answers)
    assert (health.failure == "") is alive
    assert health.ready is alive


def test_a_container_that_is_to_be_restarted_is_asked_no_more() -> None:
    box = container(liveness=probe(failures=1), readiness=probe())
    health = _answers(box, begin(box, 5, 0, 100), _LIVENESS, "-")
    assert health.failure == "liveness probe failed 1 times: refused"
    assert due(health) == ()
    assert told(box, health, _READINESS, well=True, why="", now=200) == health


def test_startup_comes_before_the_others() -> None:
    box = container(startup=probe(failures=2), liveness=probe(), readiness=probe())
    health = begin(box, 5, 0, 100)
    assert [kind for kind, _ in due(health)] == [_STARTUP]
    assert not health.started
    # An answer that comes late from before is nobody's.
    assert told(box, health, _READINESS, well=True, why="", now=100) == health
    health = _answers(box, health, _STARTUP, "-+")
    assert health.started
    assert not health.ready
    assert [kind for kind, _ in due(health)] == [_LIVENESS, _READINESS]
    assert _answers(box, health, _READINESS, "+").ready


def test_a_container_that_does_not_come_up_is_restarted() -> None:
    box = container(startup=probe(failures=2), readiness=probe())
    health = _answers(box, begin(box, 5, 0, 100), _STARTUP, "--")
    assert health.failure == "startup probe failed 2 times: refused"
    assert not health.ready


def test_an_answer_to_a_probe_that_is_gone_changes_nothing() -> None:
    health = begin(container(liveness=probe()), 5, 0, 100)
    assert told(container(), health, _LIVENESS, well=False, why="x", now=100) == health
