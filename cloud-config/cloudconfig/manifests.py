"""A Pod's manifest, looked at before it is handed to the agent that runs pods."""

import re
from pathlib import Path

from hostkit.document.source import DocumentError, Mapping, Node, Scalar, parse, shown

# RFC 1123's label, as Kubernetes and podman want it.
_NAME = re.compile(r"[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?")


def pod_problem(text: str) -> str | None:
    """What is wrong with a manifest; lines and columns in it count from its own first line."""
    try:
        root = parse(text, Path("manifest"))
    except DocumentError as error:
        return str(error)
    if not isinstance(root, Mapping):
        return "the manifest is no mapping; expected a Pod with apiVersion, kind, metadata, spec"
    for name, expected in (("apiVersion", "v1"), ("kind", "Pod")):
        if (found := _text(root, name)) != expected:
            given = f"is {shown(found)}" if found else "is missing"
            return f"the manifest's {name} {given}; expected {expected}"
    pod_name = _text(_value(root, "metadata"), "name")
    if not _NAME.fullmatch(pod_name):
        return "the manifest's metadata.name is missing, or no name such as web-1"
    if not isinstance(_value(root, "spec"), Mapping):
        return "the manifest has no spec"
    return None


def _value(node: Node | None, name: str) -> Node | None:
    if isinstance(node, Mapping):
        for entry in node.entries:
            if entry.key.text == name:
                return entry.value
    return None


def _text(node: Node | None, name: str) -> str:
    found = _value(node, name)
    return found.text if isinstance(found, Scalar) else ""
