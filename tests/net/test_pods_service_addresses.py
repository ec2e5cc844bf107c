"""Stable addresses on a real etcd: chosen at once by several hosts, moved, given up."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from random import SystemRandom

import pytest

from etcd_server import Cluster as Etcd
from etcd_server import serving
from hostkit.etcd import Client
from podagent.cluster.view import Workload
from podagent.services.addresses import Free, Take, plan, write
from podagent.services.records import SERVICES, Held, address_key, read_held
from podagent.types import Kind, Manifest, PodSpec, RestartPolicy, Service, ServicePort

pytestmark = pytest.mark.thorough  # with `make test-pods`

PORTS = (ServicePort("", "tcp", 80, 8080),)
RANGE = IPv4Network("10.96.0.0/28")


def put_manifest(etcd: Etcd, name: str, asked: IPv4Address | None = None) -> Workload:
    revision = Client(etcd.access()).put(f"/bedplate/pods/{name}", b"")
    pod = PodSpec({}, (), (), RestartPolicy.ALWAYS, 30, host_network=False)
    service = Service(name, str(asked) if asked else None, PORTS)
    manifest = Manifest(name, Kind.DEPLOYMENT, 3, 1, None, {}, pod, service, "", {})
    return Workload(name, revision, manifest)


def held(etcd: Etcd) -> list[Held]:
    return [
        read_held(each.key.removeprefix(SERVICES), each.value, each.mod_revision)
        for each in Client(etcd.access()).list(SERVICES).items
    ]


def keep(etcd: Etcd, workloads: Sequence[Workload]) -> None:
    """A host that does what its plans say until there is nothing to do."""
    client = Client(etcd.access())
    for _ in range(100):
        actions = plan(workloads, held(etcd), span=RANGE, random=SystemRandom()).actions
        if not actions:
            return
        for action in actions:
            write(client, action)
    pytest.fail("there is still something to do")


def test_hosts_that_choose_at_once_agree(tmp_path: Path) -> None:
    with serving(tmp_path / "etcd") as etcd:
        workloads = [put_manifest(etcd, f"web-{number}") for number in range(14)]
        start = threading.Barrier(4)

        def host(_number: int) -> None:
            start.wait(60)
            keep(etcd, workloads)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(host, range(4)))
        given = {each.name: each.address for each in held(etcd) if each.address}
        assert sorted(given.values()) == list(RANGE.hosts())
        index = {address_key(address): name for name, address in given.items()}
        assert etcd.get("/bedplate/service-addresses/") == index


def test_an_address_is_kept_moved_and_freed(tmp_path: Path) -> None:
    with serving(tmp_path / "etcd") as etcd:
        client = Client(etcd.access())
        workload = put_manifest(etcd, "web")
        keep(etcd, [workload])
        first = held(etcd)
        keep(etcd, [workload])
        assert held(etcd) == first
        wish, other, *_ = (each for each in RANGE.hosts() if each != first[0].address)
        newer = put_manifest(etcd, "web", wish)
        keep(etcd, [newer])
        (moved,) = held(etcd)
        assert moved.address == wish
        # Who knows an older manifest only, or an older address, changes nothing.
        for stale in (
            Free(moved, workload.revision),
            Free(moved, 0),
            Free(first[0], newer.revision),
            Take("web", workload.revision, other, moved),
            Take("web", newer.revision, other, first[0]),
        ):
            assert not write(client, stale), stale
        client.delete("/bedplate/pods/web")
        keep(etcd, [])
        assert etcd.get("/bedplate/service") == {}
