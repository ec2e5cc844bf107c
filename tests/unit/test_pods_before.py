"""What ran before an update, and what a new release is held to."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent import before
from podagent.before import Record, lost, noted
from podagent.phase import Phase, PodReport
from podagent.places import Places
from podagent.report import Status, to_plain
from podagent.types import Origin

names = st.sampled_from(["a", "b", "c"])
rans = st.dictionaries(names, st.booleans())


def pod(
    name: str,
    phase: Phase = Phase.RUNNING,
    *,
    ready: bool = True,
    origin: Origin = Origin.FOLDER,
    reason: str = "",
    message: str = "",
) -> PodReport:
    return PodReport(
        id=name,
        origin=origin,
        digest="1",
        slot=None,
        phase=phase,
        ready=ready,
        reason=reason,
        message=message,
        addresses=(),
        restarts=0,
        containers=(),
    )


def plain(*pods: PodReport, fault: str = "") -> dict[str, Any]:
    document = to_plain(Status(pods, fault=fault))
    loaded: dict[str, Any] = json.loads(json.dumps(document))
    return loaded


@pytest.fixture
def places(tmp_path: Path) -> Places:
    release(tmp_path, "1")
    return Places(tmp_path)


def release(root: Path, version: str) -> None:
    path = root / "usr/lib/os-release"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'ID=bedplate\nIMAGE_VERSION="{version}"\n')


def pending(root: Path) -> Path:
    path = root / "var/lib/bedplate/pending"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def ran_file(root: Path) -> Path:
    return root / "var/lib/bedplate/pods/ran.json"


# --- What counts as ran ---------------------------------------------------------------------------


def test_own_pods_that_run_are_what_ran() -> None:
    status = Status(
        (
            pod("web"),
            pod("slow", ready=False),
            pod("new", Phase.PENDING, ready=False),
            pod("job", Phase.SUCCEEDED, ready=False),
            pod("shop-1", origin=Origin.CLUSTER),
        )
    )
    assert before.ran_of(status) == {"web": True, "slow": False}


def test_each_that_ran_must_run_again_and_be_ready_if_it_was() -> None:
    ran = {"web": True, "slow": False}
    assert lost(ran, plain(pod("web"), pod("slow", ready=False))) == ()
    starting = pod("web", Phase.PENDING, ready=False, reason="Pulling", message="a:1")
    assert lost(ran, plain(starting, pod("slow"))) == ("web: Pending (Pulling a:1)",)
    assert lost(ran, plain(pod("web", ready=False), pod("slow"))) == ("web: not ready",)


def test_what_is_not_declared_any_more_or_ended_for_good_is_not_asked_for() -> None:
    assert lost({"gone": True}, plain(pod("web"))) == ()
    assert lost({"web": True}, plain(pod("web", origin=Origin.CLUSTER, ready=False))) == ()
    assert lost({"job": True}, plain(pod("job", Phase.SUCCEEDED, ready=False))) == ()
    assert lost({"job": True}, plain(pod("job", Phase.FAILED, ready=False))) == ()


def test_podman_must_answer_even_where_no_pod_ran() -> None:
    assert lost({}, plain(fault="podman ps: no")) == ("podman ps: no",)


@given(pods=st.lists(st.builds(pod, names, st.sampled_from(Phase), ready=st.booleans())))
def test_what_runs_is_never_lost_to_itself(pods: list[PodReport]) -> None:
    status = Status(tuple({each.id: each for each in pods}.values()))
    assert lost(before.ran_of(status), json.loads(json.dumps(to_plain(status)))) == ()


# --- By release -----------------------------------------------------------------------------------


@given(
    held=rans,
    trials=st.lists(rans, min_size=1),
    earlier=st.builds(Record, st.just("0"), rans, rans),
)
def test_every_boot_of_a_trial_is_held_to_the_release_before(
    held: dict[str, bool], trials: list[dict[str, bool]], earlier: Record
) -> None:
    record = noted(noted(earlier, "1", {}), "1", held)
    for ran in trials:
        record = noted(record, "2", ran)
        assert record == Record("2", ran, held)
    # Taken back, and then tried again.
    again = noted(noted(record, "1", held), "3", {})
    assert again.before == held


def test_a_new_release_is_held_to_what_ran_whether_its_agent_starts_or_not(places: Places) -> None:
    before.keep(places, Status((pod("web"), pod("slow", ready=False))))
    release(places.root, "2")
    held = {"web": True, "slow": False}
    assert before.expected(places) == held
    before.keep(places, Status((pod("web", Phase.PENDING, ready=False),)))
    assert before.expected(places) == held
    before.keep(places, Status(fault="podman ps: no"))
    assert before.expected(places) == held


# --- The file -------------------------------------------------------------------------------------


def test_it_is_roots_alone_and_written_only_for_news(places: Places) -> None:
    before.keep(places, Status((pod("web"),)))
    path = ran_file(places.root)
    assert path.stat().st_mode & 0o777 == 0o600
    inode = path.stat().st_ino
    before.keep(places, Status((pod("web", message="something else"),)))
    assert path.stat().st_ino == inode
    before.keep(places, Status((pod("web", ready=False),)))
    assert path.stat().st_ino != inode


def test_it_goes_with_the_last_pod(places: Places) -> None:
    path = ran_file(places.root)
    before.keep(places, Status())
    assert not path.exists()
    before.keep(places, Status((pod("web"),)))
    before.keep(places, Status(), left=True)
    assert path.exists()
    before.keep(places, Status(refused={"web.yaml": "no"}))
    assert path.exists()
    before.keep(places, Status(fault="podman ps: no"))
    assert path.exists()
    before.keep(places, Status())
    assert not path.exists()


def test_it_stays_while_an_update_is_on_its_way(places: Places) -> None:
    """An agent that does not know the cluster's pods yet must not end the trial's check."""
    before.keep(places, Status((pod("web"),)))
    mark = pending(places.root)
    before.keep(places, Status())
    assert ran_file(places.root).exists()
    mark.unlink()
    before.keep(places, Status())
    assert not ran_file(places.root).exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "now": 3}'])
def test_a_broken_file_is_written_anew(places: Places, text: str) -> None:
    path = ran_file(places.root)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert before.expected(places) == {}
    before.keep(places, Status((pod("web"),)))
    release(places.root, "2")
    assert before.expected(places) == {"web": True}


def test_an_agent_works_on_where_it_cannot_be_written(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    (places.root / "var").write_text("no folder")
    before.keep(places, Status((pod("web"),)))
    assert "cannot be noted for the next update" in caplog.text


def test_reports_have_the_origin_that_is_asked_for() -> None:
    assert asdict(pod("web"))["origin"] == "folder"
