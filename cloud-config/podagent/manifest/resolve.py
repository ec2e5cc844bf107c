"""A pod with all that it refers to put in its place: what is run, as a tree of JSON.

Podman reads ConfigMaps and Secrets too, but lets `envFrom` go before `env` and does not expand
`$(NAME)` in values, as Kubernetes does; it keeps Secrets, and names its volumes, by names that all
pods share. So no manifest that it plays refers to anything.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hostkit.document.schema import Kind, ListOf, Section, keys
from podagent.manifest.container import (
    CONTAINER,
    INIT_CONTAINER,
    Container,
    InitContainer,
    Variable,
    Variables,
)
from podagent.manifest.contents import Contents
from podagent.manifest.pod import POD_SPEC, VOLUME, ConfigMapVolume, PodSpec, SecretVolume, Volume
from podagent.types import PullPolicy

Tree = dict[str, Any]  # JSON
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
# Said of hosts, or of what is so anyway.
_NOT_RUN = (
    "nodeName",
    "nodeSelector",
    "dnsPolicy",
    "automountServiceAccountToken",
    "enableServiceLinks",
)


@dataclass(frozen=True, slots=True)
class Resolver:
    """What the documents of a manifest hold that its pod refers to."""

    maps: Mapping[str, Contents]
    secrets: Mapping[str, Contents]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def documents(self, spec: PodSpec) -> Tree:
        """All that is run: see `Manifest.documents`.

        It is equal for manifests that mean the same. Its spec is a Pod's, in which a volume of
        files has `files`, their contents in base64, and `$` in a variable's value that does not
        begin a reference is doubled.
        """
        tree = written(POD_SPEC, spec)
        for name in _NOT_RUN:
            tree.pop(name, None)
        _drop(tree, "securityContext", ("runAsNonRoot", "seccompProfile"))
        volumes = {volume.name: self._volume(volume) for volume in spec.volumes}
        there = {name for name, volume in volumes.items() if volume is not None}
        if "volumes" in tree:
            tree["volumes"] = [volume for volume in volumes.values() if volume is not None]
        for name, containers in (("initContainers", spec.init), ("containers", spec.containers)):
            if containers:
                tree[name] = [self._container(container, there) for container in containers]
        return {
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "spec": {name: value for name, value in tree.items() if value not in ({}, [])},
        }

    def _container(self, container: Container, volumes: set[str]) -> Tree:
        tree = written(
            INIT_CONTAINER if isinstance(container, InitContainer) else CONTAINER, container
        )
        tree["imagePullPolicy"] = pull_policy(container).value
        _drop(tree, "securityContext", ("runAsNonRoot", "seccompProfile"))
        _drop(tree.get("resources", {}), "requests", ("cpu",))
        if "resources" in tree:
            kept = {name: amounts for name, amounts in tree["resources"].items() if amounts}
            tree["resources"] = kept
        tree["volumeMounts"] = [
            mount for mount in tree.get("volumeMounts", []) if mount["name"] in volumes
        ]
        tree.pop("envFrom", None)
        tree["env"] = [*self._all_variables(container), *self._variables(container)]
        ports = {port.name: port.number for port in container.ports if port.name}
        for probe in PROBES:
            for action in ("httpGet", "tcpSocket"):
                asked = tree.get(probe, {}).get(action, {})
                if "port" in asked:
                    asked["port"] = ports.get(asked["port"], asked["port"])
        return {name: value for name, value in tree.items() if value not in ({}, [])}

    def _all_variables(self, container: Container) -> Iterator[Tree]:
        for source in container.env_from:
            contents = self._source(source)
            for name, text in sorted(contents.variables.items() if contents else ()):
                yield {"name": (source.prefix or "") + name, "value": _literal(text)}

    def _source(self, source: Variables) -> Contents | None:
        if source.config_map:
            return self.maps.get(source.config_map.name)
        return self.secrets.get(source.secret.name) if source.secret else None

    def _variables(self, container: Container) -> Iterator[Tree]:
        for variable in container.env:
            value = self._value(variable)
            if value is not None:
                yield {"name": variable.name, **value}

    def _value(self, variable: Variable) -> Tree | None:
        source = variable.source
        if source is None:
            return {"value": variable.value}
        if source.field:
            return self._field(source.field.path)
        known, reference = (
            (self.maps, source.config_map) if source.config_map else (self.secrets, source.secret)
        )
        contents = known.get(reference.name) if reference else None
        if contents is None or reference is None or reference.of not in contents.variables:
            return None  # it is optional, and missing
        return {"value": _literal(contents.variables[reference.of])}

    def _field(self, path: str) -> Tree:
        where, bracket, name = path.removesuffix("']").partition("['")
        if not bracket:
            return {"valueFrom": {"fieldRef": {"fieldPath": path}}}
        values = self.labels if where == "metadata.labels" else self.annotations
        return {"value": _literal(values.get(name, ""))}

    def _volume(self, volume: Volume) -> Tree | None:
        for source, known in ((volume.config_map, self.maps), (volume.secret, self.secrets)):
            if source is not None:
                files = _files(source, known.get(source.name))
                return None if files is None else {"name": volume.name, **files}
        if volume.empty_dir is not None:
            medium = volume.empty_dir.medium.value
            return {"name": volume.name, "emptyDir": {"medium": medium} if medium else {}}
        tree: Tree = written(VOLUME, volume)
        _drop(tree, "persistentVolumeClaim", ("readOnly",))
        return tree


def _files(source: ConfigMapVolume | SecretVolume, contents: Contents | None) -> Tree | None:
    if contents is None:
        return None  # it is optional, and missing
    items = {item.path: item.of for item in source.items} or {name: name for name in contents.files}
    files = {
        path: base64.b64encode(contents.files[name]).decode()
        for path, name in items.items()
        if name in contents.files
    }
    return {"files": files, "defaultMode": source.mode}


def pull_policy(container: Container) -> PullPolicy:
    """When the image is asked for, by Kubernetes' rule where the manifest does not say."""
    if container.pull is not None:
        return container.pull
    name = container.image.rpartition("/")[2]
    if "@" in name or (":" in name and not name.endswith(":latest")):
        return PullPolicy.IF_NOT_PRESENT
    return PullPolicy.ALWAYS


def written(kind: Kind, value: Any) -> Any:  # noqa: ANN401 - JSON, of the kind's shape
    """A value as JSON would hold it, without what is as it would be if nothing were said."""
    if isinstance(kind, ListOf):
        return [written(kind.item, item) for item in value]
    if not isinstance(kind, Section):
        return kind.write(value)
    found = {
        name: written(known.kind, getattr(value, known.field))
        for name, known in keys(kind.model).items()
        if getattr(value, known.field) != known.default
    }
    return {name: tree for name, tree in found.items() if tree != {}}


def _literal(text: str) -> str:
    return text.replace("$", "$$")


def _drop(tree: Tree, name: str, inner: tuple[str, ...]) -> None:
    """Take keys out of a mapping within a mapping, and that too when nothing is left of it."""
    if name in tree:
        tree[name] = {key: value for key, value in tree[name].items() if key not in inner}
        if not tree[name]:
            del tree[name]
