"""What is there, as rows and as lines."""

import json
from dataclasses import replace
from ipaddress import IPv4Address

from builder.fleet import listing, tables
from builder.sheets import plain
from fleet_kit import FleetEtcd, digest, running, waiting, web
from podagent.cluster.records import host_key
from podagent.services.records import encode_address, service_key
from pods_manifests import service

RUN = digest(web())
TERMS = json.dumps({"PublicIP": "10.0.0.1", "BackendType": "vxlan"}).encode()
SUBNETS = "/coreos.com/network/subnets/"


def fleet() -> FleetEtcd:
    """Two hosts, with two replicas of three."""
    etcd = FleetEtcd()
    etcd.add_host("h1", labels={"bedplate.internal/version": "7", "disk": "ssd"})
    etcd.add_host("h2", why="draining")
    etcd.apply(web(3), service())
    etcd.up("h1", "web", 0, RUN)
    etcd.hold("h2", "web", 1, RUN)
    etcd.report("h2", "web", waiting(RUN, 1, error="ErrImagePull: gone"))
    etcd.hold("h2", "web", 2, RUN)
    return etcd


def test_hosts_tell_of_themselves_and_their_pods() -> None:
    one, two = listing.hosts(fleet().view())
    assert (one.name, one.accepts, one.version) == ("h1", True, "7")
    assert (one.pods, one.ready, one.addresses) == (1, 1, ("10.0.0.1",))
    assert (two.accepts, two.why, two.pods, two.ready) == (False, "draining", 1, 0)


def test_pods_are_those_reported_and_those_claimed() -> None:
    rows = {each.pod: each for each in listing.pods(fleet().view())}
    assert list(rows) == ["web-0", "web-1", "web-2"]
    assert (rows["web-0"].host, rows["web-0"].phase, rows["web-0"].ready) == ("h1", "Running", True)
    assert rows["web-1"].reason == "ErrImagePull: gone"
    assert (rows["web-2"].phase, rows["web-2"].reason) == ("Unknown", "claimed, not reported yet")


def test_pods_that_a_host_refuses_are_told() -> None:
    etcd = FleetEtcd()
    etcd.add_host("h1", refused={"/bedplate/pods/odd": "spec.nme: unknown", "own.yaml": "no YAML"})
    rows = {each.pod: each for each in listing.pods(etcd.view())}
    assert {name: (each.phase, each.reason) for name, each in rows.items()} == {
        "odd": ("Refused", "spec.nme: unknown"),
        "own": ("Refused", "no YAML"),
    }


def test_services_have_their_address_and_ready_replicas() -> None:
    etcd = fleet()
    (row,) = listing.services(etcd.view())
    assert (row.name, row.service, row.address) == ("web", "front", "")
    assert (row.ports, row.ready) == (("80->80/tcp",), ("10.5.1.2",))
    etcd.put(service_key("web"), encode_address(IPv4Address("10.96.1.1")))
    assert listing.services(etcd.view())[0].address == "10.96.1.1"
    etcd.put(service_key("web"), b"nonsense")
    assert listing.services(etcd.view())[0].address == ""


def test_workloads_tell_how_far_they_are() -> None:
    (row,) = listing.workloads(fleet().view())
    assert (row.kind, row.replicas, row.held, row.updated, row.ready) == ("Deployment", 3, 3, 3, 1)
    assert row.progress == "progressing"
    assert "web-1 on h2 is not up: ErrImagePull: gone" in row.why


def test_leases_are_the_hosts_and_the_subnets() -> None:
    etcd = fleet()
    lease = etcd.grant(86400).id
    etcd.put(f"{SUBNETS}10.5.7.0-24", TERMS, lease=lease)
    etcd.put(f"{SUBNETS}10.5.8.0-24&fd00:5:8::-64", TERMS)
    etcd.put(f"{SUBNETS}10.5.9.0-24", b"{}", lease=lease)
    view, items = etcd.view(), etcd.list(SUBNETS).items
    asked = listing.leases_in_use(view, items)
    assert asked == {etcd.lease_of("h1"), etcd.lease_of("h2"), lease}
    left = {each: etcd.time_to_live(each) for each in asked}
    one, two, three = listing.subnets(view, items, left)
    assert (one.subnets, one.host, one.seconds) == (("10.5.7.0/24",), "h1", 86400)
    assert (two.subnets, two.seconds) == (("10.5.8.0/24", "fd00:5:8::/64"), None)
    assert "neither PublicIP nor PublicIPv6" in three.problem
    rows = listing.host_leases(view, left)
    assert [(row.host, row.seconds, row.slots, row.reports) for row in rows] == [
        ("h1", 30, 1, 1),
        ("h2", 30, 2, 1),
    ]


def test_nothing_that_a_terminal_obeys_comes_through() -> None:
    etcd = fleet()
    evil = "a\x1b[31m\nb\x9bc\udcff"
    etcd.report("h1", "web", replace(waiting(evil, 0, phase=evil, error=evil), addresses=(evil,)))
    etcd.put(host_key("h\udcff3\x1b"), etcd.keys[host_key("h1")].value)
    view = etcd.view()
    rows = (listing.hosts(view), listing.pods(view), listing.services(view))
    sheets = (tables.hosts, tables.pods, tables.services)
    for found, sheet in zip(rows, sheets, strict=True):
        lines = plain(sheet(found, wide=True))  # type: ignore[operator]
        assert "h?3?" in lines[-1] or sheet is not tables.hosts
        assert all(line.isprintable() for line in lines)


def test_lines_are_in_columns_and_every_cell_has_a_word() -> None:
    lines = plain(tables.pods(listing.pods(fleet().view()), wide=False))
    assert [line.split("  ")[0] for line in lines] == ["host", "h1", "h2", "h2"]
    assert {
        line.index(word) for line, word in zip(lines[1:], ("web-0", "web-1", "web-2"), strict=True)
    } == {lines[0].index("pod")}
    assert lines[1].split() == ["h1", "web-0", "Running", "yes", "0", "10.5.1.2", "-"]


def test_wide_shortens_nothing() -> None:
    etcd = fleet()
    etcd.report("h2", "web", waiting(RUN, 1, error="x" * 200))
    rows = listing.pods(etcd.view())
    assert "x" * 200 in plain(tables.pods(rows, wide=True))[2]
    assert "x" * 45 + "..." in plain(tables.pods(rows, wide=False))[2]
    assert "x" * 46 not in plain(tables.pods(rows, wide=False))[2]


def test_times_left_are_in_a_fitting_unit() -> None:
    etcd = FleetEtcd()
    etcd.add_host("h1")
    lease = etcd.lease_of("h1")
    told = {-1: "ended", 27: "27s", 119: "119s", 3300: "55min", 82800: "23h"}
    for left, words in told.items():
        rows = listing.host_leases(etcd.view(), {lease: left})
        assert tables.host_leases(rows, wide=False).rows[0].cells[1] == words


def test_addresses_of_many_replicas_are_counted() -> None:
    etcd = fleet()
    for number in range(3):
        etcd.hold("h1", "web", number, RUN)
        etcd.report("h1", "web", running(RUN, number, f"10.5.1.{number + 2}"))
    rows = listing.services(etcd.view())
    assert plain(tables.services(rows, wide=False))[1].endswith("10.5.1.2,10.5.1.3,+1")
    assert plain(tables.services(rows, wide=True))[1].endswith("10.5.1.3,10.5.1.4")
