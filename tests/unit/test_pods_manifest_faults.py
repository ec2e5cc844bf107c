"""Manifests that are wrong: every fault, each with its place and its field's path."""

import json
from pathlib import Path

import pytest
import yaml

from podagent.manifest import ManifestError, parse
from pods_manifests import (
    FILE,
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
from updater.errors import InputError


def faults(*documents: Tree, of_host: bool = False) -> list[str]:
    """What is wrong, without the places."""
    with pytest.raises(ManifestError) as caught:
        read(*documents, of_host=of_host)
    return [problem.message for problem in caught.value.problems]


def fault(*documents: Tree, of_host: bool = False) -> str:
    (found,) = faults(*documents, of_host=of_host)
    return found


BROKEN = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replica: 3
  selector: {matchLabels: {ap: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        imgae: a:1
        tty: true
        env: [{name: A, value: 1.10}, {name: B, valueFrom: {secretKeyRef: {name: sek, key: k}}}]
        readinessProbe: {httpGet: {port: htp}}
        ports: [{name: http, containerPort: 80}]
        volumeMounts: [{name: v, mountPath: /v}]
---
apiVersion: v1
kind: Secret
metadata: {name: sec}
data: {k: "no base64"}
---
kind: Service
"""


def test_every_fault_is_told_at_once_in_the_order_of_the_text() -> None:
    with pytest.raises(InputError) as caught:
        parse(BROKEN.encode(), FILE)
    app = "spec.template.spec.containers[0]"
    assert (
        str(caught.value)
        == f"""\
web.yaml:5:3: spec.replica: unknown key 'replica'; did you mean 'replicas'?
web.yaml:6:32: spec.selector.matchLabels.ap: the workload's pods have no such label;\
 did you mean 'app'?
web.yaml:12:9: {app}.imgae: unknown key 'imgae'; did you mean 'image'?
web.yaml:13:9: {app}.tty: 'tty' is not supported: no one can log in to it; take it out
web.yaml:14:32: {app}.env[0].value: found a number; quote it to make it a text
web.yaml:14:82: {app}.env[1].valueFrom.secretKeyRef.name: no Secret 'sek' in this manifest;\
 did you mean 'sec'?
web.yaml:15:42: {app}.readinessProbe.httpGet.port: no port 'htp' in ports; did you mean 'http'?
web.yaml:17:31: {app}.volumeMounts[0].name: no volume 'v' in volumes
web.yaml:22:11: data.k: this is not base64; a Secret's stringData takes plain text
web.yaml:24:1: missing: apiVersion, metadata, spec"""
    )


def test_yaml_that_is_none_has_its_place() -> None:
    with pytest.raises(ManifestError, match=r"^a:3:1: not YAML"):
        parse(b"kind: Pod\nspec: [", Path("a"))
    with pytest.raises(ManifestError, match=r"^a:1:1: longer than the 1048576 bytes"):
        parse(b" " * ((1 << 20) + 1), Path("a"))
    with pytest.raises(ManifestError, match=r"^a:1:2: not UTF-8"):
        parse(b"a\xff", Path("a"))


def test_an_anchor_holds_within_its_document() -> None:
    text = f"a: &x {json.dumps(pod())}\n---\n*x\n"
    with pytest.raises(ManifestError, match="an alias without an anchor before it"):
        parse(text.encode(), Path("a"))


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "a manifest declares a Pod, a Deployment or a DaemonSet; there is none"),
        ([config_map()], "a manifest declares a Pod, a Deployment or a DaemonSet; there is none"),
        ([pod(), daemon_set()], "a manifest has a Pod, a Deployment or a DaemonSet once"),
        ([pod(), service(), service()], "a manifest has a Service once"),
        ([pod(), config_map(), config_map()], "a second ConfigMap 'settings'"),
        ([pod(), pod() | {"kind": "Job"}], "kind: Job is not supported: use a Pod with"),
        ([pod(), pod() | {"kind": "Pot"}], "'Pot' is not supported; supported are Pod, "),
        ([pod() | {"apiVersion": "v2"}], "apiVersion: 'v2' is not supported: it is v1"),
        ([deployment() | {"apiVersion": "v1"}], "apiVersion: 'v1' is not supported: it is apps/v1"),
        ([deployment(pod(nodeName="a"))], "spec.nodeName: only a Pod has it; use nodeSelector"),
        ([deployment(pod(restartPolicy="Never"))], "the pods of a Deployment restart Always"),
        ([deployment(replicas=-1)], "spec.replicas: '-1' is not a whole number from 0 to 1000"),
        ([deployment(replicas="3")], "spec.replicas: '3' is not a whole number from 0 to 1000"),
        ([deployment(selector={"matchLabels": {}})], "it names no label of the template's"),
        ([deployment(selector={"matchLabels": {"app": "x"}})], "the workload's pods have 'web'"),
        ([deployment(strategy={"type": "Recreate"})], "use rollingUpdate.maxUnavailable: 100%"),
        (
            [deployment(strategy={"rollingUpdate": {"maxUnavailable": 0}})],
            "'0' is not a whole number from 1, or a percentage such as 25%",
        ),
        ([deployment(strategy={"rollingUpdate": {"maxSurge": "25%"}})], "there are never more"),
        ([pod(), service(selector={"app": "x"})], "the workload's pods have 'web' here"),
        ([pod(), service(selector={})], "selector is empty"),
        ([pod(), service(ports=[])], "ports is missing; only a Service with clusterIP: None"),
        ([pod(), service(ports=[{"port": 80, "targetPort": "http"}])], "no port 'http' in ports"),
        ([pod(), service(ports=[{"port": 80}, {"port": 81}])], "needs a name of its own"),
        ([pod(), service(type="NodePort")], "spec.type: 'NodePort' is not supported: use Cluster"),
        ([pod(), service(clusterIP="10.1")], "spec.clusterIP: '10.1' is not an address, or None"),
        ([pod(), config_map(data={"a": "b"}, binaryData={"a": "Yg=="})], "a stands in data and"),
        ([pod(), config_map(data={"../a": "b"})], "data.['../a']: '../a' is no key here"),
    ],
)
def test_what_is_no_workload_is_refused(documents: list[Tree], message: str) -> None:
    assert message in fault(*documents)


def mounted(**fields: object) -> Tree:
    mount = {"name": "v", "mountPath": "/v"} | fields
    volume = {"name": "v", "emptyDir": {}}
    return pod(containers=[container(volumeMounts=[mount])], volumes=[volume])


def twice_mounted() -> Tree:
    mounts = [{"name": "v", "mountPath": "/v"}] * 2
    volume = {"name": "v", "emptyDir": {}}
    return pod(containers=[container(volumeMounts=mounts)], volumes=[volume])


def with_env(**fields: object) -> Tree:
    return pod(containers=[container(env=[{"name": "A"} | fields])])


def with_probe(**fields: object) -> Tree:
    return pod(containers=[container(livenessProbe=fields)])


def with_volume(**fields: object) -> Tree:
    return pod(volumes=[{"name": "v"} | fields])


def with_security(**fields: object) -> Tree:
    return pod(containers=[container(securityContext=fields)])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (pod(containers=[]), "spec: containers is empty; a pod has one at least"),
        (pod(containers=[container(), container()]), "'app' stands twice in this list"),
        (pod(initContainers=[container()]), "an init container has this name"),
        (pod(containers=[container(restartPolicy="Always")]), "it is the pod's; only a sidecar"),
        (pod(initContainers=[container(name="a", restartPolicy="Never")]), "the pod's holds"),
        (
            pod(initContainers=[container(name="a", livenessProbe={"tcpSocket": {"port": 1}})]),
            "initContainers[0]: a probe needs restartPolicy: Always",
        ),
        (pod(containers=[container(image="a b")]), "'a b' is not an image"),
        (pod(containers=[container(lifecycle={"stopSignal": "SIGINT"})]), "podman runs no hooks"),
        (pod(imagePullSecrets=[{"name": "a"}]), "bedplate.registries of its cloud-config"),
        (pod(affinity={"nodeAffinity": {}}), "'affinity' is not supported: use nodeSelector"),
        (pod(automountServiceAccountToken=True), "no pod gets a token here"),
        (pod(hostPid=True), "unknown key 'hostPid'; did you mean 'hostPID'?"),
        (pod(restartPolicy="always"), "did you mean 'Always'?"),
        (pod(terminationGracePeriodSeconds=-1), "'-1' is not a whole number from 0 to 86400"),
        (pod(hostname="Web_1"), "'Web_1' is not a name such as web-1"),
        (pod(dnsPolicy="Default"), "'Default' is not one of ClusterFirst"),
        (pod(dnsPolicy="None"), "spec.dnsPolicy: it needs dnsConfig.nameservers"),
        (pod(dnsConfig={"nameservers": ["10.0.0.1"]}), "say dnsPolicy: None"),
        (pod(dnsConfig={"searches": ["a"]}, hostNetwork=True), "spec.dnsConfig: podman leaves a"),
        (pod(hostAliases=[{"ip": "fe80::1%eth0", "hostnames": ["a"]}]), "is not an address"),
        (pod(securityContext={"fsGroup": 1}), "podman does not change owners"),
        (pod(securityContext={"runAsGroup": 1}), "runAsGroup: it needs runAsUser"),
        (pod(securityContext={"runAsNonRoot": True}), "it needs a runAsUser other than 0"),
        (with_security(runAsNonRoot=True, runAsUser=0), "it needs a runAsUser other than 0"),
        (with_security(seLinuxOptions={"level": "s0"}), "this host has no SELinux"),
        (with_security(seccompProfile={"type": "Unconfined"}), "podman's own filter is always on"),
        (with_security(capabilities={"add": ["net_admin"]}), "'net_admin' is not a capability"),
        (with_env(value=True), "found the boolean true; expected a text"),
        (with_env(value="a", valueFrom={"fieldRef": {"fieldPath": "metadata.name"}}), "exclude"),
        (with_env(valueFrom={}), "expected one of configMapKeyRef, secretKeyRef and fieldRef"),
        (with_env(valueFrom={"fieldRef": {"fieldPath": "status.podIP"}}), "which are what is"),
        (with_env(valueFrom={"resourceFieldRef": {"resource": "a"}}), "write the value out"),
        (with_env(name="A=B"), "'A=B' is not a variable's name"),
        (with_probe(grpc={"port": 1}), "use httpGet, tcpSocket or exec"),
        (with_probe(periodSeconds=1), "expected one of exec, httpGet and tcpSocket"),
        (with_probe(exec={"command": []}), "exec.command is empty"),
        (with_probe(tcpSocket={"port": 1}, successThreshold=2), "successThreshold must be 1 here"),
        (with_probe(tcpSocket={"port": 0}), "'0' is not a whole number from 1 to 65535"),
        (with_probe(httpGet={"port": 1, "path": "x"}), "'x' is not a path that begins with /"),
        (mounted(mountPath="v"), "'v' is not an absolute path"),
        (mounted(mountPath="/v:ro"), "'/v:ro' is not an absolute path without `..` and `:`"),
        (mounted(subPath="../a"), "'../a' is not a path within the volume"),
        (mounted(subPathExpr="a"), "write it out in subPath"),
        (twice_mounted(), "two volumes are mounted at '/v'"),
        (with_env(value="\n a"), "this is not a text that podman takes"),
        (pod(containers=[container(args=["\n"])]), "is not a text that podman takes"),
        (pod(containers=[{"name": "a", "tty": True}]), "containers[0]: missing: image"),
        (mounted(name="w"), "no volume 'w' in volumes"),
        (with_volume(), "expected one of hostPath, emptyDir, configMap, secret, persistent"),
        (with_volume(emptyDir={}, hostPath={"path": "/a"}), "expected one of hostPath"),
        (with_volume(emptyDir={"sizeLimit": "1Gi"}), "podman does not limit it"),
        (with_volume(hostPath={"path": "/a/../b"}), "'/a/../b' is not an absolute path"),
        (with_volume(nfs={"server": "a", "path": "/"}), "mount it on the host (coreos.units)"),
        (with_volume(configMap={"name": "a"}), "no ConfigMap 'a' in this manifest"),
        (with_volume(secret={"secretName": "a", "defaultMode": 512}), "'512' is not permissions"),
        (with_volume(persistentVolumeClaim={"claimName": "a.b"}), "'a.b' is not a name"),
    ],
)
def test_what_podman_would_not_do_is_refused(document: Tree, message: str) -> None:
    assert message in "\n".join(faults(document))


@pytest.mark.parametrize(
    ("port", "message"),
    [
        ({"name": "a", "containerPort": 2}, "two ports are named 'a'"),
        ({"containerPort": 2, "hostPort": 80}, "two ports ask for the host's port 80"),
        ({"containerPort": 2, "hostIP": "10.0.0.1"}, "hostIP without hostPort"),
    ],
)
def test_ports_of_a_pod_are_unlike(port: Tree, message: str) -> None:
    first = {"name": "a", "containerPort": 1, "hostPort": 80}
    containers = [container(ports=[first]), container(name="other", ports=[port])]
    assert message in fault(pod(containers=containers))


def test_the_hosts_network_has_one_number_for_a_port() -> None:
    given = container(ports=[{"containerPort": 1, "hostPort": 2}])
    assert "are the same with hostNetwork" in fault(pod(containers=[given], hostNetwork=True))


def test_what_the_pod_says_a_container_may_not_undo() -> None:
    given = container(securityContext={"runAsUser": 0})
    context = {"runAsUser": 5, "runAsNonRoot": True}
    message = fault(pod(containers=[given], securityContext=context))
    assert "it runs as 0, which the pod's runAsNonRoot forbids" in message


def test_a_request_is_within_its_limit() -> None:
    amounts = {"limits": {"memory": "1Gi"}, "requests": {"memory": "1025Mi"}}
    given = pod(containers=[container(resources=amounts)])
    assert "requests.memory is more than limits.memory" in fault(given)


def test_keys_that_are_referred_to_are_there() -> None:
    reference = {"secretKeyRef": {"name": "keys", "key": "wrd"}}
    given = with_env(valueFrom=reference)
    assert "'wrd' is no key of the Secret 'keys'; did you mean 'word'?" in fault(
        given, secret(stringData={"word": "a"})
    )
    bytes_of = secret(data={"wrd": "/w=="})
    assert "'wrd' is no text for a variable in the Secret 'keys'" in fault(given, bytes_of)
    nul = secret(data={"wrd": "YQBi"})
    assert "'wrd' is no text for a variable" in fault(given, nul)
    whole = pod(containers=[container(envFrom=[{"secretRef": {"name": "keys"}}])])
    assert "no texts that podman takes as variables: wrd" in fault(whole, bytes_of)
    volume = {"configMap": {"name": "settings", "items": [{"key": "a", "path": "x"}]}}
    assert "'a' is no key of the ConfigMap 'settings'" in fault(with_volume(**volume), config_map())


def test_a_variable_cannot_hold_what_only_podman_knows() -> None:
    env = [
        {"name": "ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "A", "value": "x-$(ID)"},
    ]
    given = pod(containers=[container(env=env)])
    assert "$(ID) is metadata.uid, which a value cannot hold" in fault(given)


def test_texts_that_podman_would_change_are_refused_wherever_they_come_from() -> None:
    """Seen with podman 5.4.2: " a\\nb" is an error, and "\\n" becomes nothing."""
    data = {"a": " x\ny"}
    whole = pod(containers=[container(envFrom=[{"configMapRef": {"name": "settings"}}])])
    assert "no texts that podman takes as variables: a" in fault(whole, config_map(data=data))
    env = [{"name": "A", "value": " "}, {"name": "B", "value": "$(A)x\ny"}]
    message = fault(deployment(pod(containers=[container(env=env)])))
    assert message.startswith("spec.template.spec.containers[0].env: the value of 'B' becomes")
    volume = with_volume(configMap={"name": "settings"})
    assert read(volume, config_map(data=data))


@pytest.mark.parametrize("name", ["io.podman.annotations.autoremove/app", "run.oci.hooks", "a b"])
def test_annotations_that_podman_acts_upon_are_refused(name: str) -> None:
    given = changed(pod(), lambda tree: tree["metadata"].update(annotations={name: "x"}))
    assert f"'{name}' is no key here" in fault(given)


def test_our_labels_are_ours() -> None:
    labels = {"org.bedplate.pod": "x"}
    given = changed(pod(), lambda tree: tree["metadata"].update(labels=labels))
    assert "'org.bedplate.pod' is no key here" in fault(given)


def test_the_hosts_own_files_hold_pods_for_it() -> None:
    here = "a pod of the host's own files is for this host; put others into etcd"
    given = pod(nodeName="a", nodeSelector={"a": "b"})
    assert faults(given, of_host=True) == [f"spec.nodeName: {here}", f"spec.nodeSelector: {here}"]
    assert "hold Pods; put a Deployment into etcd" in fault(deployment(), of_host=True)
    assert "hold Pods; put a Service into etcd" in fault(pod(), service(), of_host=True)


def test_no_message_shows_a_secret() -> None:
    given = yaml.safe_dump(secret(data={"a": "geheim!"}, stringData={"b": ["geheim"]}))
    with pytest.raises(ManifestError) as caught:
        parse(f"{given}---\n{yaml.safe_dump(pod())}".encode(), FILE)
    assert "geheim" not in str(caught.value)
    assert len(caught.value.problems) == 2
