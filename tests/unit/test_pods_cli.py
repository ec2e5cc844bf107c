"""`bedplate-pods`: the status for people, draining, and the health of a release on trial."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent import cli, drain, health, page
from podagent.drain import Request
from podagent.places import Places
from updater import programs, state
from updater.store import Store
from updater.version import Version

PROJECT = Path(__file__).parents[2]
NEVER = 10_000  # looks of a fake, after which a test is given up


def pod(name: str, phase: str = "Running", *, ready: bool = True, **more: object) -> dict[str, Any]:
    return {
        "id": name,
        "origin": "folder",
        "slot": None,
        "phase": phase,
        "ready": ready,
        "restarts": 0,
        "reason": "",
        "message": "",
        **more,
    }


def document(*pods: dict[str, Any], **more: object) -> dict[str, Any]:
    given = {"schema": 1, "pods": list(pods), "refused": {}, "fault": "", "draining": ""}
    return {**given, "cluster": None, **more}


class Host:
    """A host's files, its service manager's word on the agent, and time that only waits move."""

    def __init__(self, root: Path) -> None:
        self.places = Places(root)
        self.agent = "active"
        self.now = 1000.0
        self.at: dict[float, Callable[[], None]] = {}

    def publish(self, *pods: dict[str, Any], **more: object) -> None:
        self.places.status.parent.mkdir(parents=True, exist_ok=True)
        self.places.status.write_text(json.dumps(document(*pods, **more)))

    def show_unit(self, unit: str, _properties: object) -> dict[str, str]:
        assert unit == "bedplate-pods.service"
        return {"ActiveState": self.agent}

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < NEVER
        for when in sorted(self.at):
            if when <= self.now:
                self.at.pop(when)()

    def run(self, *argv: str) -> int:
        return cli.main(("--root", str(self.places.root), *argv))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(programs, "show_unit", made.show_unit)
    monkeypatch.setattr(cli, "boottime", lambda: made.now)
    monkeypatch.setattr("time.sleep", made.sleep)
    return made


# --- Status ---------------------------------------------------------------------------------------


def test_a_table_for_people() -> None:
    shown = page.lines(
        document(
            pod("web"),
            pod("db-1", "Pending", ready=False, restarts=12, reason="Pulling", message="a:1\nno"),
        ),
        "active",
    )
    assert shown == [
        "POD   PHASE    READY  RESTARTS  REASON",
        "web   Running  yes    0",
        "db-1  Pending  no     12        Pulling: a:1 no",
    ]


def test_what_is_wrong_and_what_goes_on_is_told_below() -> None:
    shown = page.lines(
        document(
            refused={"x.yaml": "x.yaml:1: no\nmore"},
            fault="podman ps: no",
            cluster={"lease": False, "faults": {"etcd": "it is away"}},
            draining="leaving",
        ),
        "failed",
    )
    assert shown == [
        "no pods",
        "",
        "agent    failed: what is told here is its last word",
        "fault    podman ps: no",
        "refused  x.yaml: x.yaml:1: no more",
        "cluster  no lease: replicas do not run",
        "         etcd: it is away",
        "drain    leaving",
    ]
    assert page.lines(document(cluster={"lease": True, "faults": {}}), "unknown") == [
        "no pods",
        "",
        "cluster  its lease holds",
    ]


def test_programs_get_the_document_as_it_is(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.publish(pod("web"), more={"new": [1]})
    assert host.run("status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == document(pod("web"), more={"new": [1]})
    assert host.run("status") == 0
    assert "web  Running  yes" in capsys.readouterr().out


def test_no_status_is_told_with_its_reason(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.run("status") == 1
    assert "has not reported since the boot" in capsys.readouterr().err
    host.places.status.parent.mkdir(parents=True)
    for broken in ("{", "[]", '{"schema": 2}'):
        host.places.status.write_text(broken)
        assert host.run("status", "--json") == 1
        assert "restart bedplate-pods.service" in capsys.readouterr().err


def test_a_service_manager_that_does_not_answer_spoils_no_status(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, str]:
        raise programs.ProgramError("no")

    monkeypatch.setattr(programs, "show_unit", fail)
    host.publish()
    assert host.run("status") == 0


# --- Drain ----------------------------------------------------------------------------------------


def test_a_drain_is_asked_for_and_followed(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.publish(pod("web"))
    host.at = {
        1001: lambda: host.publish(pod("web"), draining="leaving"),
        1005: lambda: host.publish(draining="done"),
    }
    assert host.run("drain", "--deadline", "60") == 0
    assert host.now < 1010
    assert drain.requested(host.places) == Request(1000, 1060)
    assert capsys.readouterr().err.splitlines() == ["not draining", "leaving", "done"]


def test_after_the_deadline_it_fails_and_the_drain_goes_on(host: Host) -> None:
    host.publish(pod("web"), draining="stopping")
    assert host.run("drain", "--deadline", "60") == 1
    assert 1060 <= host.now < 1065
    assert drain.requested(host.places) is not None


@pytest.mark.parametrize("agent", ["inactive", "failed"])
def test_without_an_agent_there_is_nothing_to_wait_for(host: Host, agent: str) -> None:
    host.agent = agent
    assert host.run("drain") == 0
    assert drain.requested(host.places) is None
    assert host.now == 1000


def test_an_agent_that_ends_meanwhile_is_not_waited_for(host: Host) -> None:
    host.publish(pod("web"), draining="leaving")
    host.at = {1007: lambda: setattr(host, "agent", "failed")}
    assert host.run("drain") == 0
    assert host.now < 1010


def test_an_agent_that_starts_is_waited_for(host: Host) -> None:
    host.agent = "activating"
    host.at = {1003: lambda: host.publish(draining="done")}
    assert host.run("drain") == 0
    assert 1003 <= host.now < 1010


def test_a_drain_is_taken_back_once_the_agent_knows(host: Host) -> None:
    drain.ask(host.places, Request(900, 1200))
    host.publish(draining="done")
    host.at = {1002: lambda: host.publish(pod("web"))}
    assert host.run("drain", "--cancel") == 0
    assert drain.requested(host.places) is None
    assert 1002 <= host.now < 1010
    assert host.run("drain", "--cancel") == 0


@pytest.mark.parametrize("deadline", ["-1", "nan", "inf", "soon"])
def test_a_deadline_is_a_time(host: Host, deadline: str) -> None:
    with pytest.raises(SystemExit) as ended:
        host.run("drain", f"--deadline={deadline}")
    assert ended.value.code == 2


# --- Health ---------------------------------------------------------------------------------------


def on_trial(host: Host, running: str = "2", pending: str | None = "2") -> None:
    release = host.places.root / "usr/lib/os-release"
    release.parent.mkdir(parents=True, exist_ok=True)
    release.write_text(f"IMAGE_VERSION={running}\n")
    store = Store(host.places.root / "var/lib/bedplate", host.places.root / "run/bedplate")
    version = None if pending is None else state.Pending(Version.parse(pending), "0" * 64)
    phase = state.Phase.IDLE if version is None else state.Phase.STAGED
    store.update(lambda _: state.State(phase=phase, pending=version))
    ran = host.places.root / "var/lib/bedplate/pods/ran.json"
    ran.parent.mkdir(parents=True, exist_ok=True)
    ran.write_text('{"schema": 1, "version": "1", "now": {"web": true, "job": true}, "before": {}}')


def test_what_ran_before_is_waited_for_and_told(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    on_trial(host)
    waits = pod("web", "Pending", ready=False, reason="Creating")
    host.at = {
        1010: lambda: host.publish(fault="podman ps: no"),
        1020: lambda: host.publish(waits),
        1030: lambda: host.publish(pod("web"), pod("new", "Pending", ready=False)),
    }
    assert host.run("health") == 0
    assert 1040 <= host.now < 1045
    told = capsys.readouterr().err.splitlines()
    assert "has not reported since the boot" in told.pop(0)
    assert told == ["podman ps: no", "web: Pending (Creating)", "nothing is missing"]


def test_a_release_that_does_not_bring_them_back_fails(host: Host) -> None:
    on_trial(host)
    host.publish(pod("web", ready=False))
    assert host.run("health", "--deadline", "480") == 1
    assert 1480 <= host.now < 1485


def test_an_agent_that_does_not_stay_fails(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    on_trial(host)
    host.agent = "activating"
    host.publish(pod("web"))
    assert host.run("health") == 1
    assert "bedplate-pods.service is activating" in capsys.readouterr().err


@pytest.mark.parametrize(("running", "pending"), [("1", "2"), ("2", None)])
def test_only_a_release_on_trial_is_held_to_it(
    host: Host, running: str, pending: str | None
) -> None:
    on_trial(host, running, pending)
    assert host.run("health") == 0
    assert host.now == 1000


def test_a_container_that_falls_at_once_runs_now_and_then(host: Host) -> None:
    on_trial(host)
    turns = iter(range(NEVER))

    def flap() -> tuple[str, ...]:
        return ("web: not ready",) if next(turns) % int(health.STEADY_SECONDS) == 0 else ()

    assert not health.wait(flap, 480, clock=lambda: host.now, sleep=host.sleep)
    assert host.now >= 1480


@given(looks=st.lists(st.booleans(), max_size=60), seconds=st.integers(0, 70))
def test_it_is_well_when_it_was_for_long_enough(looks: list[bool], seconds: int) -> None:
    """Against the rule itself: some STEADY_SECONDS in a row within the time, or none."""
    steady = int(health.STEADY_SECONDS)
    now = [0.0]

    def look() -> tuple[str, ...]:
        at = int(now[0])
        return () if at < len(looks) and looks[at] else ("web",)

    def sleep(pause: float) -> None:
        now[0] += pause

    well = health.wait(look, seconds, clock=lambda: now[0], sleep=sleep)
    runs = [all(looks[at : at + steady + 1]) for at in range(len(looks) - steady)]
    ends = [at + steady for at, run in enumerate(runs) if run]
    assert well == any(end <= seconds for end in ends)


# --- The units ------------------------------------------------------------------------------------


def unit(name: str) -> Iterator[tuple[str, str]]:
    text = (PROJECT / "cloud-config/dist" / name).read_text()
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            yield key, value


def test_the_health_unit_counts_for_a_boot_and_ends_before_its_time_does() -> None:
    found = list(unit("bedplate-pods-health.service"))
    assert ("RequiredBy", "boot-complete.target") in found
    assert ("Before", "boot-complete.target") in found
    conditions = [value for key, value in found if key == "ConditionPathExists"]
    assert conditions == ["/var/lib/bedplate/pending", "/var/lib/bedplate/pods/ran.json"]
    assert ("ExecStart", "/usr/bin/bedplate-pods health --deadline 480") in found
    assert ("TimeoutStartSec", "9min") in found
    blessing = PROJECT / "updater/dist/systemd-bless-boot.service.d/50-bedplate.conf"
    assert "JobTimeoutSec=10min" in blessing.read_text()


def test_the_reboot_unit_reboots_whatever_the_drain_does() -> None:
    found = dict(unit("bedplate-reboot.service"))
    assert (found["SuccessAction"], found["FailureAction"]) == ("reboot", "reboot")
    assert found["ExecStart"] == "-/usr/bin/bedplate-pods drain --deadline 300"
    assert found["TimeoutStartSec"] == "6min"
    assert "RemainAfterExit" not in found


def test_the_agent_is_followed_by_the_fence() -> None:
    assert ("OnFailure", "bedplate-pods-fence.service") in list(unit("bedplate-pods.service"))
    found = dict(unit("bedplate-pods-fence.service"))
    assert found["ExecStart"] == "/usr/bin/bedplate-pods fence"
    assert "CAP_SYS_ADMIN" in found["CapabilityBoundingSet"]
    # Each of these would give podman mounts of its own.
    assert not [key for key in found if key.startswith(("Protect", "Private", "ReadWrite"))]


@pytest.mark.parametrize("verb", ["status", "drain"])
def test_a_command_imports_little(tmp_path: Path, verb: str) -> None:
    places = Places(tmp_path)
    places.status.parent.mkdir(parents=True)
    places.status.write_text(json.dumps(document()))
    heavy = "requests, pyroute2, yaml, ssl, cryptography, podagent.agent, podagent.manifest"
    code = (
        "import sys; from podagent import cli; from updater import programs\n"
        "programs.show_unit = lambda *_: {'ActiveState': 'inactive'}\n"
        f"cli.main(('--root', {str(tmp_path)!r}, {verb!r}))\n"
        f"assert not set('{heavy}'.split(', ')) & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT / "cloud-config")
