from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent.cluster.records import Report
from podagent.services.endpoints import ready_addresses
from podagent.types import Kind, Manifest, PodSpec, RestartPolicy

_POD = PodSpec({}, (), (), RestartPolicy.ALWAYS, 30, host_network=False)


def workload(name: str, kind: Kind, node: str | None = None) -> Manifest:
    replicas = 3 if kind is Kind.DEPLOYMENT else None
    return Manifest(name, kind, replicas, 1, node, {}, _POD, None, "", {})


WORKLOADS = [
    workload("web", Kind.DEPLOYMENT),
    workload("web-2", Kind.DEPLOYMENT),
    workload("one", Kind.POD),
    workload("fixed", Kind.POD, node="h1"),
    workload("agent", Kind.DAEMON_SET),
]


def ready(*addresses: str, slot: int | None = None) -> Report:
    return Report("Running", ready=True, digest="", slot=slot, addresses=addresses)


def found(*reports: tuple[str, Report]) -> dict[str, list[str]]:
    every = ready_addresses(WORKLOADS, reports)
    return {name: list(map(str, each)) for name, each in every.items()}


def test_pods_are_gathered_by_workload_in_the_order_of_addresses() -> None:
    assert found(
        ("web-0", ready("10.5.10.2", "fd05::2", slot=0)),
        ("web-12", ready("10.5.9.2", slot=12)),
        ("web-2", ready("10.5.9.2", slot=2)),
        ("web-2-2", ready("10.5.9.9", slot=2)),
        ("agent", ready("10.5.9.3")),
        ("agent", ready("10.5.10.3")),
        ("one-0", ready("10.5.9.4", slot=0)),
        ("fixed", ready("10.5.9.5")),
    ) == {
        "agent": ["10.5.9.3", "10.5.10.3"],
        "fixed": ["10.5.9.5"],
        "one": ["10.5.9.4"],
        "web": ["10.5.9.2", "10.5.10.2", "fd05::2"],
        "web-2": ["10.5.9.9"],
    }


def test_pods_of_a_hosts_own_with_the_name_of_a_replica_are_none() -> None:
    for name in ("web", "web-1", "one", "other"):
        assert found((name, ready("10.5.9.2"))) == {}


@pytest.mark.parametrize(
    "report",
    [
        Report("Running", ready=False, digest="", slot=0, addresses=("10.5.9.2",)),
        Report("Failed", ready=True, digest="", slot=0, addresses=("10.5.9.2",)),
        ready("fe80::1%eth0", slot=0),
        ready("fe80::1%a\nweb 10.0.0.1  bank", slot=0),
        ready("10.5.9.2\n", "x", "", slot=0),
        ready(slot=0),
    ],
)
def test_who_is_not_ready_or_has_no_proper_address_is_left_out(report: Report) -> None:
    assert found(("web-0", report), ("agent", ready("10.5.9.3"))) == {"agent": ["10.5.9.3"]}


@given(st.lists(st.text(max_size=40) | st.ip_addresses().map(str), max_size=5).map(tuple))
def test_whatever_is_reported_only_addresses_come_out(addresses: tuple[str, ...]) -> None:
    for each in found(("web-0", ready(*addresses, slot=0))).get("web", []):
        assert str(ip_address(each)) == each
        assert "%" not in each


@given(st.permutations([("web-0", "10.5.1.2"), ("web-1", "10.5.2.2"), ("web-2", "10.5.3.2")]))
def test_the_order_of_reports_does_not_matter(order: list[tuple[str, str]]) -> None:
    reports = [(name, ready(each, slot=int(name[-1]))) for name, each in order]
    assert found(*reports) == {"web": ["10.5.1.2", "10.5.2.2", "10.5.3.2"]}
