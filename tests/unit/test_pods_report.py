"""What the agent says of itself."""

import json
from pathlib import Path

from podagent.phase import Phase, PodReport
from podagent.places import Places
from podagent.report import ClusterStatus, Status, note, publish
from podagent.types import Origin


def pod(name: str, phase: Phase = Phase.RUNNING, *, ready: bool = True, **more: str) -> PodReport:
    given = {"reason": "", "message": "", **more}
    return PodReport(
        name,
        Origin.FOLDER,
        "1",
        None,
        phase,
        ready,
        given["reason"],
        given["message"],
        ("10.0.0.2",),
        3,
        (),
    )


def test_one_line_for_the_console() -> None:
    wait = pod("b", Phase.PENDING, ready=False, reason="Pulling", message="a:1")
    assert note(Status()) == "0 of 0 pods ready"
    assert note(Status((pod("a"),))) == "1 of 1 pods ready"
    assert note(Status((pod("a"), wait))) == "1 of 2 pods ready; b: Pulling a:1"
    assert note(Status((wait,), {"x.yaml": "x.yaml:1:1: no\nmore"})) == (
        "0 of 1 pods ready; x.yaml:1:1: no"
    )
    assert note(Status(draining="leaving")) == "draining (leaving); 0 of 0 pods ready"
    assert note(Status(cluster=ClusterStatus(lease=True))) == "0 of 0 pods ready"
    assert note(Status(cluster=ClusterStatus(lease=False))) == (
        "0 of 0 pods ready; no lease in etcd yet"
    )
    assert note(Status((wait,), cluster=ClusterStatus(lease=True, faults={"watch": "no"}))) == (
        "0 of 1 pods ready; no"
    )
    assert note(Status(fault="podman ps: no")) == "0 of 0 pods ready; podman ps: no"


def test_well_is_all_that_is_declared() -> None:
    assert Status().well
    assert Status((pod("a"), pod("b", Phase.SUCCEEDED, ready=False))).well
    assert not Status((pod("a", ready=False),)).well
    assert not Status(refused={"x.yaml": "no"}).well
    assert not Status(fault="podman ps: no").well
    assert Status(cluster=ClusterStatus(lease=True)).well
    assert not Status(cluster=ClusterStatus(lease=False)).well
    assert not Status(cluster=ClusterStatus(lease=True, faults={"watch": "no"})).well


def test_it_is_written_for_people_and_for_programs(tmp_path: Path) -> None:
    places = Places(tmp_path)
    cluster = ClusterStatus(lease=True, faults={"watch": "why"})
    publish(Status((pod("a"),), {"x.yaml": "no"}, cluster=cluster), places)
    status = json.loads(places.status.read_bytes())
    assert status["cluster"] == {"lease": True, "faults": {"watch": "why"}}
    assert (status["draining"], status["pods"][0]["origin"]) == ("", "folder")
    assert (status["schema"], status["pods"][0]["id"]) == (1, "a")
    assert status["pods"][0]["phase"] == "Running"
    text = places.metrics.read_text()
    assert 'bedplate_pods{phase="Running"} 1\n' in text
    assert 'bedplate_pod_restarts{pod="a"} 3\n' in text
    assert "bedplate_pods_refused 1\n" in text
    assert "bedplate_pods_cluster_lease 1\n" in text
    assert places.note.read_text() == "1 of 1 pods ready; no"
