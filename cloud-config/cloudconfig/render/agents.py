"""What is handed to other agents: the overlay, the reboot lock, pods and labels."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import PurePosixPath

from cloudconfig.desired import Desired, Fetched, File
from cloudconfig.facts import Facts
from cloudconfig.model.bedplate import Pod
from cloudconfig.model.coreos import Flannel, Locksmith
from cloudconfig.model.top import CloudConfig

FOLDER = PurePosixPath("/etc/bedplate")


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """One file each in /etc/bedplate; what may hold a password is for root alone."""
    items: list[File | Fetched] = []
    if config.coreos.flannel:
        items.append(_json("overlay.json", _given(config.coreos.flannel), secret=True))
    if config.coreos.locksmith:
        items.append(_json("locksmith.json", _given(config.coreos.locksmith), secret=True))
    if config.bedplate.labels:
        items.append(_json("labels.json", config.bedplate.labels))
    items += [_pod(pod) for pod in config.bedplate.pods]
    return Desired(items=tuple(items))


def _given(section: Flannel | Locksmith) -> dict[str, object]:
    """The keys of a section that the document gives; paths as text, times in seconds."""
    values = {each.name: getattr(section, each.name) for each in dataclasses.fields(section)}
    return {
        name: str(value) if isinstance(value, PurePosixPath) else value
        for name, value in values.items()
        if value is not None
    }


def _json(name: str, value: Mapping[str, object], *, secret: bool = False) -> File:
    content = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return File(FOLDER / name, content, mode=0o600 if secret else 0o644, secret=secret)


def _pod(pod: Pod) -> File | Fetched:
    path = FOLDER / "pods" / f"{pod.name}.yaml"
    if pod.url is not None and pod.sha256 is not None:
        return Fetched(path, pod.url, pod.sha256, mode=0o600)
    text = pod.manifest or ""
    content = text if text.endswith("\n") else f"{text}\n"
    return File(path, content.encode(), mode=0o600, secret=True)
