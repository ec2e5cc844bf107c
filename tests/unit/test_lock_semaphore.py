"""The lock as locksmith keeps it: formats, and many hosts that never are too many."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_model import EtcdModel
from hostkit.etcd import Compare, Operation, Outcome, Put
from rebootlock.manager import Contended, Manager
from rebootlock.semaphore import (
    Holder,
    Semaphore,
    SemaphoreError,
    decode,
    decode_record,
    encode,
    encode_record,
    group_of,
    record_key,
    semaphore_key,
)

ONE, TWO = "1" * 32, "2" * 32
KEY = "coreos.com/updateengine/rebootlock/semaphore"
names = st.text(st.characters(codec="utf-8"), max_size=20)
semaphores = st.builds(
    lambda most, holders: Semaphore(most, tuple(sorted(holders))),
    st.integers(0, 9),
    st.sets(names),
)


@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("", KEY),
        ("web", "coreos.com/updateengine/rebootlock/groups/web/semaphore"),
        # As Go's url.QueryEscape has it.
        ("a b/ü~", "coreos.com/updateengine/rebootlock/groups/a+b%2F%C3%BC~/semaphore"),
    ],
)
def test_the_keys_are_locksmiths(group: str, key: str) -> None:
    assert semaphore_key(group) == key
    assert group_of(key) == group
    assert group_of(record_key(group, ONE)) is None


@pytest.mark.parametrize("key", ["", "coreos.com/updateengine/rebootlock/groups//semaphore", "/a"])
def test_other_keys_are_no_groups(key: str) -> None:
    assert group_of(key) is None


@given(names.filter(bool))
def test_every_group_has_a_key_of_its_own(group: str) -> None:
    assert group_of(semaphore_key(group)) == group


def test_the_values_are_locksmiths() -> None:
    assert decode(b'{"semaphore":1,"max":1,"holders":null}', KEY) == Semaphore()
    taken = Semaphore().taken_by(ONE)
    assert json.loads(encode(taken)) == {"semaphore": 0, "max": 1, "holders": [ONE]}
    record = encode_record(Holder(ONE, 1397496396, "web-1", "2026.11.2"))
    assert json.loads(record) == {
        "machineID": ONE,
        "startTime": 1397496396,
        "hostname": "web-1",
        "version": "2026.11.2",
    }


@given(semaphores)
def test_a_semaphore_is_read_as_it_was_written(semaphore: Semaphore) -> None:
    assert decode(encode(semaphore), KEY) == semaphore


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "max is no number"),
        (b"[]", "max is no number"),
        (b"[" * 100_000, "max is no number"),
        (b'{"max": -1}', "max is no number from 0 to"),
        (b'{"max": true}', "max is no number"),
        (b'{"max": 1, "holders": "a"}', "holders is no list of texts"),
        (b'{"max": 1, "holders": [1]}', "holders is no list of texts"),
    ],
)
def test_what_is_no_semaphore_is_refused(value: bytes, message: str) -> None:
    with pytest.raises(SemaphoreError, match=message) as caught:
        decode(value, KEY)
    assert KEY in str(caught.value)
    assert "delete it when no host is rebooting" in str(caught.value)


@given(st.binary())
def test_any_bytes_are_a_record(value: bytes) -> None:
    assert decode_record(value, ONE).id == ONE


@pytest.mark.parametrize(
    "value",
    [None, b"", b"[]", b'{"startTime": -1}', b'{"startTime": true, "hostname": "a\\u001b"}'],
)
def test_a_broken_record_tells_nothing(value: bytes | None) -> None:
    assert decode_record(value, ONE) == Holder(ONE)


@given(semaphores, names)
def test_taking_and_giving_back(semaphore: Semaphore, holder: str) -> None:
    taken = semaphore.taken_by(holder)
    assert taken.taken_by(holder) == taken
    assert list(taken.holders) == sorted(set(taken.holders))
    assert (holder in taken.holders) == (holder in semaphore.holders or semaphore.available > 0)
    assert taken.without(holder) == semaphore.without(holder)


# --- With an etcd ---------------------------------------------------------------------------------


def test_the_lock_is_handed_on() -> None:
    etcd = EtcdModel()
    lock = Manager(etcd, "web")
    assert lock.look().semaphore == Semaphore()
    assert not etcd.keys, "to look is no write"
    mine = lock.take(Holder(ONE, 100, "web-1", "2"))
    assert mine.held_by(ONE)
    assert mine.holders == (Holder(ONE, 100, "web-1", "2"),)
    other = lock.take(Holder(TWO, 200))
    assert not other.held_by(TWO)
    assert other.holders[0].hostname == "web-1"
    assert lock.give_back(ONE)
    assert not lock.give_back(ONE)
    assert set(etcd.keys) == {semaphore_key("web")}, "the record is gone too"
    assert lock.take(Holder(TWO, 200)).held_by(TWO)


def test_after_a_crash_it_is_held_still_and_since_the_same_time() -> None:
    etcd = EtcdModel()
    lock = Manager(etcd, "")
    lock.take(Holder(ONE, 100))
    revision = etcd.revision
    again = lock.take(Holder(ONE, 200))
    assert (again.held_by(ONE), again.holders[0].since) == (True, 100)
    assert etcd.revision == revision


def test_groups_do_not_meet() -> None:
    etcd = EtcdModel()
    assert Manager(etcd, "").take(Holder(ONE, 1)).held_by(ONE)
    assert Manager(etcd, "db").take(Holder(TWO, 1)).held_by(TWO)


def test_a_lower_maximum_takes_it_from_nobody() -> None:
    lock = Manager(EtcdModel(), "")
    assert lock.set_max(2) == 1
    for each in (ONE, TWO):
        assert lock.take(Holder(each, 1)).held_by(each)
    assert lock.set_max(0) == 2
    assert lock.look().semaphore == Semaphore(0, (ONE, TWO))
    assert lock.give_back(ONE)
    assert not lock.take(Holder(ONE, 1)).held_by(ONE)


def test_what_locksmithctl_took_away_is_not_ours() -> None:
    etcd = EtcdModel()
    lock = Manager(etcd, "")
    lock.take(Holder(ONE, 100))
    etcd.put(KEY, b'{"semaphore":1,"max":1,"holders":[]}')
    assert lock.look().holders == ()
    assert not lock.give_back(ONE)


@dataclass
class Busy(EtcdModel):
    """Somebody else is always faster, for so many writes."""

    others: int = 0

    def transact(
        self,
        compare: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
    ) -> Outcome:
        if self.others and any(isinstance(each, Put) for each in then):
            self.others -= 1
            before = self.keys.get(KEY)
            known = decode(before.value, KEY) if before else Semaphore()
            super().transact([], [Put(KEY, encode(Semaphore(known.max + 1, known.holders)))])
        return super().transact(compare, then, otherwise)


def test_who_is_late_looks_again() -> None:
    etcd = Busy(others=3)
    assert Manager(etcd, "").take(Holder(ONE, 1)).held_by(ONE)
    assert decode(etcd.keys[KEY].value, KEY) == Semaphore(4, (ONE,)), "what others wrote is kept"
    etcd.others = 100
    with pytest.raises(Contended, match="changes all the time"):
        Manager(etcd, "").give_back(ONE)


@given(
    st.lists(st.tuples(st.sampled_from(["take", "give", "max"]), st.integers(0, 4)), max_size=30)
)
def test_never_more_hosts_than_allowed_took_it(steps: list[tuple[str, int]]) -> None:
    """Whatever order hosts come in; a maximum that is lowered ends nobody's."""
    lock = Manager(EtcdModel(), "")
    most, held = 1, set[int]()
    for step, number in steps:
        if step == "max":
            lock.set_max(number)
            most = number
        elif step == "give":
            assert lock.give_back(str(number)) == (number in held)
            held.discard(number)
        else:
            room = number in held or len(held) < most
            assert lock.take(Holder(str(number), 1)).held_by(str(number)) == room
            held |= {number} if room else set()
        assert lock.look().semaphore == Semaphore(most, tuple(sorted(map(str, held))))
