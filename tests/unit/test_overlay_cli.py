"""`bedplate-overlay`, without etcd: what it shows and what it says when there is nothing."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from overlay import cli, report
from overlay.places import Places
from overlay.report import Peer, State, Status

STATUS = Status(State.STARTING, "etcd is away", datetime(2026, 11, 22, tzinfo=UTC))


def run(*argv: str) -> int:
    return cli.main(argv)


def test_the_status_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.publish(STATUS, Places(tmp_path))
    assert run("--root", str(tmp_path), "status") == 0
    assert "fault       etcd is away" in capsys.readouterr().out
    assert run("--root", str(tmp_path), "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["fault"] == "etcd is away"


def test_without_settings_or_etcd_the_peers_ends_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = Peer(("10.5.3.0/24",), ("192.0.2.3",), "vxlan", "3")
    status = Status(State.READY, "", STATUS.since, peers=(peer,))
    report.publish(status, Places(tmp_path))
    assert run("--root", str(tmp_path), "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["peers"][0]["ends"] is None


def test_no_status_is_told_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--root", str(tmp_path), "status") == 1
    assert "coreos.flannel in the cloud-config asks for one" in capsys.readouterr().err
    places = Places(tmp_path)
    places.settings.parent.mkdir(parents=True)
    places.settings.touch()
    assert run("--root", str(tmp_path), "status") == 1
    assert "has not reported yet" in capsys.readouterr().err
    places.status.parent.mkdir(parents=True)
    for broken in ("{", "[]"):
        places.status.write_text(broken)
        assert run("--root", str(tmp_path), "status") == 1
        assert "restart the agent" in capsys.readouterr().err


def test_a_right_configuration_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"Network": "10.5.0.0/16", "Surplus": 1}')
    assert run("check", str(path)) == 0
    found = capsys.readouterr()
    assert "10.5.0.0/16: a /24 for each host, 10.5.1.0/24 to 10.5.255.0/24\n" in found.out
    assert "backend vxlan\n" in found.out
    assert "Surplus" in found.err


def test_a_wrong_configuration_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"Network": "10.5.0.0"}')
    assert run("check", str(path)) == 2
    assert "Network" in capsys.readouterr().err
    assert run("check", str(tmp_path / "none")) == 2
