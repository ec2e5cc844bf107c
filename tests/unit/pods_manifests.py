"""Manifests for tests, as trees that a test changes, and the way to read them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from podagent.manifest import parse
from podagent.types import Manifest

Tree = dict[str, Any]
FILE = Path("web.yaml")


def container(**fields: object) -> Tree:
    return {"name": "app", "image": "registry.example/web:1"} | fields


def pod(**fields: object) -> Tree:
    spec = {"containers": [container()]} | fields
    metadata = {"name": "web", "labels": {"app": "web"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def deployment(template: Tree | None = None, **fields: object) -> Tree:
    of = copy.deepcopy(template or pod())
    spec = {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": of["metadata"]["labels"]}, "spec": of["spec"]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": spec | fields,
    }


def daemon_set() -> Tree:
    found = deployment() | {"kind": "DaemonSet"}
    del found["spec"]["replicas"]
    return found


def config_map(name: str = "settings", **fields: object) -> Tree:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} | fields


def secret(name: str = "keys", **fields: object) -> Tree:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}} | fields


def service(**fields: object) -> Tree:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]} | fields
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"}, "spec": spec}


def read(*documents: Tree, of_host: bool = False) -> Manifest:
    return parse(yaml.safe_dump_all(documents).encode(), FILE, of_host=of_host)


def changed(tree: Tree, change: Callable[[Tree], object]) -> Tree:
    found = copy.deepcopy(tree)
    change(found)
    return found
