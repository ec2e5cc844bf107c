"""What the overlay's agent says of itself."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from overlay import report
from overlay.places import Places
from overlay.report import HeldLease, OuterInterface, Peer, State, Status

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
READY = Status(
    state=State.READY,
    fault="",
    since=NOW,
    networks=("10.5.0.0/16",),
    backend="vxlan",
    mtu=1450,
    masquerade=True,
    lease=HeldLease(("10.5.52.0/24",), "694d", NOW, NOW.replace(hour=13)),
    outer=OuterInterface("eth0", 1500, ("192.0.2.1/24",), ("198.51.100.1",)),
    peers=(
        Peer(("10.5.7.0/24",), ("192.0.2.7",), "vxlan", "7"),
        Peer(("10.5.3.0/24",), ("192.0.2.3",), "udp", "3", "this host has no backend udp"),
    ),
    notices=("a notice",),
    kernel_changes=5,
    leases_taken=1,
)
STARTING = Status(State.STARTING, "etcd is away", NOW)


def test_the_status_is_json_with_a_schema() -> None:
    found = report.to_plain(READY)
    assert json.loads(json.dumps(found)) == found | {
        "networks": ["10.5.0.0/16"],
        "notices": ["a notice"],
        "lease": {
            "subnets": ["10.5.52.0/24"],
            "etcd_lease": "694d",
            "stops": "2026-11-22T12:00:00Z",
            "ends": "2026-11-22T13:00:00Z",
        },
        "outer": {
            "name": "eth0",
            "mtu": 1500,
            "addresses": ["192.0.2.1/24"],
            "public": ["198.51.100.1"],
        },
        "peers": json.loads(json.dumps(found["peers"])),
    }
    assert (found["schema"], found["state"], found["since"]) == (1, "ready", "2026-11-22T12:00:00Z")


def test_a_status_without_a_lease_is_json_too() -> None:
    found = json.loads(json.dumps(report.to_plain(STARTING)))
    assert (found["lease"], found["outer"], found["mtu"], found["peers"]) == (None, None, None, [])


def test_the_consoles_line() -> None:
    assert report.note(READY) == "10.5.52.0/24 (vxlan), 2 peers"
    alone = replace(READY, peers=READY.peers[:1])
    assert report.note(alone) == "10.5.52.0/24 (vxlan), 1 peer"
    assert report.note(STARTING) == "no subnet: etcd is away"
    assert report.note(replace(STARTING, fault="")) == "no subnet: asking etcd"
    cut_off = replace(READY, state=State.CUT_OFF, fault="etcd is away")
    assert report.note(cut_off) == "cut-off: 10.5.52.0/24 (vxlan), 2 peers; etcd is away"


def test_the_table_for_people() -> None:
    assert report.lines(json.loads(json.dumps(report.to_plain(READY)))) == [
        "state       ready since 2026-11-22T12:00:00Z",
        "fault       none",
        "subnet      10.5.52.0/24",
        "lease ends  2026-11-22T13:00:00Z",
        "network     10.5.0.0/16",
        "backend     vxlan, MTU 1450",
        "outer       eth0 192.0.2.1/24, peers are told 198.51.100.1",
        "notice      a notice",
        "peers       2",
        "            10.5.3.0/24           via 192.0.2.3  udp  this host has no backend udp",
        "            10.5.7.0/24           via 192.0.2.7  vxlan",
    ]


def test_the_table_of_a_host_without_a_lease_or_of_another_release() -> None:
    assert "subnet      none" in report.lines(report.to_plain(STARTING))
    assert report.lines({"lease": 1, "peers": [1, {}]})[0].startswith("state")


def test_metrics() -> None:
    found = {
        (sample.name, *sample.labels.values()): sample.value for sample in report.samples(READY)
    }
    assert found["bedplate_overlay_state", "ready"] == 1
    assert found["bedplate_overlay_state", "fenced"] == 0
    assert found["bedplate_overlay_peers",] == 2
    assert found["bedplate_overlay_peers_without_route",] == 1
    assert found["bedplate_overlay_lease_end_timestamp_seconds",] == NOW.timestamp() + 3600
    assert found["bedplate_overlay_fault",] == 0


def test_everything_is_published_below_the_root(tmp_path: Path) -> None:
    places = Places(tmp_path)
    report.publish(READY, places)
    assert json.loads(places.status.read_bytes())["state"] == "ready"
    assert b"bedplate_overlay_peers 2\n" in places.metrics.read_bytes()
    assert places.note.read_text() == report.note(READY)
