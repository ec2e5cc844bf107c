from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address

from podagent.services.desired import Desired, desire
from podagent.services.records import Held
from podagent.types import Kind, Manifest, PodSpec, RestartPolicy, Service, ServicePort

SERVICE = IPv4Address("10.96.0.7")
A, A6 = ip_address("10.5.1.2"), ip_address("fd05::2")
WEB, LOG = ServicePort("web", "tcp", 80, 8080), ServicePort("log", "udp", 514, 5140)


def workload(name: str, service: Service | None = None) -> Manifest:
    pod = PodSpec({}, (), (), RestartPolicy.ALWAYS, 30, host_network=False)
    return Manifest(name, Kind.DEPLOYMENT, 3, 1, None, {}, pod, service, "", {})


def found(*manifests: Manifest, held: Sequence[Held] = ()) -> Desired:
    return desire(manifests, held, {"web": (A, A6), "gone": (A,)}, host="h1")


def lines(desired: Desired) -> list[str]:
    return desired.names.splitlines()[1:]


def test_a_workload_without_a_service_is_its_replicas() -> None:
    for service in (None, Service("web", None, ())):
        desired = found(workload("web", service), workload("idle", service))
        assert lines(desired) == ["web 10.5.1.2 fd05::2 web"]
        assert desired.table == ""
        assert desired.datagrams == {}


def test_a_workload_with_a_service_is_its_address() -> None:
    held = [Held("web", SERVICE, 5), Held("gone", IPv4Address("10.96.0.8"), 5)]
    desired = found(workload("web", Service("web", None, (WEB, LOG))), held=held)
    assert lines(desired) == ["web 10.96.0.7  web"]
    assert "elements = { 10.96.0.7 }" in desired.table
    assert "map { 0 : 10.5.1.2 . 8080 }" in desired.table
    assert desired.datagrams == {SERVICE: (A,)}


def test_only_udp_is_told_as_such() -> None:
    held = [Held("web", SERVICE, 5)]
    assert not found(workload("web", Service("web", None, (WEB,))), held=held).datagrams


def test_a_service_without_its_address_yet_has_no_name() -> None:
    for held in ([], [Held("web", None, 5)]):
        desired = found(workload("web", Service("web", None, (WEB,))), held=held)
        assert lines(desired) == []
        assert desired.table == ""


def test_a_services_name_is_another_name_unless_it_is_taken() -> None:
    headless = Service("front", None, ())
    assert lines(found(workload("web", headless))) == ["web 10.5.1.2 fd05::2 web,front"]
    assert lines(found(workload("web", headless), workload("front"))) == [
        "web 10.5.1.2 fd05::2 web"
    ]
    both = desire(
        [workload("a", headless), workload("b", headless)], (), {"a": (A,), "b": (A,)}, host="h1"
    )
    assert lines(both) == ["a 10.5.1.2  a,front", "b 10.5.1.2  b"]


def test_an_address_that_two_have_is_the_first_ones() -> None:
    held = [Held("web", SERVICE, 5), Held("api", SERVICE, 6)]
    both = [workload(name, Service(name, None, (WEB,))) for name in ("web", "api")]
    desired = found(*both, held=held)
    assert lines(desired) == ["api 10.96.0.7  api"]
    assert desired.table.count("10.96.0.7") == 1
