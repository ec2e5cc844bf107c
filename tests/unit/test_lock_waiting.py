"""The two loops: what a host does until it has the lock, and until it has given it back."""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostkit.etcd import Unavailable
from rebootlock import waiting
from rebootlock.manager import Standing
from rebootlock.semaphore import Holder, Semaphore
from rebootlock.waiting import give_back, pause, take_and_reboot, waits_for
from updater.programs import ProgramError
from updater.store import BusyError

FREE = Standing(Semaphore(), ())
OTHER = Holder("2" * 32, 1_700_000_000, "web-2")
TAKEN = Standing(Semaphore(1, (OTHER.id,)), (OTHER,))


def even() -> float:
    return 1.0


@dataclass
class Scripted:
    """A host that meets what the test says, one after the other."""

    hindrances: list[str] = field(default_factory=list)
    takes: list[bool | Exception] = field(default_factory=list)
    reboots: list[str | Exception] = field(default_factory=list)
    trials: list[bool] = field(default_factory=list)
    given: list[Exception | None] = field(default_factory=list)
    told: list[tuple[str, bool]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def hindrance(self) -> str:
        return self.hindrances.pop(0) if self.hindrances else ""

    def take(self) -> tuple[bool, Standing]:
        found = self.takes.pop(0)
        if isinstance(found, Exception):
            raise found
        return found, FREE if found else TAKEN

    def reboot(self) -> str:
        found = self.reboots.pop(0) if self.reboots else ""
        if isinstance(found, Exception):
            raise found
        return found

    def is_on_trial(self) -> bool:
        return self.trials.pop(0) if self.trials else False

    def give_back(self) -> None:
        found = self.given.pop(0)
        if found is not None:
            raise found

    def tell(self, text: str, *, held: bool) -> None:
        self.told.append((text, held))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_it_waits_ever_longer_for_as_long_as_it_takes() -> None:
    host = Scripted(takes=[*[False] * 20, True])
    assert take_and_reboot(host, even) == ""
    assert host.slept == [5, 10, 20, 40, *[60] * 16]
    assert host.told[0] == (
        "waiting for the reboot lock: web-2 since 2023-11-14T22:13:20Z holds it, and 1 may",
        False,
    )
    assert host.told[-1][1], "it is held"
    assert "then rebooting" in host.told[-1][0]


def test_without_etcd_it_waits_too() -> None:
    host = Scripted(takes=[Unavailable("etcd: http://a: refused", applied=True), True])
    assert take_and_reboot(host, even) == ""
    assert host.told[0] == ("waiting for the reboot lock: etcd: http://a: refused", False)


@pytest.mark.parametrize("before", [0, 1, 7])
def test_what_is_not_wanted_any_more_is_not_waited_for(before: int) -> None:
    host = Scripted(hindrances=[*[""] * before, "the strategy is off"], takes=[False] * before)
    assert take_and_reboot(host, even) == "the strategy is off"
    assert len(host.slept) == before


def test_between_the_lock_and_the_reboot_the_updater_comes_first() -> None:
    host = Scripted(takes=[True], reboots=[BusyError("busy"), ProgramError("no answer"), ""])
    assert take_and_reboot(host, even) == ""
    assert [text for text, _ in host.told[:2]] == [
        "has the reboot lock, and waits for the updater",
        "has the reboot lock, but cannot reboot: no answer",
    ]
    assert all(held for _, held in host.told)
    host = Scripted(takes=[True], reboots=[BusyError("busy"), "no release is staged"])
    assert take_and_reboot(host, even) == "no release is staged"


def test_it_is_given_back_once_the_release_is_good_and_etcd_is_there() -> None:
    away, full = Unavailable("etcd: away", applied=True), OSError(5, "Input/output error", "/var/a")
    host = Scripted(trials=[True, True, False], given=[away, full, None])
    assert give_back(host, even, lambda: True)
    assert host.told == [
        *[("has the reboot lock until this release is good", True)] * 2,
        ("has to give the reboot lock back: etcd: away", True),
        ("has to give the reboot lock back: /var/a: Input/output error", True),
        ("", False),
    ]
    assert host.slept == [5, 5, 5, 10]


def test_who_has_no_time_gives_up_but_tries_once() -> None:
    host = Scripted(given=[Unavailable("etcd: away")])
    assert not give_back(host, even, lambda: False)


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_a_pause_has_its_bounds(tries: int, chance: float) -> None:
    found = pause(tries, chance)
    assert math.isfinite(found)
    assert 2.5 <= found <= 60


def test_the_words() -> None:
    holders = tuple(Holder(str(number), hostname=f"h{number}") for number in range(5))
    most = Semaphore(5, tuple(each.id for each in holders))
    assert waits_for(Standing(most, holders)) == (
        "waiting for the reboot lock: h0, h1, h2, 2 more hold it, and 5 may"
    )
    assert waits_for(Standing(Semaphore(0), ())) == (
        "waiting for the reboot lock, which nobody is to have: its maximum is 0"
    )
    assert waiting.since(Holder("a" * 32)) == "a" * 32
