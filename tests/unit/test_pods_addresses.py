from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_model import EtcdModel
from podagent.cluster.view import Workload
from podagent.services.addresses import (
    DEFAULT_RANGE,
    Free,
    Plan,
    Take,
    plan,
    read_range,
    write,
)
from podagent.services.records import SERVICES, Held, address_key, read_held
from podagent.types import Kind, Manifest, PodSpec, RestartPolicy, Service, ServicePort

SMALL = IPv4Network("10.96.0.0/29")  # six hosts
FIRST, SECOND = IPv4Address("10.96.0.1"), IPv4Address("10.96.0.2")
PORTS = (ServicePort("", "tcp", 80, 8080),)
HEADLESS = Service("web", None, ())


def workload(name: str, service: Service | None, revision: int = 1, refused: str = "") -> Workload:
    pod = PodSpec({}, (), (), RestartPolicy.ALWAYS, 30, host_network=False)
    manifest = Manifest(name, Kind.DEPLOYMENT, 3, 1, None, {}, pod, service, "", {})
    return Workload(name, revision, manifest, refused)


def wants(name: str, asked: object = None, revision: int = 1) -> Workload:
    return workload(name, Service(name, str(asked) if asked else None, PORTS), revision)


def choose(
    workloads: Sequence[Workload],
    *held: Held,
    span: IPv4Network = SMALL,
    networks: Sequence[IPv4Network] = (),
) -> Plan:
    any_random = Random(1)  # noqa: S311 - any will do
    return plan(workloads, held, span=span, networks=networks, random=any_random)


def test_a_workload_with_a_service_is_given_an_address_and_keeps_it() -> None:
    (action,) = choose([wants("web"), workload("plain", None)]).actions
    assert isinstance(action, Take)
    assert action.address in SMALL.hosts()
    assert choose([wants("web")], Held("web", action.address, 5)) == Plan()


def test_what_is_asked_for_is_taken_if_it_is_free() -> None:
    assert choose([wants("web", FIRST)]).actions == (Take("web", 1, FIRST, None),)
    assert choose([wants("web", FIRST)], Held("web", FIRST, 5)) == Plan()
    mine = Held("web", SECOND, 5)
    assert choose([wants("web", FIRST)], mine).actions == (Take("web", 1, FIRST, mine),)


def test_what_is_asked_for_and_is_not_free_is_a_fault() -> None:
    assert choose([wants("web", FIRST), wants("db")], Held("db", FIRST, 5)).faults == {
        "web": "clusterIP 10.96.0.1 is db's"
    }
    assert choose([wants("web", FIRST), wants("api", FIRST)]).faults == {
        "web": "clusterIP 10.96.0.1 is api's"
    }
    for outside in ("10.96.0.0", "10.96.0.7", "10.96.0.8"):
        fault = choose([wants("web", IPv4Address(outside))]).faults["web"]
        assert fault == f"clusterIP {outside} is not in the range 10.96.0.0/29 of services"


def test_who_asks_comes_before_who_does_not() -> None:
    asked = [wants(f"z{each}", each) for each in list(SMALL.hosts())[:5]]
    found = choose([wants("a"), *asked])
    assert not found.faults
    assert {each.address for each in found.actions if isinstance(each, Take)} == {*SMALL.hosts()}


def test_an_address_is_freed_with_its_workload_or_its_service() -> None:
    held = Held("web", FIRST, 5)
    assert choose([], held).actions == (Free(held, 0),)
    for service in (None, HEADLESS):
        assert choose([workload("web", service, 9)], held).actions == (Free(held, 9),)


def test_a_workload_whose_manifest_is_wrong_keeps_its_address_and_is_given_none() -> None:
    held = Held("web", FIRST, 5)
    for refused in (
        Workload("web", 9, None, "wrong"),
        workload("web", None, 9, "wrong"),
        workload("web", Service("web", str(SECOND), PORTS), 9, "wrong"),
    ):
        assert choose([refused], held) == Plan()
        assert choose([refused]) == Plan()
    found = choose([wants("web", "fd00::1")], held)
    assert found.actions == ()
    assert found.faults["web"].startswith("clusterIP fd00::1 is no IPv4 address")


def test_a_key_that_is_none_of_ours_is_replaced() -> None:
    broken = Held("web", None, 5)
    (action,) = choose([wants("web")], broken).actions
    assert isinstance(action, Take)
    assert action.previous == broken


def test_a_full_range_and_one_that_meets_another_network_are_faults() -> None:
    full = [Held(f"s{number}", each, 5) for number, each in enumerate(SMALL.hosts())]
    claims = [wants(each.name) for each in full]
    found = choose([*claims, wants("web")], *full)
    assert found.actions == ()
    assert found.faults["web"].startswith("every address of the range 10.96.0.0/29")
    around = [IPv4Network("192.168.1.0/24"), IPv4Network("10.0.0.0/8")]
    # What is had already stays.
    found = choose([claims[0], wants("web")], full[0], networks=around)
    assert found.actions == ()
    assert found.faults == {
        "web": "the range 10.96.0.0/29 of services meets the network 10.0.0.0/8; give another one "
        "as bedplate.cluster.services_range"
    }


def test_the_first_addresses_are_left_to_those_who_ask() -> None:
    claims = [wants(f"s{number}") for number in range(200)]
    found = choose(claims, span=DEFAULT_RANGE)
    first = min(each.address for each in found.actions if isinstance(each, Take))
    assert first >= IPv4Address("10.96.1.0")
    assert len(found.actions) == 200


@pytest.mark.parametrize("value", ["10.0.0.0/11", "10.0.0.0/29", "10.0.0.1/16", "fd00::/112", 7])
def test_ranges_of_odd_sizes_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=str(value)):
        read_range(value)


def test_ranges_of_usual_sizes_are_taken() -> None:
    assert read_range("10.96.0.0/12") == IPv4Network("10.96.0.0/12")
    assert read_range("172.30.0.0/16") == IPv4Network("172.30.0.0/16")


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"{}", b'{"address": 7}', b'{"address": "x"}', b"\xff", b"[" * 100000]
)
def test_values_of_others_are_no_address(value: bytes) -> None:
    assert read_held("web", value, 2) == Held("web", None, 2)


# --- Many hosts, each of which knows some state of the past ---------------------------------------

NAMES = st.sampled_from(["web", "db", "api"])
WISHES = st.none() | st.sampled_from([FIRST, SECOND])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, WISHES | st.just("headless")),
        st.tuples(st.just("delete"), NAMES),
        st.tuples(st.just("look"), st.integers(0, 2)),
        st.tuples(st.just("act"), st.integers(0, 2)),
        st.tuples(st.just("scribble"), NAMES),
    ),
    max_size=40,
)


@dataclass
class World:
    """An etcd, and three hosts with what they decided by what they saw of it last."""

    etcd: EtcdModel = field(default_factory=EtcdModel)
    workloads: dict[str, Workload] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)

    def put(self, name: str, wish: IPv4Address | str | None) -> None:
        revision = self.etcd.put(f"/bedplate/pods/{name}", b"")
        headless = workload(name, HEADLESS, revision)
        self.workloads[name] = headless if wish == "headless" else wants(name, wish, revision)

    def delete(self, name: str) -> None:
        self.etcd.delete(f"/bedplate/pods/{name}")
        self.workloads.pop(name, None)

    def look(self, host: int) -> None:
        any_random = Random(host)  # noqa: S311 - as above
        self.plans[host] = plan(self.workloads.values(), self.held(), span=SMALL, random=any_random)

    def act(self, host: int) -> None:
        for action in self.plans.pop(host, Plan()).actions:
            write(self.etcd, action)

    def scribble(self, name: str) -> None:
        """A person's hand."""
        self.etcd.put(f"{SERVICES}{name}", b"scribble")

    def held(self) -> list[Held]:
        return [
            read_held(each.key.removeprefix(SERVICES), each.value, each.mod_revision)
            for each in self.etcd.list(SERVICES).items
        ]

    def owner(self, address: IPv4Address) -> str:
        """Whose an address is, by its own key."""
        item = self.etcd.get(address_key(address))
        return item.value.decode() if item else ""


def test_what_has_changed_meanwhile_is_left_alone() -> None:
    etcd = EtcdModel()
    web, db = (etcd.put(f"/bedplate/pods/{name}", b"") for name in ("web", "db"))
    assert write(etcd, Take("web", web, FIRST, None))
    assert not write(etcd, Take("db", db, FIRST, None))
    assert not write(etcd, Take("web", web, SECOND, None))
    held = read_held("web", etcd.keys[f"{SERVICES}web"].value, etcd.revision)
    assert not write(etcd, Take("web", web - 1, SECOND, held))
    assert not write(etcd, Free(held, 0))
    assert write(etcd, Take("web", web, SECOND, held))
    assert not write(etcd, Free(held, web))
    # The one that was given up is free.
    assert write(etcd, Take("db", db, FIRST, None))


@given(STEPS)
def test_no_two_services_ever_share_an_address(steps: list[tuple[object, ...]]) -> None:
    world = World()
    for verb, *arguments in steps:
        getattr(world, str(verb))(*arguments)
        held = [each for each in world.held() if each.address is not None]
        assert len({each.address for each in held}) == len(held)
        assert all(world.owner(each.address) == each.name for each in held if each.address)


@given(STEPS.filter(lambda steps: all(step[0] != "scribble" for step in steps)))
def test_hosts_come_to_an_end(steps: list[tuple[object, ...]]) -> None:
    world = World()
    for verb, *arguments in steps:
        getattr(world, str(verb))(*arguments)
    for _ in range(3):
        world.look(0)
        world.act(0)
    world.look(0)
    assert world.plans[0].actions == ()
    served = {each.name for each in world.held()} | set(world.plans[0].faults)
    assert served == {
        each.name
        for each in world.workloads.values()
        if each.manifest and each.manifest.service != HEADLESS
    }
    # Nobody has what nobody holds.
    kept = {address_key(each.address) for each in world.held() if each.address}
    assert {each.key for each in world.etcd.list("/bedplate/service-addresses/").items} == kept
