"""What ends replicas at the fence when the agent cannot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent import fence
from podagent.cluster.tenure import Tenure, save
from podagent.fence import doomed, fence_time
from podagent.places import Places
from updater import programs

NEVER = 10_000.0
STOP = ["podman", "stop", "--time", "0", "--filter", "label=org.bedplate.slot"]
RESET = ["systemctl", "reset-failed", "bedplate-pods.service"]
PODS: list[dict[str, Any]] = [
    {"id": "web-2", "slot": 2},
    {"id": "web-2-own", "slot": None},
    {"id": "db", "slot": None},
    {"id": "db-0", "slot": 0},
]


# --- Pure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("saved", [None, b"", b"{}", b"[]", b'{"lease": 1, "until": 900000}'])
def test_without_a_lease_to_rely_on_the_fence_is_now(saved: bytes | None) -> None:
    assert fence_time(saved, 1000) == 1000


@given(until=st.floats(0, 1020))
def test_the_fence_is_what_the_agent_left(until: float) -> None:
    assert fence_time(save(Tenure(7, until)), 1000) == until


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("web-2-app", True),
        ("web-2-own-app", False),
        ("web-2-own", True),  # a container "own" of web-2
        ("web-20-app", False),
        ("db-app", False),
        ("db-0-app", True),
        ("somebody's", False),
    ],
)
def test_replicas_are_told_by_their_names(name: str, ends: bool) -> None:  # noqa: FBT001
    assert doomed([("1", name)], PODS) == ({"1"} if ends else set())


@given(containers=st.permutations(("web-2-app", "db-app", "web-2-own-app", "x")))
def test_each_is_judged_alone(containers: Sequence[str]) -> None:
    assert doomed(((each, each) for each in containers), PODS) == {"web-2-app"}


def test_containers_that_run_are_found_by_conmon(tmp_path: Path) -> None:
    processes = {
        "1": "/usr/lib/systemd/systemd\0-c\0-n\0",
        "20": "/usr/bin/conmon\0--api-version\0001\0-c\0aa\0-u\0aa\0-n\0web-2-app\0-s\0",
        "21": "/usr/bin/conmon\0--version\0",
        "22": "",
    }
    for number, command in processes.items():
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_text(command)
    (tmp_path / "23").mkdir()  # it ended while it was looked at
    (tmp_path / "self").mkdir()
    assert list(fence.conmons(tmp_path)) == [("aa", "web-2-app")]


# --- Whole ----------------------------------------------------------------------------------------


class Host:
    """A host with one replica and one pod of its own, both running; the agent is down."""

    def __init__(self, root: Path) -> None:
        self.places = Places(root)
        self.now = 1000.0
        self.agent = "failed"
        self.back_at = NEVER
        self.podman_fails = False
        self.ran: list[list[str]] = []
        self.at: list[float] = []
        self.proc, self.cgroups = root / "proc", root / "cgroup"
        self.places.runtime.mkdir(parents=True)
        self.places.status.write_text(json.dumps({"schema": 1, "pods": PODS}))
        self.places.tenure.write_bytes(save(Tenure(7, 1015)))
        for number, (container, name) in enumerate((("aa", "web-2-app"), ("bb", "db-app"))):
            process = self.proc / str(number)
            process.mkdir(parents=True)
            (process / "cmdline").write_text(f"conmon\0-c\0{container}\0-n\0{name}\0")
            self.switch(container).parent.mkdir(parents=True)
            self.switch(container).write_text("")

    def switch(self, container: str) -> Path:
        pod = self.cgroups / "machine.slice/machine-libpod_pod_00.slice"
        return pod / f"libpod-{container}.scope/cgroup.kill"

    def show_unit(self, _unit: str, _properties: object) -> dict[str, str]:
        return {"ActiveState": "active" if self.now >= self.back_at else self.agent}

    def run(self, argv: Sequence[str], **_: object) -> str:
        self.ran.append(list(argv))
        self.at.append(self.now)
        if argv[0] == "podman" and self.podman_fails:
            raise programs.ProgramError("podman is broken")
        return ""

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < NEVER

    def fence(self) -> int:
        return fence.fence(
            self.places,
            proc=self.proc,
            cgroups=self.cgroups,
            clock=lambda: self.now,
            sleep=self.sleep,
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(programs, "show_unit", made.show_unit)
    monkeypatch.setattr(programs, "run", made.run)
    return made


START = ["systemctl", "--no-block", "start", "bedplate-pods.service"]


def test_replicas_end_at_the_fence_and_the_agent_is_started_again(host: Host) -> None:
    assert host.fence() == 0
    assert host.switch("aa").read_text() == "1"
    assert host.switch("bb").read_text() == ""
    assert host.ran == [STOP, RESET, START]
    assert 1015 <= host.at[0] < 1017
    # Twice is no worse than once.
    assert host.fence() == 0


@pytest.mark.parametrize("back", [1000, 1014, 1014.5])
def test_an_agent_that_is_back_does_it_itself(host: Host, back: float) -> None:
    host.back_at = back
    assert host.fence() == 0
    assert host.ran == []
    assert host.switch("aa").read_text() == ""


def test_a_renewal_meanwhile_is_waited_for(host: Host) -> None:
    sleep = host.sleep

    def renew(seconds: float) -> None:
        sleep(seconds)
        if host.now == 1010:
            host.places.tenure.write_bytes(save(Tenure(7, 1030)))

    host.sleep = renew  # type: ignore[method-assign]
    assert host.fence() == 0
    assert 1030 <= host.at[0] < 1032


def test_what_podman_cannot_end_the_kernel_did(host: Host) -> None:
    host.podman_fails = True
    assert host.fence() == 1
    assert host.switch("aa").read_text() == "1"
    assert host.ran[-1] == START


def test_without_a_status_podman_knows_what_is_a_replica(host: Host) -> None:
    host.places.status.unlink()
    assert host.fence() == 0
    assert host.ran[0] == STOP
    assert host.switch("aa").read_text() == ""


def test_a_container_that_has_just_ended_stops_nothing_else(host: Host) -> None:
    host.switch("aa").unlink()
    host.switch("aa").mkdir()  # it is found, and cannot be written
    assert host.fence() == 0
    assert host.ran[0] == STOP


def test_an_agent_that_systemd_starts_again_is_left_to_it(host: Host) -> None:
    host.agent = "activating"
    assert host.fence() == 0
    assert host.ran == [STOP]
