"""`bedplate fleet lock`, down to its exit status, with etcd in memory."""

import json
from pathlib import Path
from typing import Any

import pytest

from builder import cli, fleet_lock_cli
from builder.fleet import access, locks
from builder.fleet.locks import Held, HolderRow, LockRow
from builder.sheets import plain
from fleet_kit import FleetEtcd
from hostkit.etcd import Access
from rebootlock.manager import Manager
from rebootlock.semaphore import Holder, Semaphore, semaphore_key
from updater.errors import BedplateError, InputError

ONE, TWO = "1" * 32, "2" * 32
SINCE = "2023-11-14T22:13:20Z"


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FleetEtcd:
    found = FleetEtcd()

    def client(_: Access) -> FleetEtcd:
        return found

    monkeypatch.setattr(fleet_lock_cli, "Client", client)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv(access.FILE_VARIABLE, raising=False)
    return found


def lock(*argv: str) -> int:
    return cli.main(["fleet", "lock", *argv, "--endpoints", "http://10.0.0.1:2379"])


def answer(capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401 - JSON is of any type
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    return found


def take(etcd: FleetEtcd, group: str, machine: str, name: str = "") -> None:
    Manager(etcd, group).take(Holder(machine, 1_700_000_000, name, "2026.11.2"))


def test_who_holds_which_lock(etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]) -> None:
    take(etcd, "", ONE, "web-1")
    Manager(etcd, "db").set_max(2)
    assert lock("status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["-", "1", "1", "web-1", SINCE, "2026.11.2", ONE]
    assert lines[2].split() == ["db", "0", "2", "-", "-", "-", "-"]
    assert lock("status", "--group", "db", "--json") == 0
    empty = {"group": "db", "max": 2, "available": 2, "holders": [], "problem": ""}
    assert answer(capsys)["locks"] == [empty]


def test_a_group_that_has_no_lock_yet(etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]) -> None:
    assert lock("status", "--group", "new", "--json") == 0
    assert answer(capsys)["locks"][0]["max"] == 1
    assert lock("status", "--json") == 0
    assert answer(capsys)["locks"] == []
    assert not etcd.keys


def test_a_dead_host_is_freed_by_its_name(
    etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]
) -> None:
    take(etcd, "web", ONE, "web-1")
    take(etcd, "", TWO, "web-2")
    assert lock("release", "web-1") == 0
    assert capsys.readouterr().out == "web-1: the reboot lock of the group web freed\n"
    assert Manager(etcd, "web").look().semaphore == Semaphore()
    assert Manager(etcd, "").look().held_by(TWO)
    assert lock("release", TWO, "--json") == 0
    assert answer(capsys) == {
        "schema": 1,
        "released": True,
        "group": "",
        "holder": TWO,
        "host": "web-2",
    }


def test_who_holds_nothing_is_not_freed(
    etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]
) -> None:
    take(etcd, "", ONE, "web-1")
    assert lock("release", "web-9") == 1
    assert "web-9 holds no reboot lock; who does: web-1" in capsys.readouterr().err
    assert lock("release", "web-1", "--group", "web") == 1
    assert "who does: nobody" in capsys.readouterr().err


def test_a_name_of_several_is_refused() -> None:
    rows = [
        LockRow(group, 1, 0, (HolderRow("web", machine, "", ""),))
        for group, machine in (("", ONE), ("a", TWO))
    ]
    with pytest.raises(InputError, match=f"{ONE} in the group of hosts that name none; {TWO} in"):
        locks.meant(rows, "web")
    assert locks.meant(rows, TWO) == Held("a", TWO, "web")
    with pytest.raises(BedplateError, match="holds no reboot lock"):
        locks.meant(rows, "")


def test_the_maximum(etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]) -> None:
    assert lock("set-max", "3", "--group", "web") == 0
    told = "of the group web at most 3 may be down at once (before: 1)\n"
    assert capsys.readouterr().out == told
    assert lock("set-max", "0", "--json") == 0
    assert answer(capsys) == {"schema": 1, "group": "", "before": 1, "max": 0}
    assert Manager(etcd, "web").look().semaphore.max == 3
    assert lock("set-max", "-1") == 2
    assert "expected a number from 0 to" in capsys.readouterr().err


def test_what_is_no_lock_is_told(etcd: FleetEtcd, capsys: pytest.CaptureFixture[str]) -> None:
    etcd.put(semaphore_key("web"), b"\x1b[2J")
    etcd.put("coreos.com/updateengine/rebootlock/other", b"")
    assert lock("status") == 1
    out = capsys.readouterr().out
    assert "groups/web/semaphore is no reboot lock: max is no number" in out
    assert lock("set-max", "2", "--group", "web") == 1
    assert "mend the key, or delete it" in capsys.readouterr().err


def test_nothing_that_others_wrote_steers_a_terminal() -> None:
    row = LockRow("\x1b[2J", 1, 0, (HolderRow("", "\x1b[2J", "", ""),))
    assert all("\x1b" not in line for line in plain(locks.sheet([row])))
