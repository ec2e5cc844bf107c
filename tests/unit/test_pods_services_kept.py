"""How services are kept: what is heard becomes what is brought, in time and no more often."""

import json
import math
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_model import EtcdModel
from hostkit.etcd import (
    Access,
    Change,
    Compare,
    KeyValue,
    Operation,
    Outcome,
    Snapshot,
    Unavailable,
)
from podagent.cluster.records import HostRecord, Report, encode, host_key, manifest_key, report_key
from podagent.cluster.view import View
from podagent.manifest.kinds import NAME
from podagent.phase import Phase
from podagent.services import keeper, networks, task
from podagent.services.desired import Desired
from podagent.services.keeper import Services, give, make_desired, see
from podagent.services.records import address_key, encode_address, service_key
from podagent.services.task import pause
from podagent.types import Kind, Manifest, PodSpec, RestartPolicy, Service, ServicePort
from updater.errors import BedplateError

SECONDS = 60
RANGE = IPv4Network("10.96.0.0/24")
STABLE = IPv4Address("10.96.0.7")
NOWHERE = Path("/nonexistent")
PORT = ServicePort("", "tcp", 80, 8080)


def parse(value: bytes, path: Path) -> Manifest:
    """A manifest that is nothing but the service it asks for."""
    found = json.loads(value)
    if found is None:
        raise BedplateError("refused")
    service = (
        Service(found["service"], found.get("address"), (PORT,)) if "service" in found else None
    )
    pod = PodSpec({}, (), (), RestartPolicy.ALWAYS, 30, host_network=False)
    return Manifest(path.name, Kind.DEPLOYMENT, 3, 1, None, {}, pod, service, "", {})


def change(key: str, value: bytes | None, revision: int) -> Change:
    return Change(key, value, revision, 0)


def item(key: str, value: bytes, revision: int = 0) -> KeyValue:
    return KeyValue(key, value, revision, revision, 1, 0)


def manifest(name: str, revision: int, **fields: str) -> Change:
    return change(manifest_key(name), json.dumps(fields).encode(), revision)


def reported(
    name: str, slot: int, address: str, revision: int, *, ready: bool = True, restarts: int = 0
) -> Change:
    found = Report(
        Phase.RUNNING,
        ready=ready,
        digest="",
        slot=slot,
        addresses=(address,),
        restarts=restarts,
    )
    return change(report_key("h1", f"{name}-{slot}"), encode(found), revision)


def held(name: str, address: IPv4Address, revision: int) -> Change:
    return change(service_key(name), encode_address(address), revision)


def view_of(*changes: Change) -> View:
    """A view that was listed, and heard these."""
    view = View(parse)
    view.listed(Snapshot(1, ()))
    for change in changes:
        view.changed(change)
    return view


WEB = (manifest("web", 2, service="web"), held("web", STABLE, 3), reported("web", 0, "10.5.1.2", 4))


# --- What is made of it ---------------------------------------------------------------------------


def test_changes_of_one_transaction_are_all_seen() -> None:
    view = view_of(*WEB)
    before = see(view)
    assert see(view) == before
    view.changed(reported("web", 1, "10.5.1.3", 5))
    between = see(view)
    view.changed(reported("web", 2, "10.5.1.4", 5))
    assert before != between != see(view)


def test_what_is_said_of_hosts_is_none_of_ours() -> None:
    view = view_of(*WEB)
    before = see(view)
    view.changed(change(host_key("h2"), encode(HostRecord({}, (), accepts=True)), 9))
    assert see(view) == before


NAMES = st.sampled_from(["a", "b", "c-1"])
VALUES = st.sampled_from([None, {}, {"service": "a"}, {"service": "front"}])
CHANGES = st.lists(
    st.one_of(
        st.builds(
            lambda name, value: change(manifest_key(name), json.dumps(value).encode(), 2),
            NAMES,
            VALUES,
        ),
        st.builds(lambda name: change(manifest_key(name), None, 2), NAMES),
        st.builds(lambda name, number: held(name, STABLE + number, 2), NAMES, st.integers(0, 2)),
        st.builds(
            lambda name, value: change(service_key(name), value, 2),
            NAMES,
            st.none() | st.binary(max_size=9),
        ),
        st.builds(
            lambda name, slot, ready: reported(name, slot, f"10.5.1.{slot}", 2, ready=ready),
            NAMES,
            st.integers(0, 3),
            st.booleans(),
        ),
        st.builds(
            lambda name, slot: change(report_key("h1", f"{name}-{slot}"), None, 2),
            NAMES,
            st.integers(0, 3),
        ),
    ),
    max_size=20,
)


@given(CHANGES)
def test_heard_in_any_order_or_listed_at_once_it_is_the_same(changes: list[Change]) -> None:
    view = view_of(*changes)
    state = {each.key: each for each in changes}
    items = [
        item(each.key, each.value, each.revision)
        for each in state.values()
        if each.value is not None
    ]
    for order in (items, items[::-1]):
        view.listed(Snapshot(3, tuple(order)))
        assert make_desired(see(view), "h1") == make_desired(see(view_of(*changes)), "h1")


@given(st.lists(st.from_regex(NAME.pattern, fullmatch=True).filter(NAME.matches), unique=True))
def test_every_name_of_a_workload_can_be_answered(names: list[str]) -> None:
    changes = [
        manifest(name, 2, service=other) for name, other in zip(names, names[::-1], strict=True)
    ]
    view = view_of(*changes, *(reported(name, 0, "10.5.1.2", 3) for name in names))
    make_desired(see(view), "h1")


# --- Addresses in etcd ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine runs the tests."""
    monkeypatch.setattr(networks, "known", lambda _file: (IPv4Network("10.5.0.0/16"),))


def claimed(**fields: str) -> keeper.Claims:
    """Of a workload whose manifest's key the model has not, and so never was changed."""
    view = View(parse)
    view.listed(Snapshot(1, (item(manifest_key("web"), json.dumps(fields).encode()),)))
    return see(view).claims


def test_an_address_is_given() -> None:
    etcd = EtcdModel()
    found = give(etcd, claimed(service="web"), RANGE, NOWHERE)
    assert (dict(found.faults), found.lost, found.error) == ({}, "", "")
    assert service_key("web") in etcd.keys


def test_what_stands_against_an_address_is_told() -> None:
    etcd = EtcdModel()
    found = give(etcd, claimed(service="web"), IPv4Network("10.5.128.0/20"), NOWHERE)
    assert "meets the network 10.5.0.0/16" in found.faults["service web"]
    assert etcd.keys == {}


def test_what_others_wrote_first_is_told_as_lost() -> None:
    etcd = EtcdModel(keys={address_key(STABLE): item(address_key(STABLE), b"db", 1)})
    found = give(etcd, claimed(service="web", address=str(STABLE)), RANGE, NOWHERE)
    assert address_key(STABLE) in found.lost
    assert found.error == ""


class Away:
    """An etcd that does not answer."""

    def transact(
        self,
        compare: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
    ) -> Outcome:
        del compare, then, otherwise
        raise Unavailable("etcd is away")


def test_an_etcd_that_is_away_is_told() -> None:
    found = give(Away(), claimed(service="web"), RANGE, NOWHERE)
    assert found.error == "etcd is away"


# --- In time --------------------------------------------------------------------------------------


class Desk:
    """The agent's thread, and a host on which things are brought."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.now = 1000.0
        self.brought: list[Desired] = []
        self.before: list[Desired | None] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.error: BaseException | None = None
        monkeypatch.setattr(task, "boottime", lambda: self.now)
        monkeypatch.setattr(keeper, "bring", self._bring)
        self.services = Services(
            Access(("http://127.0.0.1:1",)),
            "h1",
            NOWHERE,
            RANGE,
            post=self.queue.put,
            subnet_file=NOWHERE,
        )

    def _bring(self, desired: Desired, before: Desired | None, _runtime: Path) -> bool:
        self.entered.release()
        assert self.gate.wait(SECONDS)
        self.brought.append(desired)
        self.before.append(before)
        if self.error is not None:
            raise self.error
        return True

    def settle(self, view: View) -> None:
        """Turn until nothing is under way."""
        self.services.tend(view)
        # What is under way has no time of its own.
        while math.inf in (self.services._giving.next_time(), self.services._bringing.next_time()):
            self.queue.get(timeout=SECONDS)()
            self.services.tend(view)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


def test_nothing_is_brought_before_the_cluster_was_listed(desk: Desk) -> None:
    desk.services.tend(View(parse))
    assert desk.services.next_time() == math.inf
    desk.settle(view_of(*WEB))
    assert [str(STABLE) in each.table for each in desk.brought] == [True]


def test_a_change_is_brought_and_what_changes_nothing_is_not(desk: Desk) -> None:
    view = view_of(*WEB)
    desk.settle(view)
    view.changed(reported("web", 1, "10.5.1.3", 5))
    desk.settle(view)
    assert desk.before == [None, desk.brought[0]]
    assert "10.5.1.3" in desk.brought[1].table
    view.changed(reported("web", 1, "10.5.1.3", 6, restarts=3))
    desk.settle(view)
    desk.settle(view)
    assert len(desk.brought) == 2


def test_what_changes_meanwhile_is_brought_in_one_go(desk: Desk) -> None:
    view = view_of(*WEB)
    desk.gate.clear()
    desk.services.tend(view)
    assert desk.entered.acquire(timeout=SECONDS)
    for slot in range(1, 6):
        view.changed(reported("web", slot, f"10.5.1.{slot + 2}", 5))
        desk.services.tend(view)
    desk.gate.set()
    desk.settle(view)
    assert len(desk.brought) == 2
    assert "10.5.1.7" in desk.brought[1].table


def test_a_failure_is_told_and_tried_again_when_it_is_time(desk: Desk) -> None:
    view = view_of(*WEB)
    desk.settle(view)
    view.changed(reported("web", 1, "10.5.1.3", 5))
    desk.error = BedplateError("nft refuses it")
    for failures in range(1, 4):
        desk.settle(view)
        assert desk.services.faults == {"services": "nft refuses it"}
        assert desk.services.next_time() == desk.now + pause(failures)
        desk.settle(view)
        assert len(desk.brought) == 1 + failures
        desk.now = desk.services.next_time()
    desk.error = None
    desk.settle(view)
    assert desk.services.faults == {}
    # After a failure nobody knows what is in place.
    assert desk.before == [None, desk.brought[0], None, None, None]


def test_after_a_failure_a_change_is_tried_at_once(desk: Desk) -> None:
    view = view_of(*WEB)
    desk.error = OSError("no space")
    desk.settle(view)
    view.changed(reported("web", 1, "10.5.1.3", 5))
    desk.settle(view)
    assert len(desk.brought) == 2


def test_all_is_looked_at_now_and_then(desk: Desk) -> None:
    view = view_of(*WEB)
    desk.settle(view)
    desk.now = desk.services.next_time()
    desk.settle(view)
    assert desk.brought == [desk.brought[0]] * 2
    assert desk.before == [None, desk.brought[0]]


def test_an_address_that_etcd_does_not_give_is_told_after_a_few_tries(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, told = keeper._Given({"service db": "no"}, lost="it is taken"), []
    monkeypatch.setattr(keeper, "give", lambda *_: lost)
    view = view_of(*WEB)
    for _ in range(4):
        desk.settle(view)
        told.append(desk.services.faults.get("addresses"))
        assert desk.services.faults["service db"] == "no"
        desk.now = desk.services.next_time()
    assert told == [None, None, None, "it is taken"]
    monkeypatch.setattr(keeper, "give", lambda *_: keeper._Given())
    desk.settle(view)
    assert desk.services.faults == {}


@given(st.integers(1, 2000))
def test_the_more_failures_the_longer_the_pause(failures: int) -> None:
    assert 0 < pause(failures) <= pause(failures + 1) <= pause(0)
