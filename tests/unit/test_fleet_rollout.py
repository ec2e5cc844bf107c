"""How far workloads are: those with slots, and those that are on their hosts."""

from dataclasses import replace

from builder.fleet.rollout import State, state_of, told
from fleet_kit import FleetEtcd, digest, running, waiting, web
from podagent.cluster.records import RolloutRecord, encode, manifest_key, rollout_key
from podagent.cluster.rollout import Progress
from pods_manifests import daemon_set, pod

OLD, NEW = digest(web()), digest(web(image="r/web:2"))
ON_HOSTS = digest(daemon_set())


def fleet(*hosts: str) -> FleetEtcd:
    etcd = FleetEtcd()
    for host in hosts:
        etcd.add_host(host)
    return etcd


def state(etcd: FleetEtcd, name: str = "web") -> State:
    view = etcd.view()
    return state_of(view, view.workloads[name])


def test_a_deployment_is_complete_when_all_replicas_are_up() -> None:
    etcd = fleet("h1", "h2")
    etcd.apply(web(2))
    assert state(etcd).progress is Progress.PROGRESSING
    assert "web-0 is not claimed yet" in state(etcd).why
    etcd.up("h1", "web", 0, OLD)
    etcd.up("h2", "web", 1, OLD)
    assert state(etcd) == State("web", Progress.COMPLETE, 2, 2, 2, 2, "")
    assert told(state(etcd)) == "web: 2 of 2 updated, 2 ready, complete"


def test_a_change_progresses_and_halts() -> None:
    etcd = fleet("h1", "h2")
    etcd.apply(web(2))
    etcd.up("h1", "web", 0, OLD)
    etcd.up("h2", "web", 1, OLD)
    etcd.apply(web(2, "r/web:2"))
    etcd.hold("h1", "web", 0, NEW)
    found = state(etcd)
    assert (found.progress, found.updated, found.ready) == (Progress.PROGRESSING, 1, 2)
    etcd.report("h1", "web", replace(waiting(NEW, 0), stuck="CrashLoopBackOff"))
    etcd.put(rollout_key("web"), encode(RolloutRecord(NEW, "web-0 on h1: CrashLoopBackOff")))
    found = state(etcd)
    assert (found.progress, found.updated, found.ready) == (Progress.HALTED, 1, 1)
    assert "put another manifest" in told(found)


def test_a_refused_manifest_is_told_in_one_line() -> None:
    etcd = fleet("h1")
    etcd.put(manifest_key("web"), b"a: 1\nkind: Pod\nmetadata: {name: web}\nspec: 2\n")
    line = told(state(etcd))
    assert state(etcd).progress is Progress.REFUSED
    assert "/bedplate/pods/web:1:1" in line
    assert "spec: found a whole number" in line
    assert "\n" not in line


def test_what_a_host_says_is_told_without_what_a_terminal_obeys() -> None:
    etcd = fleet("h1", "h2")
    etcd.apply(daemon_set())
    etcd.report("h1", "web", waiting(ON_HOSTS, error="a\x1b[2Jb\x9b\udcff\nc"))
    assert state(etcd).why == "on h1: a?[2Jb??; c; h2 has not reported it yet"
    etcd.apply(web(1))
    etcd.hold("h1", "web", 0, OLD)
    etcd.report("h1", "web", waiting(OLD, 0, error="a\x1b[2J"))
    assert state(etcd).why == "web-0 on h1 is not up: a?[2J"


def test_a_daemon_set_is_complete_when_it_is_ready_on_all_of_its_hosts() -> None:
    etcd = fleet("h1", "h2")
    etcd.apply(daemon_set())
    assert state(etcd).why == "h1 has not reported it yet; h2 has not reported it yet"
    etcd.report("h1", "web", running(ON_HOSTS))
    etcd.report("h2", "web", waiting(ON_HOSTS, error="ErrImagePull: no route"))
    assert state(etcd) == State(
        "web", Progress.PROGRESSING, 2, 2, 2, 1, "on h2: ErrImagePull: no route"
    )
    etcd.report("h2", "web", running("an older one"))
    assert (state(etcd).progress, state(etcd).updated) == (Progress.PROGRESSING, 1)
    assert state(etcd).why == "h2 runs another manifest, the former one or its own"
    etcd.report("h2", "web", running(ON_HOSTS))
    assert state(etcd) == State("web", Progress.COMPLETE, 2, 2, 2, 2, "")


def test_a_daemon_set_is_for_hosts_with_its_labels_only() -> None:
    etcd = fleet("h1")
    tree = daemon_set()
    tree["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    etcd.apply(tree)
    assert (state(etcd).progress, state(etcd).replicas) == (Progress.COMPLETE, 0)
    assert state(etcd).why == "no host has the labels that it asks for"
    etcd.add_host("h2", labels={"disk": "ssd"})
    assert (state(etcd).progress, state(etcd).replicas) == (Progress.PROGRESSING, 1)


def test_a_replica_is_not_taken_for_the_pod_of_a_daemon_set() -> None:
    etcd = fleet("h1")
    etcd.apply(daemon_set() | {"metadata": {"name": "web-0"}})
    etcd.report("h1", "web", running(ON_HOSTS, slot=0))
    assert state(etcd, "web-0").held == 0


def test_a_manifest_that_is_refused_after_a_good_one_is_told() -> None:
    etcd = fleet("h1")
    etcd.apply(daemon_set())
    etcd.report("h1", "web", running(ON_HOSTS))
    view = etcd.view()
    etcd.put(manifest_key("web"), b"kind: Job\n")
    view.changed(etcd.log[-1])
    found = state_of(view, view.workloads["web"])
    assert (found.progress, found.ready) == (Progress.REFUSED, 1)


def test_a_pod_waits_for_the_host_that_it_names() -> None:
    etcd = fleet("h1")
    etcd.apply(pod(nodeName="h2"))
    found = state(etcd)
    assert (found.progress, found.replicas, found.held) == (Progress.PROGRESSING, 1, 0)
    assert found.why == "the host h2 is not there"


def test_a_pod_that_has_done_its_work_is_complete() -> None:
    etcd = fleet("h1")
    etcd.apply(pod(restartPolicy="Never"))
    run = digest(pod(restartPolicy="Never"))
    etcd.hold("h1", "web", 0, run)
    etcd.report("h1", "web", waiting(run, 0, phase="Running"))
    assert state(etcd).progress is Progress.PROGRESSING
    etcd.report("h1", "web", waiting(run, 0, phase="Succeeded"))
    assert state(etcd).progress is Progress.COMPLETE
    etcd.apply(pod(restartPolicy="Never", hostname="other"))
    assert state(etcd).progress is Progress.PROGRESSING


def test_hosts_that_are_waited_for_are_not_all_named() -> None:
    etcd = fleet(*(f"h{number}" for number in range(9)))
    etcd.apply(daemon_set())
    assert state(etcd).why.endswith("h2 has not reported it yet; and 6 more")
