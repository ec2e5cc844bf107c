"""Pods that know services: the real podman, aardvark-dns and nft."""

import json
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from pods import FOREVER, SERVER, instance, pod_of

from aardvark import answering_names
from network import Namespace, run
from podagent.actions import Play
from podagent.podman import Podman
from podagent.services import balance, names
from podagent.services.apply import bring
from podagent.services.desired import desire
from podagent.services.names import DOMAIN, LISTEN
from podagent.services.records import Held

STABLE = IPv4Address("10.96.0.7")


class Here(Namespace):
    """The lab's own namespace, in which podman is."""

    def argv(self, command: Sequence[str]) -> list[str]:
        return list(command)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Path]:
    """Where names are put that aardvark-dns answers, on a device of their own."""
    # On hosts it is a dummy; not every kernel that tests run on has those.
    run(["ip", "link", "add", "bedplate0", "type", "bridge"])
    run(["ip", "address", "add", f"{LISTEN}/32", "dev", "bedplate0"])
    run(["ip", "link", "set", "bedplate0", "up"])
    # As hosts have it (docs/adr/0049); there is none where bridges pass no rules of IP.
    filtered = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if filtered.exists():
        filtered.write_text("0")
    names.put(tmp_path / "names", f"{LISTEN}\n")
    with answering_names(Here(""), tmp_path / "names"):
        yield tmp_path
    balance.put("", tmp_path / "services.nft")
    run(["ip", "link", "delete", "bedplate0"])


def resolver(podman: Podman, **spec: object) -> list[str]:
    """What a pod has in /etc/resolv.conf."""
    podman.apply(Play(instance("asking", {"main": FOREVER}, spec=spec)))
    return run(["podman", "exec", "asking-main", "cat", "/etc/resolv.conf"]).splitlines()


def test_a_pod_reaches_a_ready_replica_by_its_services_name(podman: Podman, runtime: Path) -> None:
    podman.services = True
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": 80}]},
    }
    web = instance("web", {"main": SERVER}, slot=0, more=[json.dumps(service)])
    podman.apply(Play(web))
    podman.apply(Play(instance("asking", {"main": FOREVER})))
    (address,) = pod_of(podman, "web-0").addresses
    ready = {"web": (ip_address(address),)}
    bring(desire([web.manifest], [Held("web", STABLE, 1)], ready, host="h1"), None, runtime)
    for pod in ("asking", "web-0"):
        for name in ("web", "front", f"web.{DOMAIN}", str(STABLE)):
            got = run(["podman", "exec", f"{pod}-main", "wget", "-qO-", f"http://{name}:8080/"])
            assert got == "served\n", (pod, name)


def test_a_pod_asks_for_services_first(podman: Podman) -> None:
    podman.services = True
    own = {"searches": ["a.example"], "options": [{"name": "ndots", "value": "2"}]}
    assert resolver(podman, dnsConfig=own) == [
        f"search {DOMAIN} a.example",
        f"nameserver {LISTEN}",
        "options ndots:2",
    ]


@pytest.mark.parametrize("services", [False, True])
def test_a_pod_with_servers_of_its_own_asks_them(podman: Podman, *, services: bool) -> None:
    podman.services = services
    own = {"nameservers": ["192.0.2.1"], "searches": ["a.example"]}
    found = resolver(podman, dnsPolicy="None", dnsConfig=own)
    assert found == ["search a.example", "nameserver 192.0.2.1"]


@pytest.mark.parametrize(
    ("services", "spec"),
    [(False, {}), (True, {"hostNetwork": True})],
)
def test_other_pods_have_the_hosts_resolver(
    podman: Podman, spec: Mapping[str, object], *, services: bool
) -> None:
    podman.services = services
    assert not any(str(LISTEN) in line or DOMAIN in line for line in resolver(podman, **spec))
