"""Manifests: what is read, and what podman gets."""

import base64
import json
from pathlib import Path

import pytest
import yaml

from hostkit.document.schema import Reading, Wrong
from hostkit.document.source import Place, Scalar, scalar_kind
from podagent.manifest import parse, render
from podagent.manifest.kinds import BYTES, MILLICORES, Quantity, Share
from podagent.types import (
    Container,
    Exec,
    Http,
    Kind,
    Manifest,
    PodSpec,
    Probe,
    PullPolicy,
    RestartPolicy,
    Service,
    ServicePort,
    Tcp,
)
from pods_manifests import (
    Tree,
    changed,
    config_map,
    container,
    daemon_set,
    deployment,
    pod,
    read,
    secret,
    service,
)


def played(manifest: Manifest, instance: str = "web-2") -> tuple[Tree, dict[str, Tree]]:
    """The Pod that podman gets, and its ConfigMaps by name."""
    *maps, found = yaml.safe_load_all(render(manifest, instance))
    assert {each["kind"] for each in maps} <= {"ConfigMap"}
    return found, {each["metadata"]["name"]: each for each in maps}


def environment(*documents: Tree, instance: str = "web-2") -> dict[str, str]:
    found, _ = played(read(*documents), instance)
    variables = found["spec"]["containers"][0]["env"]
    values = {each["name"]: each.get("value", "") for each in variables}
    assert len(values) == len(variables)
    return values


def test_a_pod_is_one_replica_with_kubernetes_defaults() -> None:
    manifest = read(pod())
    digest = manifest.digest
    app = Container("app", "registry.example/web:1", PullPolicy.IF_NOT_PRESENT, None, None, None)
    spec = PodSpec({"app": "web"}, (), (app,), RestartPolicy.ALWAYS, 30.0, host_network=False)
    documents = manifest.documents
    assert manifest == Manifest(
        "web", Kind.POD, 1, 1, None, {}, spec, None, digest, documents=documents
    )


def test_a_pod_of_the_host_or_for_one_has_no_slots() -> None:
    assert read(pod(), of_host=True).replicas is None
    named = read(pod(nodeName="host-1.example"))
    assert (named.replicas, named.node) == (None, "host-1.example")


@pytest.mark.parametrize(
    ("share", "expected"),
    [(None, 2), ("25%", 2), (3, 3), ("100%", 10), ("9%", 1), ("3", 3)],
)
def test_a_deployment_has_replicas_and_changes_step_by_step(
    share: int | str | None, expected: int
) -> None:
    rolling = {} if share is None else {"maxUnavailable": share, "maxSurge": 0}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    found = read(deployment(pod(nodeSelector={"disk": "fast"}), replicas=10, strategy=strategy))
    assert (found.kind, found.replicas, found.selector) == (Kind.DEPLOYMENT, 10, {"disk": "fast"})
    assert found.max_unavailable == expected


def test_one_at_least_may_be_down() -> None:
    assert Share(25, percent=True).of(0) == 1
    assert read(deployment(replicas=0)).max_unavailable == 1


def test_a_daemon_set_is_everywhere() -> None:
    found = read(daemon_set())
    assert (found.kind, found.replicas, found.max_unavailable) == (Kind.DAEMON_SET, None, 1)


def test_probes_have_numbers_for_ports_and_defaults() -> None:
    probed = container(
        ports=[{"name": "http", "containerPort": 8080}],
        startupProbe={"exec": {"command": ["/x", "y"]}, "failureThreshold": 30},
        livenessProbe={"tcpSocket": {"port": 9}, "initialDelaySeconds": 5, "timeoutSeconds": 2},
        readinessProbe={
            "httpGet": {
                "port": "http",
                "path": "/ready?a=b",
                "scheme": "HTTPS",
                "host": "web.example",
                "httpHeaders": [{"name": "X-A", "value": "b"}],
            },
            "periodSeconds": 3,
            "successThreshold": 2,
        },
    )
    (found,) = read(pod(containers=[probed])).pod.containers
    assert found.startup == Probe(Exec(("/x", "y")), 0.0, 10.0, 1.0, 1, 30)
    assert found.liveness == Probe(Tcp(9, None), 5.0, 10.0, 2.0, 1, 3)
    ask = Http("/ready?a=b", 8080, "https", "web.example", (("X-A", "b"),))
    assert found.readiness == Probe(ask, 0.0, 3.0, 1.0, 2, 3)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("nginx", PullPolicy.ALWAYS),
        ("nginx:latest", PullPolicy.ALWAYS),
        ("r.example:5000/nginx", PullPolicy.ALWAYS),
        ("r.example:5000/nginx:1", PullPolicy.IF_NOT_PRESENT),
        ("nginx@sha256:" + "0" * 64, PullPolicy.IF_NOT_PRESENT),
    ],
)
def test_an_image_is_asked_for_by_kubernetes_rule(image: str, expected: PullPolicy) -> None:
    (found,) = read(pod(containers=[container(image=image)])).pod.containers
    assert found.pull is expected
    (said,) = read(pod(containers=[container(image=image, imagePullPolicy="Never")])).pod.containers
    assert said.pull is PullPolicy.NEVER


def test_a_service_has_numbers_for_ports() -> None:
    serving = pod(containers=[container(ports=[{"name": "http", "containerPort": 8080}])])
    ports = [
        {"name": "web", "port": 80, "targetPort": "http"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    found = read(service(ports=ports, clusterIP="10.1.2.3"), deployment(serving)).service
    expected = (ServicePort("web", "tcp", 80, 8080), ServicePort("dns", "udp", 53, 53))
    assert found == Service("front", "10.1.2.3", expected)


def test_a_headless_service_is_only_a_name() -> None:
    found = read(deployment(), service(clusterIP="None")).service
    assert found == Service("front", None, ())


def test_what_says_nothing_is_no_fault() -> None:
    tools = deployment() | {"status": {}}
    tools["metadata"] |= {"creationTimestamp": None, "namespace": "default"}
    tools["spec"]["strategy"] = {}
    inner = tools["spec"]["template"]["spec"]
    inner |= {"volumes": None, "automountServiceAccountToken": False, "enableServiceLinks": False}
    inner["containers"][0] |= {"resources": {}, "args": None, "tty": None}
    inner["securityContext"] = {"seccompProfile": {"type": "RuntimeDefault"}}
    assert read(tools).digest == read(deployment()).digest


def test_an_empty_document_is_none() -> None:
    text = f"---\n---\n{json.dumps(pod())}\n---\n# nothing\n"
    assert parse(text.encode(), Path("a")).digest == read(pod()).digest


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (BYTES, "1.5Gi", 3 << 29),
        (BYTES, "128M", 128_000_000),
        (BYTES, "12e3", 12_000),
        (BYTES, "1500m", 2),
        (BYTES, ".5Ki", 512),
        (MILLICORES, "0.5", 500),
        (MILLICORES, "1", 1000),
        (MILLICORES, "250m", 250),
        (MILLICORES, "1u", 1),
        *((BYTES, text, None) for text in ("", "1GiB", "-1", "1 Gi", "0", "1e", "Gi", "9Ei")),
    ],
)
def test_quantities_are_kubernetes(kind: Quantity, text: str, expected: int | None) -> None:
    node = Scalar(Place(Path("a"), 1, 1), scalar_kind(text), text)
    reading = Reading(as_kubernetes=True)
    if expected is None:
        with pytest.raises(Wrong):
            kind.read(node, reading)
    else:
        assert kind.read(node, reading) == expected


def test_podman_gets_a_pod_that_only_runs() -> None:
    probe = {"exec": {"command": ["/x"]}}
    app = container(
        livenessProbe=probe,
        readinessProbe=probe,
        startupProbe=probe,
        imagePullPolicy="Always",
        resources={"limits": {"cpu": "1.5", "memory": "1Gi"}, "requests": {"cpu": "10m"}},
    )
    found, maps = played(read(deployment(pod(containers=[app], initContainers=None))))
    digest = found["metadata"]["labels"].pop("org.bedplate.digest")
    assert len(digest) == 64
    labels = {"app": "web", "org.bedplate.pod": "web-2", "org.bedplate.slot": "2"}
    assert found == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-2", "labels": labels},
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "image": "registry.example/web:1",
                    "imagePullPolicy": "Never",
                    "env": [],
                    "resources": {"limits": {"cpu": "1500m", "memory": 1 << 30}},
                }
            ],
            "hostname": "web-2",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 30,
        },
    }
    assert not maps


def test_podman_gets_what_it_honours_as_it_was_said() -> None:
    fields: Tree = {
        "hostPID": True,
        "hostIPC": True,
        "shareProcessNamespace": True,
        "hostname": "name",
        "terminationGracePeriodSeconds": 0,
        "hostAliases": [{"ip": "fd00::1", "hostnames": ["a.example", "b"]}],
        "dnsConfig": {
            "nameservers": ["10.0.0.1"],
            "searches": ["a.example"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
        },
        "securityContext": {
            "runAsUser": 5,
            "runAsGroup": 6,
            "supplementalGroups": [7, 8],
            "sysctls": [{"name": "net.core.somaxconn", "value": "100"}],
        },
    }
    app: Tree = {
        "command": ["/a", "$(B)"],
        "args": ["-v", "-v", ""],
        "workingDir": "/srv",
        "securityContext": {
            "runAsUser": 0,
            "readOnlyRootFilesystem": True,
            "privileged": True,
            "allowPrivilegeEscalation": False,
            "procMount": "Unmasked",
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        },
    }
    given = pod(**fields, dnsPolicy="None", containers=[container(**app)])
    found, _ = played(read(given, of_host=True), "web")
    assert {name: found["spec"][name] for name in fields} == fields
    assert {name: found["spec"]["containers"][0][name] for name in app} == app
    assert "dnsPolicy" not in found["spec"]
    assert "org.bedplate.slot" not in found["metadata"]["labels"]


def test_init_containers_come_first_and_a_sidecar_has_probes() -> None:
    probe = {"tcpSocket": {"port": "proxy"}}
    ports = [{"name": "proxy", "containerPort": 81}]
    side = container(name="side", restartPolicy="Always", startupProbe=probe, ports=ports)
    given = pod(initContainers=[container(name="first"), side])
    manifest = read(given, service(ports=[{"port": 80, "targetPort": "proxy"}]))
    assert [each.restart_always for each in manifest.pod.init] == [False, True]
    assert manifest.pod.init[1].startup == Probe(Tcp(81, None), 0.0, 10.0, 1.0, 1, 3)
    assert manifest.service == Service("front", None, (ServicePort("", "tcp", 80, 81),))
    found, _ = played(manifest)
    assert [each["name"] for each in found["spec"]["containers"]] == ["first", "side", "app"]
    assert found["spec"].keys().isdisjoint({"initContainers"})
    assert found["spec"]["containers"][1].keys().isdisjoint({"restartPolicy", "startupProbe"})


def test_ports_are_published_but_not_of_the_hosts_network() -> None:
    port = {"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1", "protocol": "UDP"}
    given = container(ports=[port])
    found, _ = played(read(pod(containers=[given])))
    assert found["spec"]["containers"][0]["ports"] == [port]
    found, _ = played(read(pod(containers=[given], hostNetwork=True)))
    assert "ports" not in found["spec"]["containers"][0]
    assert found["spec"]["hostNetwork"] is True


def test_variables_are_kubernetes() -> None:
    """envFrom first, then env in order; `$(X)` is one before, `$$` a dollar."""
    app = container(
        envFrom=[
            {"prefix": "S_", "configMapRef": {"name": "settings"}},
            {"secretRef": {"name": "keys"}},
            {"configMapRef": {"name": "missing", "optional": True}},
        ],
        env=[
            {"name": "EARLY", "value": "$(LATE)"},
            {"name": "LATE", "value": "$(password)/$(S_a)/$$(S_a)/$x$"},
            {"name": "password", "value": "mine"},
            {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
            {
                "name": "NONE",
                "valueFrom": {"secretKeyRef": {"name": "keys", "key": "no", "optional": True}},
            },
            {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['n']"}}},
            {"name": "OF", "value": "$(ME)"},
            {"name": "ID", "value": "first"},
            {"name": "ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        ],
    )
    given = changed(
        pod(containers=[app]), lambda tree: tree["metadata"].update(annotations={"n": "$(ME)"})
    )
    maps = config_map(data={"a": "$$(ME)", "b": "c"})
    keys = secret(data={"password": base64.b64encode(b"p$w").decode()})
    assert environment(maps, keys, given) == {
        "S_a": "$$(ME)",
        "S_b": "c",
        "EARLY": "$(LATE)",
        "LATE": "p$w/$$(ME)/$(S_a)/$x$",
        "password": "mine",
        "MAP": "$$(ME)",
        "KEY": "p$w",
        "ME": "web-2",
        "APP": "web",
        "NOTE": "$(ME)",
        "OF": "web-2",
        "ID": "",
    }


def test_volumes_are_the_instances_own() -> None:
    mounts = [
        {"name": name, "mountPath": f"/{name}"}
        for name in ("conf", "keys", "some", "none", "empty", "mem", "host", "data")
    ]
    volumes = [
        {"name": "conf", "configMap": {"name": "settings", "defaultMode": 0o400}},
        {"name": "keys", "secret": {"secretName": "keys", "items": [{"key": "k", "path": "p"}]}},
        {"name": "some", "configMap": {"name": "empty"}},
        {"name": "none", "secret": {"secretName": "nowhere", "optional": True}},
        {"name": "empty", "emptyDir": {}},
        {"name": "mem", "emptyDir": {"medium": "Memory"}},
        {"name": "host", "hostPath": {"path": "/var/lib/x", "type": "DirectoryOrCreate"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "shared"}},
    ]
    given = pod(containers=[container(volumeMounts=mounts)], volumes=volumes)
    manifest = read(
        given,
        config_map(data={"a": "ä\u2028"}, binaryData={"b": "/w=="}),
        config_map("empty"),
        secret(stringData={"k": "new"}, data={"k": "b2xk", "other": ""}),
    )
    found, maps = played(manifest)
    prefix = f"web-2.{manifest.digest[:12]}."
    a = base64.b64encode("ä\u2028".encode()).decode()
    assert {name.removeprefix(prefix): each["binaryData"] for name, each in maps.items()} == {
        "conf": {"a": a, "b": "/w=="},
        "keys": {"p": base64.b64encode(b"new").decode()},
        "some": {},
    }
    assert {each.pop("name").removeprefix(prefix): each for each in found["spec"]["volumes"]} == {
        "conf": {"configMap": {"name": f"{prefix}conf", "defaultMode": 0o400}},
        "keys": {"configMap": {"name": f"{prefix}keys", "defaultMode": 0o644}},
        "some": {"configMap": {"name": f"{prefix}some", "defaultMode": 0o644}},
        "empty": {"emptyDir": {}},
        "mem": {"emptyDir": {"medium": "Memory"}},
        "host": {"hostPath": {"path": "/var/lib/x", "type": "DirectoryOrCreate"}},
        "data": {"persistentVolumeClaim": {"claimName": "shared"}},
    }
    seen = found["spec"]["containers"][0]["volumeMounts"]
    read_only = {each["name"].removeprefix(prefix) for each in seen if each.get("readOnly")}
    assert read_only == {"conf", "keys", "some"}
    assert len(seen) == 7


def test_octal_permissions_are_octal() -> None:
    text = json.dumps(pod()) + "\n---\n" + json.dumps(config_map(data={"a": "b"}))
    volume = "volumes: [{name: v, configMap: {name: settings, defaultMode: 0440}}], "
    manifest = parse(text.replace('"containers"', f'{volume}"containers"').encode(), Path("a"))
    assert manifest.documents["spec"]["volumes"][0]["defaultMode"] == 0o440


def test_a_secret_is_in_no_repr() -> None:
    app = container(env=[{"name": "A", "value": "geheim"}])
    manifest = read(pod(containers=[app]), secret(stringData={"a": "geheim"}))
    assert "geheim" not in repr(manifest)
    assert b"geheim" in render(manifest, "web-0")


def test_a_long_name_makes_no_long_hostname() -> None:
    name = "a" * 62 + "b"
    given = changed(pod(), lambda tree: tree["metadata"].update(name=name))
    found, _ = played(read(given), f"{name}-17")
    assert found["spec"]["hostname"] == name
    assert found["metadata"]["labels"]["org.bedplate.slot"] == "17"


DIGESTS: dict[str, Tree] = {
    "plain": pod(),
    "image": pod(containers=[container(image="a:2")]),
    "init": pod(initContainers=[container(name="init")]),
    "arguments": pod(containers=[container(args=["-v", "-v"])]),
    "grace": pod(terminationGracePeriodSeconds=31),
    "restart": pod(restartPolicy="Never"),
    "network": pod(hostNetwork=True),
    "probe": pod(containers=[container(livenessProbe={"tcpSocket": {"port": 1}})]),
    "limit": pod(containers=[container(resources={"limits": {"cpu": 1}})]),
    "labels": changed(pod(), lambda tree: tree["metadata"]["labels"].update(b="c")),
    "notes": changed(pod(), lambda tree: tree["metadata"].update(annotations={"at": "1"})),
}


def test_each_change_of_what_runs_changes_the_digest() -> None:
    digests = {name: read(tree).digest for name, tree in DIGESTS.items()}
    assert len(set(digests.values())) == len(digests)


def test_what_a_pod_refers_to_is_of_its_digest() -> None:
    using = pod(containers=[container(envFrom=[{"secretRef": {"name": "keys"}}])])
    one, other = (read(using, secret(stringData={"a": value})) for value in "xy")
    assert one.digest != other.digest
    assert read(using, secret(data={"a": "eA=="})).digest == one.digest


def test_what_does_not_run_is_of_no_digest() -> None:
    same = [
        read(pod(), service(), config_map(data={"unused": "a"})),
        read(pod(), of_host=True),
        read(pod(nodeName="host")),
        read(pod(nodeSelector={"a": "b"})),
        read(deployment(replicas=7)),
        read(deployment(strategy={"rollingUpdate": {"maxUnavailable": 2}})),
        read(daemon_set()),
        read(pod(dnsPolicy="ClusterFirst", restartPolicy="Always", volumes=[])),
        read(changed(pod(), lambda tree: tree["metadata"].update(name="other"))),
        read(pod(containers=[container(resources={"requests": {"cpu": 1}}, ports=[])])),
    ]
    assert {each.digest for each in same} == {read(pod()).digest}


def test_equal_amounts_are_equal() -> None:
    one, other = (
        read(pod(containers=[container(resources={"limits": {"memory": amount}})]))
        for amount in ("1Gi", "1024Mi")
    )
    assert one.digest == other.digest


OURS = {"nameservers": ["169.254.20.10"], "searches": ["bedplate.internal"]}
OWN = {"nameservers": ["10.0.0.1"], "searches": ["a.example"]}
OPTIONS = [{"name": "ndots", "value": "2"}]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, OURS),
        ({"dnsPolicy": "ClusterFirst"}, OURS),
        ({"dnsPolicy": "ClusterFirstWithHostNet"}, OURS),
        (
            {"dnsConfig": {"searches": ["a.example", "bedplate.internal"], "options": OPTIONS}},
            OURS | {"searches": ["bedplate.internal", "a.example"], "options": OPTIONS},
        ),
        ({"dnsPolicy": "None", "dnsConfig": OWN}, OWN),
        ({"hostNetwork": True}, None),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, None),
    ],
)
def test_a_pod_knows_services_where_there_are_some(spec: Tree, expected: Tree | None) -> None:
    manifest = read(pod(**spec))
    found = yaml.safe_load(render(manifest, "web-0", services=True))
    assert found["spec"].get("dnsConfig") == expected
    without, _ = played(manifest)
    assert without["spec"].get("dnsConfig") == spec.get("dnsConfig")
