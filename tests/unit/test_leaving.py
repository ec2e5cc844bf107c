"""A host that gives back what the cluster lent it: its pods' lease, its subnet."""

import json
from pathlib import Path

import pytest

from hostkit.etcd import Access, Limits, Unavailable
from overlay import cli as overlay_cli
from overlay import leave as overlay_leave
from overlay.leave import LeaveError
from overlay.places import Places as OverlayPlaces
from podagent import cli as pods_cli
from podagent.leave import leave
from podagent.places import Places
from updater import programs


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(programs, "run", ran.append)
    return ran


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(tmp_path)
    found.cluster.parent.mkdir(parents=True)
    found.cluster.write_text(json.dumps({"etcd_endpoints": "http://127.0.0.1:1"}))
    found.runtime.mkdir(parents=True)
    found.tenure.write_text(json.dumps({"lease": 0xABC, "until": 100.0}))
    told(found, "done")
    return found


def told(places: Places, draining: str) -> None:
    places.status.write_text(json.dumps({"schema": 1, "draining": draining}))


def test_a_drained_host_ends_its_lease(places: Places, stopped: list[tuple[str, ...]]) -> None:
    revoked: list[tuple[float, int]] = []

    def revoke(_access: Access, limits: Limits, lease: int) -> None:
        revoked.append((limits.call_seconds, lease))

    assert leave(places, 20, revoke) == "the lease abc is given back"
    assert revoked == [(20.0, 0xABC)]
    # Both by one command: the path would start the service again.
    assert stopped == [("systemctl", "stop", "bedplate-pods.path", "bedplate-pods.service")]


@pytest.mark.parametrize("stage", ["", "leaving", "stopping"])
@pytest.mark.usefixtures("stopped")
def test_a_slot_whose_replica_may_run_is_kept(places: Places, stage: str) -> None:
    told(places, stage)
    assert "ends by itself" in leave(places, 20, never)


def never(_access: Access, _limits: Limits, _lease: int) -> None:
    raise AssertionError("the lease was given back")


@pytest.mark.usefixtures("stopped")
def test_a_host_without_a_lease_or_a_cluster(places: Places) -> None:
    places.tenure.unlink()
    assert leave(places, 20, never) == "this host has no lease"
    places.cluster.unlink()
    assert leave(places, 20, never) == "this host is in no cluster"


@pytest.mark.usefixtures("stopped")
def test_etcd_that_is_away_keeps_nobody(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unavailable):
        leave(places, 1)
    assert pods_cli.main(["--root", str(places.root), "leave", "--deadline", "1"]) == 1
    assert capsys.readouterr().err.startswith("bedplate: ")


# --- The overlay ----------------------------------------------------------------------------------


@pytest.fixture
def overlay(tmp_path: Path) -> OverlayPlaces:
    found = OverlayPlaces(tmp_path)
    found.settings.parent.mkdir(parents=True)
    found.settings.write_text("{}")
    return found


def states(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    left = list(found)
    monkeypatch.setattr(
        programs,
        "show_unit",
        lambda *_: {"ActiveState": left.pop(0) if len(left) > 1 else left[0]},
    )


def test_the_agent_leaves_as_without_settings(
    overlay: OverlayPlaces, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states(monkeypatch, "active", "active", "inactive")
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    assert overlay_cli.main(["--root", str(overlay.root), "leave"]) == 0
    assert capsys.readouterr().out == "the subnet is given back\n"
    assert not overlay.settings.exists()


def test_an_agent_that_does_not_leave_is_waited_for_so_long(
    overlay: OverlayPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    states(monkeypatch, "active")
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(LeaveError, match="did not leave within 30 s"):
        overlay_leave.leave(overlay, 30, clock=lambda: now[0], sleep=sleep)
    assert now[0] == 30


def test_an_agent_that_does_not_run(
    overlay: OverlayPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    states(monkeypatch, "failed")
    with pytest.raises(LeaveError, match="does not run"):
        overlay_leave.leave(overlay, 30)
    assert overlay.settings.exists()


def test_a_host_without_an_overlay(tmp_path: Path) -> None:
    assert overlay_leave.leave(OverlayPlaces(tmp_path), 30) == "this host has no overlay"
