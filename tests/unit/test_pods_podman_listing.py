"""What podman 5.4 said of two pods of ours and a container of somebody else's, recorded."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent import listing
from podagent.listing import ListingError
from podagent.observed import Disk, ImageState, Observed, PodState

_RECORDED = Path(__file__).parent / "podman_output"
_READERS = {
    "ps": listing.read_containers,
    "pods": listing.read_pods,
    "details": listing.read_details,
    "images": listing.read_images,
}


def recorded(name: str) -> str:
    return (_RECORDED / f"{name}.json").read_text()


def _observed(containers: str | None = None, details: str | None = None) -> Observed:
    return listing.observed(
        listing.read_containers(containers or recorded("ps")),
        listing.read_pods(recorded("pods")),
        listing.read_details(details or recorded("details")),
        listing.read_images(recorded("images")),
        Disk(100, 40),
    )


def _pod(observed: Observed, name: str) -> PodState:
    return next(each for each in observed.pods if each.id == name)


def test_a_replica() -> None:
    pod = _pod(_observed(), "web-2")
    assert pod.slot == 2
    assert len(pod.digest) == 64
    assert pod.grace == 45
    assert pod.addresses == ("10.88.0.2",)
    assert not pod.host_network
    main, side = pod.by_name()["main"], pod.by_name()["side"]
    assert main.podman_name == "web-2-main"
    assert main.running
    assert main.finished == 0
    assert main.image == "localhost/busybox:1"
    assert main.image_digest.startswith("sha256:")
    assert not side.running
    assert side.exit_code == 3
    assert 0 < side.finished - side.started < 60
    assert side.started > 1_700_000_000


def test_a_pod_in_the_hosts_network_whose_containers_wait() -> None:
    pod = _pod(_observed(), "node")
    assert pod.slot is None
    assert pod.host_network
    assert pod.addresses == ()
    assert {each.name for each in pod.containers} == {"prepare", "main"}
    assert all(each.exit_code is None and not each.ended for each in pod.containers)


def test_what_else_there_is() -> None:
    observed = _observed()
    assert observed.foreign == {"alone"}
    assert observed.disk == Disk(100, 40)
    (busybox,) = [each for each in observed.images if "localhost/busybox:1" in each.names]
    assert busybox.names[:2] == ("localhost/busybox:2", "localhost/busybox:1")
    assert busybox.names[2].startswith("localhost/busybox@sha256:")
    assert busybox.size == 2038887
    assert busybox.id in observed.images_in_use
    assert len(observed.images) == len(observed.images_in_use) == 2


def test_a_container_whose_pod_lost_its_network_does_not_run() -> None:
    document = json.loads(recorded("ps"))
    for each in document:
        if each["IsInfra"] and each["PodName"] == "web-2":
            each["State"] = "exited"
    main = _pod(_observed(json.dumps(document)), "web-2").by_name()["main"]
    assert not main.running
    assert main.cut_off


def test_what_ended_at_once_was_not_cut_off_by_the_host() -> None:
    details = json.loads(recorded("details"))
    (side,) = (each["State"] for each in details if each["Name"] == "web-2-side")
    side["FinishedAt"] = side["StartedAt"].replace("49:53", "49:52")
    assert side["FinishedAt"] < side["StartedAt"]
    seen = _pod(_observed(details=json.dumps(details)), "web-2").by_name()["side"]
    assert not seen.cut_off
    assert seen.finished == seen.started

    document = json.loads(recorded("ps"))
    for each in document:
        each["Exited"] = False
    seen = _pod(_observed(json.dumps(document), json.dumps(details)), "web-2").by_name()["side"]
    assert seen.cut_off


def test_a_range_of_ports() -> None:
    document = json.loads(recorded("ps"))
    ports = [{"host_ip": "", "container_port": 1, "host_port": 8000, "range": 2}]
    for each in document:
        each["Ports"] = [dict(ports[0], protocol="tcp,udp")] if each["IsInfra"] else None
    pod = _pod(_observed(json.dumps(document)), "web-2")
    assert pod.ports == {("tcp", 8000), ("tcp", 8001), ("udp", 8000), ("udp", 8001)}


def test_a_pod_without_containers_is_seen() -> None:
    observed = _observed("[]")
    assert {each.id for each in observed.pods} == {"web-2", "node"}
    assert {each.containers for each in observed.pods} == {()}


def test_an_image_without_a_name() -> None:
    document = [{"Id": "1", "Size": 5, "Names": None, "RepoDigests": None}]
    assert listing.read_images(json.dumps(document)) == (ImageState("1", (), 5),)


@pytest.mark.parametrize("name", sorted(_READERS))
def test_no_answer_and_empty_answers(name: str) -> None:
    assert not _READERS[name]("[]")
    for text in ("", "Error", "{}x", "[1]", "[{}]", "[null]", "7", "null"):
        with pytest.raises(ListingError, match="is not podman 5's"):
            _READERS[name](text)


@given(st.sampled_from(sorted(_READERS)), st.data())
def test_what_is_missing_is_one_error(name: str, data: st.DataObject) -> None:
    document = json.loads(recorded(name))
    at: Any = data.draw(st.sampled_from(document))
    while isinstance(at, dict) and at:
        key = data.draw(st.sampled_from(sorted(at)))
        if isinstance(at[key], dict) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = None
        if data.draw(st.booleans()):
            del at[key]
        break
    with suppress(ListingError):
        _READERS[name](json.dumps(document))
