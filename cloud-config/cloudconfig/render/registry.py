"""`bedplate.registries`: where container images come from, for podman and its like."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from cloudconfig.desired import Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.bedplate import Registry
from cloudconfig.model.top import CloudConfig

_REGISTRIES = PurePosixPath("/etc/containers/registries.conf.d/50-bedplate.conf")
# What root's podman reads first where there is no XDG_RUNTIME_DIR, as in a service of the
# system (containers-auth.json(5)). It is on a tmpfs, so no disk ever holds it.
_CREDENTIALS = PurePosixPath("/run/containers/0/auth.json")


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """Mirrors in a drop-in (containers-registries.conf.d(5)), credentials in /run."""
    registries = config.bedplate.registries
    items = []
    if text := "\n".join(
        _table(prefix, registries) for prefix in registries if _says(prefix, registries)
    ):
        items.append(File(_REGISTRIES, text.encode()))
    credentials = {
        prefix: {"auth": base64.b64encode(f"{each.username}:{each.password}".encode()).decode()}
        for prefix, each in registries.items()
        if each.username is not None
    }
    if credentials:
        content = json.dumps({"auths": credentials}, indent=2).encode() + b"\n"
        items.append(File(_CREDENTIALS, content, mode=0o600, secret=True))
    return Desired(items=tuple(items))


def _says(prefix: str, registries: Mapping[str, Registry]) -> bool:
    return bool(registries[prefix].mirrors) or registries[prefix].insecure


def _table(prefix: str, registries: Mapping[str, Registry]) -> str:
    lines = ["[[registry]]", f"prefix = {_string(prefix)}", f"location = {_string(prefix)}"]
    if registries[prefix].insecure:
        lines.append("insecure = true")
    for mirror in registries[prefix].mirrors:
        lines += ["", "[[registry.mirror]]", f"location = {_string(mirror)}"]
        # A mirror is a registry of its own; what is said of it counts here, too.
        if any(registries[name].insecure for name in _covering(mirror, registries)):
            lines.append("insecure = true")
    return "\n".join(lines) + "\n"


def _covering(name: str, registries: Mapping[str, Registry]) -> Iterator[str]:
    """The one entry of `registries` that says most about `name`."""
    prefixes = [each for each in registries if name == each or name.startswith(f"{each}/")]
    yield from sorted(prefixes, key=len)[-1:]


def _string(text: str) -> str:
    """A basic string of TOML (its section "String"), which JSON's are for plain ASCII."""
    return json.dumps(text)
