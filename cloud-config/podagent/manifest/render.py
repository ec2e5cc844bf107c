"""What `podman kube play` gets for one instance of a workload.

One Pod that refers to nothing outside, with a ConfigMap for each of its volumes that holds files.
No Secret is among them: podman would keep it under its name, which all pods share, after the pod
is gone. Names of volumes begin with the instance's id and a dot, for podman's volumes too are known
by one name to all pods, and hold the digest, so that no file of an older manifest is left in one.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from podagent.manifest.kinds import VALUE
from podagent.manifest.resolve import PROBES
from podagent.services.names import DOMAIN, LISTEN
from podagent.types import DIGEST_LABEL, POD_LABEL, SLOT_LABEL, Manifest

_HOSTNAME_LIMIT = 63  # characters: hostname(7)
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
# What JSON has as it is and YAML 1.1 does not, or takes for the end of a line.
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def render(manifest: Manifest, instance_id: str, *, services: bool = False) -> bytes:
    """The YAML (JSON, in fact) that `podman kube play` makes an instance from; it may hold secrets.

    With `services` it knows the names of the cluster's, else it resolves as podman has it.

    The same arguments give the same bytes. Restarts, probes and pulls are the agent's own,
    and so are not in it. Init containers are containers like the others, before them: the agent
    starts them in turn, and podman gives them neither the pod's grace period, nor their ports, nor
    the host's processes. So play it with `--build=false`, and `--start=false` if it has any.
    """
    spec = copy.deepcopy(manifest.documents["spec"])
    labels = manifest.documents["labels"] | {
        POD_LABEL: instance_id,
        DIGEST_LABEL: manifest.digest,
    }
    if instance_id != manifest.name:
        labels[SLOT_LABEL] = instance_id.removeprefix(f"{manifest.name}-")
    prefix = f"{volume_prefix(instance_id)}{manifest.digest[:12]}."
    maps = [*_separate_files(spec, prefix)]
    spec["restartPolicy"] = "Never"
    spec.setdefault("terminationGracePeriodSeconds", int(manifest.pod.grace))
    if not manifest.pod.host_network:
        if services:
            spec["dnsConfig"] = _with_services(spec.get("dnsConfig", {}))
        spec.setdefault("hostname", instance_id[:_HOSTNAME_LIMIT].rstrip("-"))
    spec["containers"] = [*spec.pop("initContainers", ()), *spec["containers"]]
    for container in spec["containers"]:
        _prepare(container, instance_id, prefix, {each["metadata"]["name"] for each in maps})
        if manifest.pod.host_network:
            container.pop("ports", None)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": instance_id, "labels": labels},
        "spec": spec,
    }
    return "---\n".join(_yaml(document) for document in (*maps, pod)).encode()


def unplayable(documents: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Variables of which references make what podman cannot take: list, container, name."""
    for containers in ("initContainers", "containers"):
        for number, container in enumerate(documents["spec"].get(containers, ())):
            # An instance's id changes nothing: it begins with no space and is no empty line.
            for variable in _environment(container.get("env", ()), "id"):
                if not VALUE.matches(variable.get("value", "")):
                    yield containers, number, variable["name"]


def volume_prefix(instance_id: str) -> str:
    """What the names of an instance's volumes begin with, and no other's.

    Podman removes those of emptyDirs with the pod; the others are the agent's to remove.
    """
    return f"{instance_id}."


def _with_services(own: Mapping[str, Any]) -> dict[str, Any]:
    """How a pod resolves by dnsPolicy ClusterFirst; one that has servers asks no others.

    Kubernetes' rule (pkg/kubelet/network/dns, appendDNSConfig): the cluster's server, its domain
    before those of the pod. In the host's network podman leaves all to the host's resolver, and
    that knows the services by itself.
    """
    if "nameservers" in own:
        return dict(own)
    searches = dict.fromkeys((DOMAIN, *own.get("searches", ())))
    return {**own, "nameservers": [str(LISTEN)], "searches": [*searches]}


def _separate_files(spec: dict[str, Any], prefix: str) -> Iterator[dict[str, Any]]:
    for volume in spec.get("volumes", ()):
        volume["name"] = prefix + volume["name"]
        if "files" in volume:
            files, mode = volume.pop("files"), volume.pop("defaultMode")
            volume["configMap"] = {"name": volume["name"], "defaultMode": mode}
            yield {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": volume["name"]},
                "binaryData": files,
            }


def _prepare(container: dict[str, Any], instance_id: str, prefix: str, files: set[str]) -> None:
    for probe in PROBES:
        container.pop(probe, None)
    container.pop("restartPolicy", None)
    container["imagePullPolicy"] = "Never"
    container["env"] = [*_environment(container.get("env", ()), instance_id)]
    for mount in container.get("volumeMounts", ()):
        mount["name"] = prefix + mount["name"]
        if mount["name"] in files:  # as in Kubernetes
            mount["readOnly"] = True


def _environment(variables: Any, instance_id: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Variables with their values; of those with one name the last counts, as in Kubernetes."""
    values: dict[str, str] = {}
    others: dict[str, dict[str, Any]] = {}
    for variable in variables:
        name = variable["name"]
        values.pop(name, None)
        others.pop(name, None)
        if "value" in variable:
            values[name] = _expanded(variable["value"], values)
        elif variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name":
            values[name] = instance_id
        else:
            others[name] = variable
    yield from ({"name": name, "value": value} for name, value in values.items())
    yield from others.values()


def _expanded(value: str, values: dict[str, str]) -> str:
    """Kubernetes' rule: `$(NAME)` where NAME is known, and `$$` is a `$`."""
    return _REFERENCE.sub(
        lambda found: "$" if found[1] is None else values.get(found[1], found[0]), value
    )


def _yaml(document: dict[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=False, sort_keys=True)
    return _NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"
