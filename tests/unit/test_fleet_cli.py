"""`bedplate fleet`, down to its exit status, with etcd in memory."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder import cli, fleet_cli
from builder.fleet import access, rollout
from builder.fleet.rollout import State
from fleet_kit import FleetEtcd, digest, text, web
from hostkit.etcd import Access, Unavailable
from podagent.cluster.records import host_key, manifest_key
from podagent.cluster.rollout import Progress

AT = ("--endpoints", "http://10.0.0.1:2379")
RUN = digest(web())


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FleetEtcd:
    found = FleetEtcd()

    def client(_: Access) -> FleetEtcd:
        return found

    monkeypatch.setattr(fleet_cli, "Client", client)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv(access.FILE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    found.add_host("h1")
    return found


def fleet(*argv: str) -> int:
    return cli.main(["fleet", *argv, *AT])


def answer(capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401 - JSON is of any type
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    return found


def test_a_manifest_is_applied_listed_and_deleted(
    etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("web.yaml").write_bytes(text(web()))
    assert fleet("apply", "-f", "web.yaml", "--dry-run") == 0
    assert capsys.readouterr().out == "web: would be created\n"
    assert manifest_key("web") not in etcd.keys
    assert fleet("apply", "-f", "web.yaml") == 0
    assert fleet("apply", "-f", "web.yaml") == 0
    assert capsys.readouterr().out == "web: created\nweb: unchanged\n"
    assert fleet("get", "workloads") == 0
    assert "web       Deployment  2" in capsys.readouterr().out
    assert fleet("delete", "web", "web") == 0
    assert capsys.readouterr().out == "web: deleted; its hosts end its pods\n"
    assert manifest_key("web") not in etcd.keys


def test_a_file_that_is_wrong_keeps_all_from_being_written(
    etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("web.yaml").write_bytes(text(web()))
    Path("bad.yaml").write_text("kind: Job\n")
    assert fleet("apply", "-f", "web.yaml", "bad.yaml") == 2
    assert "\nbad.yaml:1:7: kind: Job is not supported" in capsys.readouterr().err
    assert manifest_key("web") not in etcd.keys


def test_stdin_and_several_options(
    etcd: FleetEtcd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = web()
    other["metadata"]["name"] = "other"
    Path("other.yaml").write_bytes(text(other))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text(web()))))
    assert fleet("apply", "-f", "-", "-f", "other.yaml", "--json") == 0
    assert answer(capsys)["workloads"] == [
        {"name": "web", "change": "created"},
        {"name": "other", "change": "created"},
    ]
    assert len(etcd.list("/bedplate/pods/").items) == 2


def test_nothing_is_deleted_if_a_name_is_wrong(
    etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]
) -> None:
    etcd.apply(web())
    assert fleet("delete", "web", "wep") == 1
    assert "did you mean web?; nothing was deleted" in capsys.readouterr().err
    assert manifest_key("web") in etcd.keys


@pytest.mark.parametrize("what", ["hosts", "pods", "services", "workloads"])
def test_rows_are_json_or_lines(
    what: str, etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]
) -> None:
    etcd.apply(web(1))
    etcd.up("h1", "web", 0, RUN)
    assert fleet("get", what, "--json") == 0
    found = answer(capsys)
    assert len(found[what]) == 1
    assert (found["revision"], found["broken"]) == (etcd.revision, {})
    assert fleet("get", what, "--wide") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_leases_are_two_tables(etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]) -> None:
    etcd.put("/our/subnets/10.5.7.0-24", b'{"PublicIP": "10.0.0.1"}')
    assert fleet("get", "leases", "--json", "--prefix", "/our") == 0
    found = answer(capsys)
    assert [row["subnets"] for row in found["subnets"]] == [["10.5.7.0/24"]]
    assert [(row["host"], row["seconds"]) for row in found["hosts"]] == [("h1", 30)]
    assert fleet("get", "leases") == 0
    assert "h1    30s   0      0" in capsys.readouterr().out


def test_a_terminal_gets_a_table(
    etcd: FleetEtcd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    etcd.apply(web(1))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    assert fleet("get", "workloads") == 0
    shown = capsys.readouterr().out
    assert "Workloads" in shown
    assert "Deployment" in shown


def test_what_cannot_be_read_is_told_and_passed_over(
    etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]
) -> None:
    etcd.put(host_key("odd"), b"nonsense")
    assert fleet("get", "hosts") == 0
    told = capsys.readouterr()
    assert "odd" not in told.out
    assert told.err.startswith("bedplate: passed over: /bedplate/hosts/odd: not JSON: ")
    assert len(told.err.splitlines()) == 1
    assert fleet("get", "hosts", "--json") == 0
    assert list(answer(capsys)["broken"]) == ["/bedplate/hosts/odd"]


@pytest.mark.usefixtures("etcd")
def test_no_etcd_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Access) -> None:
        raise Unavailable("etcd: http://10.0.0.1:2379: Connection refused")

    monkeypatch.setattr(fleet_cli, "Client", away)
    assert fleet("get", "pods") == 1
    assert capsys.readouterr().err == ("bedplate: etcd: http://10.0.0.1:2379: Connection refused\n")
    assert cli.main(["fleet", "get", "pods"]) == 2
    assert "no etcd is named" in capsys.readouterr().err


@pytest.mark.usefixtures("etcd")
def test_a_time_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet("rollout", "status", "web", "--timeout", "soon") == 2
    assert "--timeout soon: expected a time such as" in capsys.readouterr().err


@pytest.mark.usefixtures("etcd")
@pytest.mark.parametrize(
    ("progress", "status", "complaint"),
    [
        (Progress.COMPLETE, 0, ""),
        (Progress.HALTED, 1, ""),
        (Progress.REFUSED, 1, ""),
        (Progress.PROGRESSING, 1, "bedplate: web is not done after 90s\n"),
    ],
)
def test_a_rollout_ends_with_its_status(
    progress: Progress,
    status: int,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = State("web", progress, 2, 2, 1, 2, "")

    def follow(
        _: FleetEtcd, name: str, *, seconds: float, tell: Callable[[State], None], note: object
    ) -> State:
        assert (name, seconds, note is not None) == ("web", 90.0, True)
        tell(state)
        return state

    monkeypatch.setattr(rollout, "follow", follow)
    assert fleet("rollout", "status", "web", "--timeout", "90s") == status
    told = capsys.readouterr()
    assert told.out == f"web: 1 of 2 updated, 2 ready, {progress}\n"
    assert told.err == complaint
    assert fleet("rollout", "status", "web", "--timeout", "90s", "--json") == status
    found = answer(capsys)
    assert found["timed_out"] is (progress is Progress.PROGRESSING)
    assert found["workload"]["progress"] == progress
