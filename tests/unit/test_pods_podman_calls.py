"""Which podman calls are made, and which are spared."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from podagent.actions import Kill, Play, Pull, RemoveImage, RemovePod, StartContainer, StopPod
from podagent.manifest import parse
from podagent.podman import Podman, PodmanError
from podagent.types import Instance, Origin
from test_pods_podman_listing import recorded
from updater.programs import ProgramError

_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
    - {name: main, image: docker.io/library/nginx:1}
"""


class Host:
    """A podman that answers from a recording."""

    def __init__(self) -> None:
        self.answers = {name: recorded(name) for name in ("ps", "pods", "details", "images")}
        self.calls: list[tuple[str, ...]] = []
        self.fails: list[str] = []  # what the next calls say before they fail; "" when they do not
        self.volumes = ""
        self.lost: set[str] = set()  # ids of containers that are listed, and cannot be looked at
        self.during: Callable[[Sequence[str]], None] = lambda _argv: None

    def run(self, argv: Sequence[str], *, time_out: float = 60.0) -> str:
        assert time_out > 0
        assert argv[0] == "podman"
        self.calls.append(tuple(argv[1:]))
        self.during(argv)
        if self.fails and (failure := self.fails.pop(0)):
            raise ProgramError(f"`podman x` {failure}")
        match argv[1:]:
            case ["ps", *_]:
                return self.answers["ps"]
            case ["pod", "ps", *_]:
                return self.answers["pods"]
            case ["container", "inspect", *ids] if lost := self.lost.intersection(ids):
                store = f'getting container from store "{lost.pop()}": container not known'
                raise ProgramError(f"`podman x` ended with 125: [] | Error: {store}")
            case ["container", "inspect", *ids]:
                everything = json.loads(self.answers["details"])
                return json.dumps([each for each in everything if each["Id"] in ids])
            case ["images", *_]:
                return self.answers["images"]
            case ["volume", "ls", *_]:
                return self.volumes
        return ""

    def taken(self) -> list[str]:
        """The verbs of the calls since the last time."""
        calls, self.calls = self.calls, []
        return [
            " ".join(call[:2]) if call[0] in ("pod", "container") else call[0] for call in calls
        ]

    def change(self, container: str, **fields: Any) -> None:  # noqa: ANN401
        document = json.loads(self.answers["ps"])
        for each in document:
            if container in each["Names"]:
                each.update(fields)
        self.answers["ps"] = json.dumps(document)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr("podagent.podman.run", made.run)
    return made


@pytest.fixture
def podman(tmp_path: Path) -> Podman:
    return Podman(tmp_path / "run", var=tmp_path, cgroups=tmp_path / "cgroups")


def _instance(text: str = _POD) -> Instance:
    return Instance("web", parse(text.encode(), Path("web.yaml")), Origin.FOLDER, None)


def test_at_rest_two_calls_are_enough(host: Host, podman: Podman) -> None:
    first = podman.observe()
    assert host.taken() == ["ps", "pod ps", "container inspect", "images"]
    assert podman.observe() == first
    assert host.taken() == ["ps", "images"]


def test_only_what_changed_is_inspected(host: Host, podman: Podman) -> None:
    podman.observe()
    host.taken()
    host.change("web-2-main", State="exited", Pid=0, ExitedAt=1795377000)
    podman.observe()
    (inspect,) = [call for call in host.calls if call[0] == "container"]
    assert len(inspect) == 3
    assert inspect[2] == podman.container_id("web-2-main")


def test_other_pods_are_asked_for_their_labels(host: Host, podman: Podman) -> None:
    podman.observe()
    host.taken()
    document = json.loads(host.answers["ps"])
    host.answers["ps"] = json.dumps([each for each in document if each["PodName"] != "node"])
    podman.observe()
    assert "pod ps" in host.taken()


def test_a_container_that_goes_between_two_calls(host: Host, podman: Podman) -> None:
    host.fails = ["", "", 'ended with 125: [] | Error: no such object: "abc"']
    assert len(podman.observe().pods) == 2
    host.fails = ["ended with 125: Error: database is locked"]
    with pytest.raises(PodmanError, match=r"^podman ps: database is locked$"):
        podman.observe()


def test_what_a_removal_that_was_cut_off_leaves_is_a_pod_without_containers(
    host: Host, podman: Podman
) -> None:
    """Seen on a host: its pod is removed again, and the others are looked at all the while."""
    before = {each.id: each for each in podman.observe().pods}
    host.lost = {podman.container_id("web-2-main") or ""}
    host.change("web-2-main", State="removing", Pid=0)
    host.taken()
    after = {each.id: each for each in podman.observe().pods}
    assert after["web-2"].containers == ()
    assert not after["web-2"].running
    assert {name: pod for name, pod in after.items() if name != "web-2"} == {
        name: pod for name, pod in before.items() if name != "web-2"
    }
    host.lost = set()
    assert podman.observe().pods[0].containers


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("ended with 125: Error: no pod", "podman pod kill: no pod"),
        ("ended with 125: level=warning | Error: no pod", "podman pod kill: no pod"),
        ("ended with 125: x | crun: no | Error: failed to start 1", "podman pod kill: crun: no"),
        ("ended with 1: no output", "podman pod kill: no output"),
        (
            "took longer than 60 s and was ended",
            "podman pod kill: `podman x` took longer than 60 s",
        ),
    ],
)
def test_an_error_has_podmans_last_line(
    host: Host, podman: Podman, told: str, message: str
) -> None:
    host.fails = [told]
    with pytest.raises(PodmanError) as caught:
        podman.apply(Kill("web"))
    assert str(caught.value).startswith(message)


def test_a_kill_goes_to_the_kernel_first(host: Host, podman: Podman, tmp_path: Path) -> None:
    podman.observe()
    container = podman.container_id("web-2-main")
    (pod,) = {each["Pod"] for each in json.loads(recorded("ps")) if each["Id"] == container}
    scope = (
        tmp_path / f"cgroups/machine.slice/machine-libpod_pod_{pod}.slice/libpod-{container}.scope"
    )
    scope.mkdir(parents=True)
    host.taken()
    host.during = lambda _argv: killed.append((scope / "cgroup.kill").read_text())
    killed: list[str] = []
    podman.apply(Kill("web-2"))
    assert killed == ["1"]
    assert host.taken() == ["pod kill"]


def test_a_pod_is_played_from_a_file_that_goes(host: Host, podman: Podman, tmp_path: Path) -> None:
    seen: list[tuple[int, str]] = []

    def look(argv: Sequence[str]) -> None:
        path = Path(argv[-1])
        seen.append((path.stat().st_mode & 0o777, path.read_text()))

    host.during = look
    podman.apply(Play(_instance()))
    (call,) = host.calls
    options = ("--quiet", "--build=false", "--start=true", "--network", "podman")
    assert call == ("kube", "play", *options, str(tmp_path / "run/web.yaml"))
    ((mode, text),) = seen
    assert mode == 0o600
    assert "nginx" in text
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "run").iterdir()) == []
    host.fails = ["ended with 125: Error: no"]
    with pytest.raises(PodmanError):
        podman.apply(Play(_instance()))
    assert list((tmp_path / "run").iterdir()) == []


def test_options_follow_the_manifest(host: Host, podman: Podman) -> None:
    init = "  hostNetwork: true\n  initContainers:\n    - {name: i, image: docker.io/library/a:1}\n"
    podman.apply(Play(_instance(_POD + init)))
    (call,) = host.calls
    assert "--network" not in call
    assert "--start=false" in call


def test_after_a_play_that_failed_all_pods_are_asked_for(host: Host, podman: Podman) -> None:
    podman.observe()
    host.taken()
    host.fails = ["ended with 125: Error: no"]
    with pytest.raises(PodmanError):
        podman.apply(Play(_instance()))
    podman.observe()
    assert "pod ps" in host.taken()


def test_a_grace_is_whole_seconds_upwards(host: Host, podman: Podman) -> None:
    podman.apply(StopPod("web", 1.2))
    assert host.calls == [("stop", "--time", "2", "--filter", "label=org.bedplate.pod=web")]


def test_a_pull_asks_once(host: Host, podman: Podman) -> None:
    podman.apply(Pull("docker.io/library/nginx:1", ()))
    assert host.calls == [("pull", "--quiet", "--retry", "0", "docker.io/library/nginx:1")]


def test_an_image_is_removed_by_its_names(host: Host, podman: Podman) -> None:
    image = next(each.id for each in podman.observe().images if "localhost/busybox:1" in each.names)
    host.taken()
    podman.apply(RemoveImage(image, ""))
    podman.apply(RemoveImage("other", ""))
    assert [list(call) for call in host.calls] == [
        ["image", "rm", "localhost/busybox:2", "localhost/busybox:1"],
        ["image", "rm", "other"],
    ]


def test_a_start_that_podman_crossed_is_tried_again(host: Host, podman: Podman) -> None:
    document = json.loads(recorded("ps"))
    host.answers["ps"] = json.dumps([each for each in document if each["PodName"] == "web-2"])
    (infra,) = (each["Names"][0] for each in document if each["IsInfra"] and each["Pid"])
    crossed = "ended with 125: Error: cannot get namespace path unless container 1 is running"
    # What a start says, and whether the pod's network and the container are there afterwards.
    starts = iter(((crossed, False, False), ("", False, True), ("", True, True)))

    def during(argv: Sequence[str]) -> None:
        if argv[1] == "start":
            failure, network, runs = next(starts)
            host.fails = [failure]
            host.change(infra, State="running" if network else "exited")
            host.change("web-2-main", State="running" if runs else "exited")

    host.during = during
    podman.apply(StartContainer("web-2", "main"))
    assert host.taken() == ["start", "ps", "start", "ps", "stop", "start", "ps"]


def test_a_start_that_fails_for_good_says_why(host: Host, podman: Podman) -> None:
    host.fails = ["ended with 125: Error: crun: executable file `x` not found in $PATH"]
    with pytest.raises(PodmanError, match="executable file"):
        podman.apply(StartContainer("web-2", "main"))
    assert host.taken() == ["start", "ps"]


def test_a_pods_own_volumes_go_with_it(host: Host, podman: Podman) -> None:
    host.volumes = "web.a\nweb.b.c\nweb-2.a\nwebs\n"
    podman.apply(RemovePod("web"))
    assert list(host.calls[-1]) == ["volume", "rm", "web.a", "web.b.c"]
    podman.apply(RemovePod("other"))
    assert list(host.calls[-1]) == ["volume", "ls", "--quiet"]
