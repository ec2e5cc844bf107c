"""Manifests of all shapes: read or refused, rendered alike, and the same pod when read again."""

import copy
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from podagent.manifest import ManifestError, parse, render
from podagent.manifest.kinds import VALUE
from podagent.manifest.render import _yaml
from podagent.types import Manifest
from pods_manifests import FILE, Tree, config_map, container, deployment, pod, secret, service

NAMES = st.from_regex(r"[a-z]([a-z0-9\-]{0,8}[a-z0-9])?", fullmatch=True)
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
TEXTS = ANY.filter(VALUE.matches)
REFERENCES = st.sampled_from(["$(A)", "$$(A)", "$(", "$", "$$", "$(NAME)", "x"])
VALUES = st.lists(REFERENCES | TEXTS, max_size=4).map(lambda parts: "v" + "".join(parts))
PORTS = st.integers(1, 65535)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 70_000) | st.floats() | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=6,
)
FIELD = {"fieldRef": {"fieldPath": "metadata.name"}}
VARIABLES = st.one_of(
    st.fixed_dictionaries({"name": st.sampled_from("ABC"), "value": VALUES}),
    st.just({"name": "NAME", "valueFrom": FIELD}),
    st.just({"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}}),
    st.just({"name": "C", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}),
)
ACTIONS = st.one_of(
    st.fixed_dictionaries({"tcpSocket": st.fixed_dictionaries({"port": PORTS})}),
    st.fixed_dictionaries({"httpGet": st.fixed_dictionaries({"port": PORTS})}),
    st.just({"exec": {"command": ["/x"]}}),
)
VOLUMES: list[Tree] = [
    {"name": "conf", "configMap": {"name": "settings", "defaultMode": 0o440}},
    {"name": "keys", "secret": {"secretName": "keys"}},
    {"name": "empty", "emptyDir": {}},
    {"name": "host", "hostPath": {"path": "/var/x"}},
    {"name": "data", "persistentVolumeClaim": {"claimName": "shared"}},
]
CONTAINERS = st.fixed_dictionaries(
    {"name": NAMES, "image": st.sampled_from(["a", "r.example/a/b:1", "a@sha256:" + "0" * 64])},
    optional={
        "command": st.lists(TEXTS, max_size=3),
        "args": st.lists(TEXTS, max_size=3),
        "env": st.lists(VARIABLES, max_size=4),
        "envFrom": st.just([{"configMapRef": {"name": "settings"}}]),
        "livenessProbe": ACTIONS,
        "readinessProbe": ACTIONS,
        "volumeMounts": st.lists(
            st.sampled_from([each["name"] for each in VOLUMES]), unique=True, max_size=3
        ).map(lambda names: [{"name": name, "mountPath": f"/{name}"} for name in names]),
        "resources": st.fixed_dictionaries(
            {"limits": st.fixed_dictionaries({"memory": st.integers(1, 1 << 40)})}
        ),
        "securityContext": st.fixed_dictionaries({"privileged": st.booleans()}),
    },
)
SPECS = st.fixed_dictionaries(
    {
        "containers": st.lists(
            CONTAINERS, min_size=1, max_size=3, unique_by=lambda each: str(each["name"])
        )
    },
    optional={
        "restartPolicy": st.sampled_from(["Always", "OnFailure", "Never"]),
        "terminationGracePeriodSeconds": st.integers(0, 100),
        "hostNetwork": st.booleans(),
        "hostname": NAMES,
    },
)
RESOURCES = (config_map(data={"a": "$(A)", "b": "é"}), secret(stringData={"k": "v\n\t\x07\x85"}))


def dumped(*documents: Tree) -> bytes:
    return "---\n".join(_yaml(each) for each in documents).encode()


def manifest_of(spec: Tree) -> Manifest:
    return parse(dumped(pod(**spec, volumes=VOLUMES), *RESOURCES), FILE)


def outcome(data: bytes, *, of_host: bool = False) -> Manifest | ManifestError:
    try:
        return parse(data, FILE, of_host=of_host)
    except ManifestError as error:
        found = error
    assert found.problems
    assert all(str(problem).startswith("web.yaml:") for problem in found.problems)
    return found


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_manifest_or_refused(data: bytes, of_host: bool) -> None:  # noqa: FBT001
    outcome(data, of_host=of_host)


def slots_of(tree: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - JSON
    """Every place in a tree that holds a value: its collection and its key there."""
    for key in tree if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from slots_of(tree[key])


HEADERS = [{"name": "a", "value": ""}]
FULL = deployment(
    pod(
        containers=[
            container(
                env=[{"name": "A", "valueFrom": FIELD}, {"name": "B", "value": "b"}],
                envFrom=[{"secretRef": {"name": "keys"}}],
                ports=[{"name": "http", "containerPort": 80, "hostPort": 80}],
                readinessProbe={"httpGet": {"port": "http", "httpHeaders": HEADERS}},
                livenessProbe={"exec": {"command": ["a"]}},
                resources={"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"memory": "1Mi"}},
                securityContext={"capabilities": {"drop": ["ALL"]}, "runAsUser": 5},
                volumeMounts=[{"name": "conf", "mountPath": "/a"}],
            )
        ],
        volumes=VOLUMES,
        hostAliases=[{"ip": "10.0.0.1", "hostnames": ["a"]}],
        dnsConfig={"options": [{"name": "ndots", "value": "2"}]},
        securityContext={"sysctls": [{"name": "net.a", "value": "1"}], "supplementalGroups": [1]},
    ),
    strategy={"rollingUpdate": {"maxUnavailable": "25%"}},
)
ALL = [FULL, service(clusterIP="10.1.2.3"), *RESOURCES]


@given(st.data())
def test_a_manifest_with_anything_in_any_place_is_read_or_refused(data: st.DataObject) -> None:
    documents = copy.deepcopy(ALL)
    for _ in range(data.draw(st.integers(1, 3))):
        within, key = data.draw(st.sampled_from(list(slots_of(documents))))
        within[key] = data.draw(JSON)
    text = yaml.safe_dump_all(documents) if data.draw(st.booleans()) else dumped(*documents)
    found = outcome(text.encode() if isinstance(text, str) else text)
    if isinstance(found, Manifest):
        list(yaml.safe_load_all(render(found, "web-0")))


def test_what_is_broken_there_is_right_at_first() -> None:
    assert isinstance(outcome(dumped(*ALL)), Manifest)


def undone(rendered: bytes, prefix: str) -> bytes:
    """What podman gets as a manifest again: our labels and names off, values as they are."""
    documents = list(yaml.safe_load_all(rendered))
    for document in documents:
        document["metadata"]["name"] = document["metadata"]["name"].removeprefix(prefix)
    found = documents[-1]
    found["metadata"] = {"name": "web", "labels": {"app": found["metadata"]["labels"]["app"]}}
    for volume in found["spec"]["volumes"]:
        volume["name"] = volume["name"].removeprefix(prefix)
        if "configMap" in volume:
            volume["configMap"]["name"] = volume["name"]
    for each in found["spec"]["containers"]:
        for mount in each.get("volumeMounts", []):
            mount["name"] = mount["name"].removeprefix(prefix)
        for variable in each["env"]:
            variable["value"] = variable["value"].replace("$", "$$")
    return dumped(*documents)


def comparable(manifest: Manifest) -> str:
    return (
        render(manifest, "web-0")
        .decode()
        .replace(manifest.digest, "")
        .replace(manifest.digest[:12], "")
    )


@given(SPECS)
def test_what_podman_gets_is_the_same_pod(spec: Tree) -> None:
    manifest = manifest_of(spec)
    again = parse(undone(render(manifest, "web-0"), f"web-0.{manifest.digest[:12]}."), FILE)
    assert comparable(again) == comparable(manifest)


@given(SPECS)
def test_the_same_manifest_gives_the_same_bytes(spec: Tree) -> None:
    one = manifest_of(spec)
    documents = [pod(**dict(reversed(spec.items())), volumes=VOLUMES), *reversed(RESOURCES)]
    other = parse(dumped(*reversed(documents)), FILE)
    assert (one, one.digest) == (other, other.digest)
    assert render(one, "web-0") == render(other, "web-0")


@given(SPECS, SPECS)
def test_equal_digests_are_equal_pods(one: Tree, other: Tree) -> None:
    first, second = manifest_of(one), manifest_of(other)
    assert (first.digest == second.digest) == (first.documents == second.documents)
    if first.digest == second.digest:
        assert first.pod == second.pod
        assert render(first, "web-0") == render(second, "web-0")


@given(TEXTS)
def test_any_text_reaches_podman_as_it_is(text: str) -> None:
    env = [{"name": "A", "value": text.replace("$", "$$")}]
    manifest = manifest_of({"containers": [container(env=env, args=[text])]})
    *_, found = yaml.safe_load_all(render(manifest, "web-0"))
    (app,) = found["spec"]["containers"]
    assert app["env"] == [{"name": "A", "value": text}]
    assert app["args"] == [text]
