"""Agents in a cluster, with the real etcd and podman: what etcd declares runs, and is told."""

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pod_agents import Agent, names, running
from pod_fixtures import BUSYBOX

from etcd_server import Cluster, serving
from hostkit.timing import boottime
from network import Host, laid, run
from podagent import drain
from podagent.places import Places
from podagent.podman import Podman

HOST = "one"
# It does not end when it is asked to: it has to be killed.
STUBBORN = {"terminationGracePeriodSeconds": 600}


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Cluster]:
    with serving(tmp_path / "etcd") as cluster:
        yield cluster


class Member(Agent):
    """An agent in a cluster."""

    def __init__(self, root: Path, etcd: Cluster, host: str = HOST) -> None:
        super().__init__(root, "short_lease")
        self.etcd = etcd
        self.options = ("--host", host)
        for path, text in (
            ("etc/bedplate/cluster.json", json.dumps({"etcd_endpoints": etcd.endpoints[0]})),
            ("etc/bedplate/labels.json", json.dumps({"disk": "ssd"})),
            ("etc/machine-id", f"{host}-is-the-machine\n"),
            ("usr/lib/os-release", "IMAGE_VERSION=1\n"),
        ):
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (root / "run/bedplate/pods/names").mkdir(parents=True)

    def told(self, pod: str) -> dict[str, Any]:
        """What the cluster was told of a pod."""
        found = self.etcd.get(f"/bedplate/status/{HOST}/{pod}")
        return dict(json.loads(next(iter(found.values())))) if found else {}

    def put(self, name: str, command: str, *, replicas: int | None = None, **spec: Any) -> None:  # noqa: ANN401
        """Put a manifest into etcd; without `replicas` it is a DaemonSet."""
        self.etcd.put(f"/bedplate/pods/{name}", manifest(name, command, replicas, spec))

    def delete(self, name: str) -> None:
        self.etcd.members[0].ctl("del", f"/bedplate/pods/{name}")


def manifest(name: str, command: str, replicas: int | None, spec: Mapping[str, Any]) -> str:
    labels = {"app": name}
    container = {"name": "main", "image": "localhost/busybox:1", "command": command.split()}
    body = {"containers": [container], "terminationGracePeriodSeconds": 1, **spec}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet" if replicas is None else "Deployment",
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": body},
                **({} if replicas is None else {"replicas": replicas}),
            },
        }
    )


@pytest.fixture
def member(tmp_path: Path, podman: Podman, etcd: Cluster) -> Iterator[Member]:
    del podman  # it takes away what a test leaves
    made = Member(tmp_path / "root", etcd)
    made.start()
    yield made
    made.end(signal.SIGKILL)


def test_what_etcd_declares_runs_is_told_is_changed_and_goes(member: Member) -> None:
    member.put("web", "sleep 90001")
    member.until(lambda: running("web") == {"web-main": "sleep 90001"}, "it runs")
    member.until(lambda: member.told("web").get("ready"), "it is told")
    member.put("web", "sleep 90002")
    member.until(lambda: running("web") == {"web-main": "sleep 90002"}, "the change")
    member.until(lambda: member.told("web").get("available"), "it is available")
    member.delete("web")
    member.until(lambda: not names(), "its end")
    member.until(lambda: not member.told("web"), "nothing is told of it")


def test_without_etcd_replicas_end_and_the_others_go_on(member: Member) -> None:
    member.declare("own", {"command": ["sleep", "90000"]})
    member.put("fixed", "sleep 90001")
    member.put("web", "sleep 90002", replicas=2, **STUBBORN)
    member.wait("own", "fixed", "web-0", "web-1")
    assert member.status["cluster"]["lease"]
    others = running("own") | running("fixed")
    (etcd,) = member.etcd.members
    etcd.kill()
    member.until(lambda: names() == {"own", "fixed"}, "the end of the replicas")
    assert not member.status["cluster"]["lease"]
    member.end(signal.SIGKILL)
    member.start()
    member.until(lambda: member.status["cluster"]["faults"].get("lease"), "etcd is missed")
    member.until(lambda: member.pod("fixed").get("ready"), "a pod that needs no lease goes on")
    assert running("own") | running("fixed") == others
    etcd.start()
    member.wait("own", "fixed", "web-0", "web-1")
    assert running("own") | running("fixed") == others


def test_a_replica_goes_on_with_its_former_manifest_over_a_restart(member: Member) -> None:
    member.put("web", "sleep 90001", replicas=1)
    member.wait("web-0")
    before = running("web-0")
    (etcd,) = member.etcd.members
    etcd.pause()
    member.end(signal.SIGKILL)
    member.start()
    member.until(lambda: "lease" in member.status["cluster"]["faults"], "etcd is missed")
    assert running("web-0") == before
    run(["podman", "kill", "web-0-main"])
    member.until(lambda: member.pod("web-0").get("restarts"), "it is started again")
    etcd.resume()
    member.wait("web-0")
    assert running("web-0") == before


def test_a_change_that_crashes_is_halted_and_taken_back(member: Member) -> None:
    member.put("web", "sleep 90001", replicas=2)
    member.wait("web-0", "web-1")
    member.until(lambda: member.told("web-0").get("available"), "the first is up")
    member.until(lambda: member.told("web-1").get("available"), "the second is up")
    member.put("web", "false", replicas=2)

    def halted() -> object:
        found = member.etcd.get("/bedplate/rollouts/web")
        return found and json.loads(found["/bedplate/rollouts/web"])["halted"]

    member.until(halted, "it is halted")
    left = running("web-0") | running("web-1")
    assert list(left.values()) == ["sleep 90001"]
    # An agent that comes anew has to know what the other was played from.
    member.end(signal.SIGKILL)
    member.start()
    (pod,) = (name.removesuffix("-main") for name in left)
    member.until(lambda: member.pod(pod).get("ready"), "the other goes on")
    run(["podman", "pod", "rm", "--force", "--time", "0", pod])
    member.until(lambda: running(pod) == left, "it is played again as it was")
    member.put("web", "sleep 90001", replicas=2)
    member.wait("web-0", "web-1")
    assert set((running("web-0") | running("web-1")).values()) == {"sleep 90001"}


def test_a_manifest_that_is_wrong_or_that_has_anothers_name_is_told(member: Member) -> None:
    member.declare("own", {"command": ["sleep", "90000"]})
    member.put("own", "sleep 90001")
    member.put("web-0", "sleep 90002")
    member.put("web", "sleep 90003", replicas=1)
    member.etcd.put("/bedplate/pods/wrong", "kind: Pod\n")
    wanted = {"/bedplate/pods/own", "/bedplate/pods/web", "/bedplate/pods/wrong"}
    member.until(lambda: set(member.status["refused"]) == wanted, "they are refused")
    member.wait("own", "web-0")
    assert running("own") == {"own-main": "sleep 90000"}
    assert running("web-0") == {"web-0-main": "sleep 90002"}
    member.delete("web-0")
    member.until(lambda: running("web-0") == {"web-0-main": "sleep 90003"}, "the replica's turn")


def test_a_drained_host_ends_its_pods_and_gives_its_slots_back(member: Member) -> None:
    member.declare("own", {"command": ["sleep", "90000"]})
    member.put("web", "sleep 90001", replicas=2)
    member.wait("own", "web-0", "web-1")
    now = boottime()
    drain.ask(Places(member.root), drain.Request(now, now + 20))
    member.until(lambda: member.status["draining"] == "done", "the drain")
    assert not names()
    assert not member.etcd.get("/bedplate/slots/")
    record = json.loads(member.etcd.get("/bedplate/hosts/")[f"/bedplate/hosts/{HOST}"])
    assert not record["accepts"]
    drain.cancel(Places(member.root))
    member.wait("own", "web-0", "web-1")
    drain.ask(Places(member.root), drain.Request(boottime(), boottime() + 20))
    member.until(lambda: member.status["draining"] == "done", "the drain")
    member.end(signal.SIGTERM)
    assert not member.etcd.get("/bedplate/hosts/")


def test_an_agent_that_is_killed_20_times_under_change_leaves_what_etcd_declares(
    member: Member,
) -> None:
    chance = random.Random(5)  # noqa: S311 - no secret
    declared: dict[str, tuple[str, int | None]] = {}
    for number in range(20):
        name = chance.choice("abcd")
        if name in declared and chance.random() < 0.3:
            member.delete(name)
            del declared[name]
        else:
            replicas = chance.choice((0, 1, 2)) if name in "cd" else None
            declared[name] = f"sleep {90_000 + number}", replicas
            member.put(name, declared[name][0], replicas=replicas)
        time.sleep(chance.uniform(0, 4))  # the random moment itself: nothing is waited for
        member.end(signal.SIGKILL)
        member.start()
    wanted = {
        pod: {f"{pod}-main": command}
        for name, (command, replicas) in declared.items()
        for pod in ([name] if replicas is None else [f"{name}-{n}" for n in range(replicas)])
    }

    def as_declared() -> bool:
        return names() == set(wanted) and all(running(pod) == wanted[pod] for pod in wanted)

    member.until(as_declared, "what is declared")
    member.wait(*wanted)
    assert as_declared()
    slots = {f"/bedplate/slots/{pod[0]}/{pod[2:]}" for pod in wanted if "-" in pod}
    member.until(lambda: set(member.etcd.get("/bedplate/slots/")) == slots, "slots as declared")


# --- Hosts with a podman each ---------------------------------------------------------------------

_OWN = ("/run", "/var/lib/containers", "/dev/shm")  # noqa: S108 - of a host of its own


@contextmanager
def on_host(member: Member, host: Host, image: Path) -> Iterator[Member]:
    """Give an agent a network and a podman of its own, and start it; all ends with the context."""
    mounts = "; ".join(f"mount -t tmpfs tmpfs {each}" for each in _OWN)
    command = ["unshare", "--mount", "sh", "-ec", f"{mounts}; echo; exec sleep infinity"]
    with subprocess.Popen(host.argv(command), stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        member.inside = ["nsenter", "--target", str(holder.pid), "--mount", "--net"]
        try:
            run([*member.inside, "podman", "load", "--quiet", "--input", str(image)])
            member.start()
            yield member
        finally:
            member.end(signal.SIGKILL)
            for kind in (["pod", "rm"], ["rm"]):
                run([*member.inside, "podman", *kind, "--all", "--force", "--time", "0"])
            holder.kill()


def test_hosts_share_replicas_and_one_takes_over_from_another(
    tmp_path: Path, podman: Podman
) -> None:
    del podman
    image = tmp_path / "busybox.tar"
    run(["podman", "save", "--quiet", "--output", str(image), BUSYBOX])
    with ExitStack() as stack:
        network = stack.enter_context(laid())
        link = network.add_link()
        etcd = stack.enter_context(serving(tmp_path / "etcd", addresses=[str(link.router)]))
        hosts = [network.add_host() for _ in range(2)]
        one, two = (
            stack.enter_context(on_host(Member(tmp_path / host.name, etcd, host.name), host, image))
            for host in hosts
        )
        one.until(lambda: len(etcd.get("/bedplate/hosts/")) == 2, "both have joined")
        one.put("web", "sleep 90001", replicas=4, **STUBBORN)

        def pods(member: Member) -> set[str]:
            return {each["id"] for each in member.status["pods"] if each["ready"]}

        every = {f"web-{number}" for number in range(4)}
        one.until(lambda: pods(one) | pods(two) == every, "all run")
        assert len(pods(one)) == len(pods(two)) == 2
        before = names(two.inside)
        hosts[0].unplug()
        two.until(lambda: names(two.inside) - before, "a replica of the other's")
        assert not any(running(name, one.inside) for name in names(one.inside)), "it runs twice"
        two.wait(*every)
        hosts[0].plug()
        one.until(lambda: one.status["cluster"]["lease"], "it is back")
        assert not names(one.inside)
