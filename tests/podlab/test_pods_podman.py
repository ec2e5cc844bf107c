"""What podman does with a pod, from play to remove, and how it is seen."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from pod_fixtures import BUSYBOX, make_image
from pods import FOREVER, POLITE, SERVER, found, instance, pod_of

from network import run, wait_for
from podagent.actions import (
    Kill,
    Play,
    Pull,
    RemoveImage,
    RemovePod,
    StartContainer,
    StopContainer,
    StopPod,
)
from podagent.podman import Podman, PodmanError

_PODMANS = ip_network("10.88.0.0/16")


def _inspect(name: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(run(["podman", "container", "inspect", name]))[0]


def _serves(address: str) -> bool:
    """A client in the pod's network would not see that the pod has lost it."""
    try:
        return (
            run(["busybox", "wget", "-T", "5", "-q", "-O", "-", f"http://{address}/"]) == "served\n"
        )
    except Exception:  # noqa: BLE001 - it does not
        return False


def test_a_pod_is_played_and_seen(podman: Podman) -> None:
    before = time.time()
    web = instance("web", {"main": SERVER, "side": FOREVER}, slot=2)
    podman.apply(Play(web))
    observed = podman.observe()
    pod = found(observed, "web-2")
    assert (pod.id, pod.digest, pod.slot) == ("web-2", web.manifest.digest, 2)
    (address,) = pod.addresses
    assert ip_address(address) in _PODMANS
    assert _serves(address)
    main, side = pod.by_name()["main"], pod.by_name()["side"]
    assert (main.podman_name, side.podman_name) == ("web-2-main", "web-2-side")
    assert main.running
    assert side.running
    assert before - 1 < main.started < time.time() + 1
    assert main.image == BUSYBOX
    (image,) = [each for each in observed.images if BUSYBOX in each.names]
    assert any(name.endswith(f"@{main.image_digest}") for name in image.names)
    assert image.id in observed.images_in_use
    assert image.size > 1000
    assert 0 < observed.disk.free <= observed.disk.total
    assert observed.foreign == frozenset()


def test_a_stopped_pod_had_its_grace(podman: Podman) -> None:
    podman.apply(Play(instance("web", {"polite": POLITE, "deaf": FOREVER})))
    podman.observe()
    podman.apply(StopPod("web", 1.5))
    pod = pod_of(podman, "web")
    states = pod.by_name()
    assert not pod.running
    assert states["polite"].exit_code == 3
    assert states["deaf"].exit_code == 137
    assert states["deaf"].finished - states["deaf"].started > 1.5
    assert all(each.ended and not each.cut_off for each in pod.containers)


def test_a_kill_does_not_wait_for_a_stop(podman: Podman) -> None:
    podman.apply(Play(instance("web", {"one": FOREVER, "two": FOREVER})))
    podman.observe()
    failures: list[BaseException] = []

    def stop() -> None:
        try:
            podman.apply(StopPod("web", 100000))
        except PodmanError as error:
            failures.append(error)

    stopping = threading.Thread(target=stop)
    stopping.start()
    wait_for(lambda: _inspect("web-one")["State"]["Status"] == "stopping", "it is being stopped")
    assert pod_of(podman, "web").running
    podman.apply(Kill("web"))
    pod = pod_of(podman, "web")
    assert not pod.running
    assert {each.exit_code for each in pod.containers} == {137}
    stopping.join(60)
    assert not stopping.is_alive()
    assert failures == []


def test_a_pod_is_removed_and_may_be_gone_already(podman: Podman) -> None:
    podman.apply(Play(instance("web", {"main": FOREVER})))
    assert len(podman.observe().pods) == 1
    podman.apply(RemovePod("web"))
    podman.apply(RemovePod("web"))
    assert podman.observe().pods == ()
    assert run(["podman", "ps", "--all", "--quiet"]) == ""


def test_files_and_secrets_of_a_pod_go_with_it(podman: Podman) -> None:
    files = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page"}})
    page = files.removesuffix("}") + ', "data": {"index.html": "served\\n"}}'
    spec = {
        "volumes": [
            {"name": "page", "configMap": {"name": "page"}},
            {"name": "empty", "emptyDir": {}},
        ],
    }
    mounts = {
        "volumeMounts": [
            {"name": "page", "mountPath": "/page"},
            {"name": "empty", "mountPath": "/empty"},
        ]
    }
    server = ("httpd", "-f", "-h", "/page")
    run(["podman", "volume", "create", "webserver.kept"])
    podman.apply(Play(instance("web", {"main": server}, spec=spec, each=mounts, more=[page])))
    assert _serves(pod_of(podman, "web").addresses[0])
    podman.apply(RemovePod("web"))
    assert run(["podman", "volume", "ls", "--quiet"]).split() == ["webserver.kept"]
    run(["podman", "volume", "rm", "webserver.kept"])


def test_one_container_is_stopped_and_started(podman: Podman) -> None:
    podman.apply(Play(instance("web", {"main": SERVER, "side": FOREVER})))
    before = pod_of(podman, "web")
    podman.apply(StopContainer("web", "main", 0, "a test"))
    stopped = pod_of(podman, "web").by_name()
    assert stopped["main"].ended
    assert stopped["side"] == before.by_name()["side"]
    podman.apply(StartContainer("web", "main"))
    after = pod_of(podman, "web")
    assert after.by_name()["main"].started > before.by_name()["main"].started
    assert after.by_name()["side"] == before.by_name()["side"]
    assert after.addresses == before.addresses
    assert _serves(after.addresses[0])


def test_the_only_container_has_a_network_when_it_is_started_again_at_once(podman: Podman) -> None:
    podman.apply(Play(instance("web", {"main": SERVER})))
    for _ in range(5):
        run(["podman", "kill", "web-main"])
        podman.apply(StartContainer("web", "main"))
        pod = pod_of(podman, "web")
        if not pod.running:  # podman took the network away later still; the next look is for that
            podman.apply(StartContainer("web", "main"))
            pod = pod_of(podman, "web")
        assert pod.running
        assert _serves(pod.addresses[0])


def test_a_container_that_lost_its_network_gets_it_back(podman: Podman) -> None:
    podman.apply(Play(instance("web", {"main": SERVER})))
    (infra,) = [
        name
        for name in run(["podman", "ps", "--format", "{{.Names}}"]).split()
        if name.endswith("-infra")
    ]
    run(["podman", "stop", "--time", "0", infra])
    assert _inspect("web-main")["State"]["Running"]
    assert not pod_of(podman, "web").running
    podman.apply(StartContainer("web", "main"))
    pod = pod_of(podman, "web")
    assert pod.running
    assert _serves(pod.addresses[0])


def test_init_containers_wait_for_their_turn(podman: Podman) -> None:
    init = {"first": ("sh", "-c", "exit 4"), "second": ("sh", "-c", "exit 0")}
    podman.apply(Play(instance("web", {"main": FOREVER}, init=init)))
    states = pod_of(podman, "web").by_name()
    assert set(states) == {"first", "second", "main"}
    assert all(not each.running and not each.ended for each in states.values())
    assert {each.exit_code for each in states.values()} == {None}
    for _ in range(2):
        podman.apply(StartContainer("web", "first"))
        wait_for(lambda: pod_of(podman, "web").by_name()["first"].ended, "it ended")
        assert pod_of(podman, "web").by_name()["first"].exit_code == 4
    podman.apply(StartContainer("web", "second"))
    wait_for(lambda: pod_of(podman, "web").by_name()["second"].succeeded, "it succeeded")
    podman.apply(StartContainer("web", "main"))
    assert pod_of(podman, "web").by_name()["main"].running


def test_what_is_not_ours_is_named_and_left(podman: Podman) -> None:
    podman.observe()
    run(["podman", "run", "--detach", "--name", "alone", "--network", "none", BUSYBOX, *FOREVER])
    run(["podman", "pod", "create", "--name", "theirs"])
    run(["podman", "pod", "create", "--name", "empty", "--infra=false"])
    podman.apply(Play(instance("web", {"main": FOREVER})))
    observed = podman.observe()
    assert [each.id for each in observed.pods] == ["web"]
    assert {"alone", "theirs"} <= observed.foreign
    assert not any(name.startswith("web") for name in observed.foreign)
    # A new agent sees pods without containers too.
    assert "empty" in Podman().observe().foreign


def test_a_name_that_is_taken(podman: Podman) -> None:
    podman.apply(Play(instance("web", {"main": FOREVER})))
    with pytest.raises(PodmanError, match=r"^podman kube play: .*is in use"):
        podman.apply(Play(instance("web", {"main": FOREVER})))


def test_a_pod_that_podman_could_not_finish_is_seen(podman: Podman) -> None:
    podman.observe()
    with pytest.raises(
        PodmanError, match=r"^podman kube play: .*localhost/none:1: image not known"
    ):
        podman.apply(Play(instance("web", {"main": FOREVER}, image="localhost/none:1")))
    pod = pod_of(podman, "web")
    assert pod.containers == ()
    podman.apply(RemovePod("web"))
    assert podman.observe().pods == ()


def test_a_program_that_is_not_there_is_an_error(podman: Podman) -> None:
    with pytest.raises(PodmanError, match=r"^podman kube play: starting container .*`nonesuch`"):
        podman.apply(Play(instance("web", {"main": ("nonesuch",), "side": FOREVER})))
    states = pod_of(podman, "web").by_name()
    assert states["side"].running
    assert not states["main"].running
    with pytest.raises(PodmanError, match=r"^podman start web-main: .*`nonesuch`"):
        podman.apply(StartContainer("web", "main"))


def test_a_kill_of_what_has_just_ended_is_well(podman: Podman) -> None:
    podman.apply(Play(instance("web", {"main": FOREVER, "side": FOREVER})))
    for pid in run(["podman", "ps", "--format", "{{.Pid}}", "--filter", "name=^web-"]).split():
        os.kill(int(pid), signal.SIGKILL)
    for _ in range(2):
        podman.apply(Kill("web"))
    assert not pod_of(podman, "web").running


def test_ports_of_the_host_and_its_network(podman: Podman) -> None:
    ports = {"ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}
    podman.apply(Play(instance("web", {"main": SERVER}, each=ports)))
    podman.apply(Play(instance("node", {"main": FOREVER}, spec={"hostNetwork": True})))
    observed = podman.observe()
    assert found(observed, "web").ports == {("tcp", 8080)}
    assert not found(observed, "web").host_network
    assert found(observed, "node").host_network
    assert found(observed, "node").addresses == ()
    assert _serves("127.0.0.1:8080")


def test_an_image_goes_with_all_its_names_unless_it_is_used(podman: Podman, tmp_path: Path) -> None:
    image = make_image("localhost/other:1", tmp_path, extra=b"other")
    run(["podman", "tag", "localhost/other:1", "localhost/other:2"])
    image = image.removeprefix("sha256:")
    podman.apply(Play(instance("web", {"main": FOREVER}, image="localhost/other:1")))
    run(["podman", "untag", "localhost/other:2"])
    assert image in podman.observe().images_in_use
    with pytest.raises(PodmanError, match=r"podman image rm: .*in use"):
        podman.apply(RemoveImage(image, "a test"))
    podman.apply(RemovePod("web"))
    run(["podman", "tag", image, "localhost/other:1", "localhost/other:2"])
    assert image not in podman.observe().images_in_use
    podman.apply(RemoveImage(image, "a test"))
    assert image not in {each.id for each in podman.observe().images}


@pytest.mark.parametrize(
    "failing",
    [
        lambda podman: podman.apply(Kill("none")),
        lambda podman: podman.apply(StartContainer("none", "main")),
        lambda podman: podman.apply(StopContainer("none", "main", 0, "")),
        lambda podman: podman.apply(Pull("127.0.0.1:1/none:1", ())),
    ],
)
def test_an_error_is_one_line_with_podmans_last_word(
    podman: Podman, failing: Callable[[Podman], None]
) -> None:
    with pytest.raises(PodmanError) as caught:
        failing(podman)
    assert str(caught.value).startswith("podman ")
    assert "none" in str(caught.value) or "connection refused" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Error:" not in str(caught.value)
