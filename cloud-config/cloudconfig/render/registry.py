"""Where container images come from and which are taken, for podman and its like."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from cloudconfig.desired import Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.bedplate import Registry
from cloudconfig.model.policy import SIGNED
from cloudconfig.model.top import CloudConfig

_REGISTRIES = PurePosixPath("/etc/containers/registries.conf.d/50-bedplate.conf")
# What root's podman reads first where there is no XDG_RUNTIME_DIR, as in a service of the
# system (containers-auth.json(5)). It is on a tmpfs, so no disk ever holds it.
_CREDENTIALS = PurePosixPath("/run/containers/0/auth.json")
_POLICY = PurePosixPath("/etc/containers/policy.json")
_ATTACHMENTS = PurePosixPath("/etc/containers/registries.d/50-bedplate.yaml")


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """Mirrors in a drop-in (containers-registries.conf.d(5)), credentials in /run, a policy."""
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
    return Desired(items=(*items, *_policy(config)))


def _policy(config: CloudConfig) -> Iterator[File]:
    """The policy, and what makes podman look for the signatures that it asks for.

    Of the latter there may be only one (containers-registries.d(5), default-docker), and who
    writes files beside it knows better.
    """
    policy = config.bedplate.signature_policy
    if policy is None:
        return
    yield File(_POLICY, f"{policy.rstrip()}\n".encode())
    own = any(each.path.parent == _ATTACHMENTS.parent for each in config.write_files)
    if SIGNED in policy and not own:
        yield File(_ATTACHMENTS, b"default-docker:\n  use-sigstore-attachments: true\n")


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
