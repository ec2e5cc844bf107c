"""What must fit together in a manifest: names that are used must be there, and so on.

It is checked on the tree as it was written, where every value knows its place, and so also in
documents of which other parts are wrong.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hostkit.document.schema import nearest
from hostkit.document.source import Mapping as MappingNode
from hostkit.document.source import Node, Problem, Scalar, ScalarKind, Sequence, shown
from podagent.manifest.contents import Contents

WORKLOADS = ("Pod", "Deployment", "DaemonSet")
ITEMS = "[]"  # a step to every item of a list
Known = Mapping[str, Contents | None]  # by name; None: it is wrong itself


@dataclass(frozen=True, slots=True)
class Document:
    """A document, the kind that it says it is, and its model (None: it is wrong)."""

    kind: str
    root: Node
    value: Any = field(repr=False)


def nodes(node: Node, *steps: str) -> Iterator[Node]:
    """All nodes that a path leads to: keys of mappings, and ITEMS."""
    if not steps:
        yield node
    elif steps[0] == ITEMS and isinstance(node, Sequence):
        for item in node.items:
            yield from nodes(item, *steps[1:])
    elif isinstance(node, MappingNode):
        for entry in node.entries:
            if entry.key.text == steps[0]:
                yield from nodes(entry.value, *steps[1:])


def text(node: Node, *steps: str) -> str | None:
    """The text at the end of a path; None when there is none."""
    for found in nodes(node, *steps):
        if isinstance(found, Scalar) and found.kind is not ScalarKind.NULL:
            return found.text
    return None


def pod_path(workload: Document) -> tuple[str, ...]:
    """Where a workload's metadata and spec of the pod stand."""
    return () if workload.kind == "Pod" else ("spec", "template")


def _is_true(node: Node, *steps: str) -> bool:
    return (text(node, *steps) or "").lower() == "true"


def fitting(
    workload: Document, services: Iterable[Document], maps: Known, secrets: Known
) -> Iterator[Problem]:
    """What does not fit in a manifest of one workload."""
    for spec in nodes(workload.root, *pod_path(workload), "spec"):
        yield from _names(spec)
        yield from _mounts(spec)
        yield from _references(spec, maps, secrets)
        yield from _ports(spec)
        yield from _identity(spec)
        yield from _unknown_before(spec)
        yield from _resolver(spec)
        if workload.kind != "Pod":
            yield from _of_many(workload, spec)
    for service in services:
        yield from _service(service, workload)


def only_here(workloads: Iterable[Document], services: Iterable[Document]) -> Iterator[Problem]:
    """What the host's own files cannot have: all in them is for this host."""
    for document in (*workloads, *services):
        if document.kind != "Pod":
            message = f"the host's own files hold Pods; put a {document.kind} into etcd"
            yield Problem(document.root.place, message)
            continue
        for name in ("nodeName", "nodeSelector"):
            for found in nodes(document.root, "spec", name):
                message = "a pod of the host's own files is for this host; put others into etcd"
                yield Problem(found.place, message)


def _containers(spec: Node) -> Iterator[Node]:
    yield from nodes(spec, "initContainers", ITEMS)
    yield from nodes(spec, "containers", ITEMS)


def _names(spec: Node) -> Iterator[Problem]:
    taken = {text(each, "name") for each in nodes(spec, "initContainers", ITEMS)} - {None}
    for name in nodes(spec, "containers", ITEMS, "name"):
        if text(name) in taken:
            yield Problem(name.place, "an init container has this name")


def _mounts(spec: Node) -> Iterator[Problem]:
    volumes = [found for each in nodes(spec, "volumes", ITEMS) if (found := text(each, "name"))]
    for container in _containers(spec):
        taken: set[str | None] = set()
        for mount in nodes(container, "volumeMounts", ITEMS):
            name, path = text(mount, "name"), text(mount, "mountPath")
            if name is not None and name not in volumes:
                message = f"no volume {shown(name)} in volumes{nearest(name, volumes)}"
                yield Problem(next(nodes(mount, "name")).place, message)
            if path is not None and path in taken:
                yield Problem(mount.place, f"two volumes are mounted at {shown(path)}")
            taken.add(path)


def _references(spec: Node, maps: Known, secrets: Known) -> Iterator[Problem]:
    for kind, known, source, name in (
        ("ConfigMap", maps, "configMap", "name"),
        ("Secret", secrets, "secret", "secretName"),
    ):
        for container in _containers(spec):
            for found in nodes(container, "env", ITEMS, "valueFrom", f"{source}KeyRef"):
                yield from _reference(found, kind, known, "name", ("key",))
            for found in nodes(container, "envFrom", ITEMS, f"{source}Ref"):
                yield from _reference(found, kind, known, "name", ())
                yield from _texts(found, known)
        for found in nodes(spec, "volumes", ITEMS, source):
            yield from _reference(found, kind, known, name, ("items", ITEMS, "key"), files=True)


def _reference(
    node: Node, kind: str, known: Known, name: str, keys: tuple[str, ...], *, files: bool = False
) -> Iterator[Problem]:
    found = text(node, name)
    if found is None or _is_true(node, "optional"):
        return
    if found not in known:
        place = next(nodes(node, name)).place
        message = f"no {kind} {shown(found)} in this manifest{nearest(found, [*known])}"
        yield Problem(place, message)
        return
    contents = known[found]
    if contents is None or not keys:
        return
    there = contents.files if files else contents.variables
    for key in nodes(node, *keys):
        if isinstance(key, Scalar) and key.text not in there:
            what = "text for a variable in" if key.text in contents.files else "key of"
            message = f"{shown(key.text)} is no {what} the {kind} {shown(found)}"
            yield Problem(key.place, message + nearest(key.text, [*there]))


def _texts(node: Node, known: Known) -> Iterator[Problem]:
    contents = known.get(text(node, "name") or "")
    if contents and contents.skipped:
        keys = ", ".join(contents.skipped)
        yield Problem(node.place, f"no texts that podman takes as variables: {keys}; use a volume")


def _ports(spec: Node) -> Iterator[Problem]:
    host_ports: set[tuple[str | None, ...]] = set()
    names: set[str] = set()
    for container in _containers(spec):
        own: set[str] = set()
        for port in nodes(container, "ports", ITEMS):
            name = text(port, "name")
            if name is not None and name in names:
                yield Problem(port.place, f"two ports are named {shown(name)}")
            own |= {name} if name else set()
            names |= own
            number = text(port, "hostPort")
            at = (text(port, "protocol") or "TCP", text(port, "hostIP"), number)
            if number is not None and at in host_ports:
                yield Problem(port.place, f"two ports ask for the host's port {number}")
            host_ports.add(at)
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            for action in ("httpGet", "tcpSocket"):
                for port in nodes(container, probe, action, "port"):
                    yield from _named(port, own)
    if _is_true(spec, "hostNetwork"):
        yield from _host_network_ports(spec)


def _host_network_ports(spec: Node) -> Iterator[Problem]:
    for port in (port for each in _containers(spec) for port in nodes(each, "ports", ITEMS)):
        if (text(port, "hostPort") or text(port, "containerPort")) != text(port, "containerPort"):
            yield Problem(port.place, "hostPort and containerPort are the same with hostNetwork")


def _named(port: Node, names: set[str]) -> Iterator[Problem]:
    if isinstance(port, Scalar) and port.kind is ScalarKind.TEXT and port.text not in names:
        message = f"no port {shown(port.text)} in ports{nearest(port.text, sorted(names))}"
        yield Problem(port.place, message)


def _identity(spec: Node) -> Iterator[Problem]:
    """Podman checks no runAsNonRoot, and takes root where there is only a group."""
    of_pod = text(spec, "securityContext", "runAsUser")
    for context in nodes(spec, "securityContext"):
        yield from _user(context, of_pod)
    for container in _containers(spec):
        user = text(container, "securityContext", "runAsUser")
        for context in nodes(container, "securityContext"):
            yield from _user(context, user or of_pod)
        if user == "0" and _is_true(spec, "securityContext", "runAsNonRoot"):
            yield Problem(container.place, "it runs as 0, which the pod's runAsNonRoot forbids")


def _user(context: Node, user: str | None) -> Iterator[Problem]:
    for group in nodes(context, "runAsGroup"):
        if user is None:
            yield Problem(group.place, "it needs runAsUser")
    for flag in nodes(context, "runAsNonRoot"):
        if _is_true(flag) and user in {None, "0"}:
            yield Problem(flag.place, "it needs a runAsUser other than 0")


def _resolver(spec: Node) -> Iterator[Problem]:
    own = text(spec, "dnsPolicy") == "None"
    servers = [*nodes(spec, "dnsConfig", "nameservers", ITEMS)]
    if servers and not own:
        message = "these replace the host's resolver, which knows the Services: say dnsPolicy: None"
        yield Problem(servers[0].place, message)
    if own and not servers:
        place = next(nodes(spec, "dnsPolicy")).place
        yield Problem(place, "it needs dnsConfig.nameservers")
    if _is_true(spec, "hostNetwork"):
        for config in nodes(spec, "dnsConfig"):
            message = "podman leaves a pod of the host's network with the host's resolver"
            yield Problem(config.place, f"{message}, which knows the Services; leave it out")


def _of_many(workload: Document, spec: Node) -> Iterator[Problem]:
    for policy in nodes(spec, "restartPolicy"):
        if text(policy) in {"OnFailure", "Never"}:
            yield Problem(policy.place, f"the pods of a {workload.kind} restart Always")
    for name in nodes(spec, "nodeName"):
        yield Problem(name.place, "only a Pod has it; use nodeSelector")
    labels = _labels(workload)
    wanted = [*nodes(workload.root, "spec", "selector", "matchLabels")]
    for selector in wanted:
        if isinstance(selector, MappingNode) and not selector.entries:
            yield Problem(selector.place, "it names no label of the template's")
        yield from _selected(selector, labels)


def _service(service: Document, workload: Document) -> Iterator[Problem]:
    for selector in nodes(service.root, "spec", "selector"):
        yield from _selected(selector, _labels(workload))
    names = {
        found
        for spec in nodes(workload.root, *pod_path(workload), "spec")
        for container in _containers(spec)
        for port in nodes(container, "ports", ITEMS)
        if (found := text(port, "name"))
    }
    for target in nodes(service.root, "spec", "ports", ITEMS, "targetPort"):
        yield from _named(target, names)


def _labels(workload: Document) -> dict[str, str | None]:
    return {
        entry.key.text: text(entry.value)
        for found in nodes(workload.root, *pod_path(workload), "metadata", "labels")
        if isinstance(found, MappingNode)
        for entry in found.entries
    }


def _selected(selector: Node, labels: Mapping[str, str | None]) -> Iterator[Problem]:
    for entry in selector.entries if isinstance(selector, MappingNode) else ():
        wanted = text(entry.value)
        if wanted is None:
            continue
        if entry.key.text not in labels:
            hint = nearest(entry.key.text, [*labels])
            yield Problem(entry.value.place, f"the workload's pods have no such label{hint}")
        elif labels[entry.key.text] != wanted:
            found = shown(labels[entry.key.text] or "")
            yield Problem(entry.value.place, f"the workload's pods have {found} here")


def _unknown_before(spec: Node) -> Iterator[Problem]:
    """Values that refer to what is known only when podman has made the pod."""
    for container in _containers(spec):
        late = {
            text(variable, "name")
            for variable in nodes(container, "env", ITEMS)
            if text(variable, "valueFrom", "fieldRef", "fieldPath") == "metadata.uid"
        }
        for value in nodes(container, "env", ITEMS, "value"):
            for name in re.findall(r"\$\(([^)]*)\)", text(value) or ""):
                if name in late:
                    message = f"$({name}) is metadata.uid, which a value cannot hold"
                    yield Problem(value.place, message)
