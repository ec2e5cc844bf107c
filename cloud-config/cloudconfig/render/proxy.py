"""`bedplate.proxy`: the way out, in the environment of every service and of podman."""

import json
from pathlib import PurePosixPath

from cloudconfig.desired import Affects, Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.bedplate import Proxy
from cloudconfig.model.top import CloudConfig

_DROP_IN = PurePosixPath("/etc/systemd/system.conf.d/50-bedplate-proxy.conf")
# Our agents run podman with an environment of their own, so it is told by itself.
_PODMAN = PurePosixPath("/etc/containers/containers.conf.d/50-bedplate-proxy.conf")


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """Drop-ins for systemd itself (systemd-system.conf(5), DefaultEnvironment=) and for podman.

    Services that run already keep what they started with; the updater is restarted. Podman reads
    containers.conf(5) each time, and keeps the variables of its `[engine]` to itself.
    """
    proxy = config.bedplate.proxy
    if proxy is None or not (variables := environment(proxy)):
        return Desired()
    assignments = " ".join(f'"{name}={_quoted(value)}"' for name, value in variables.items())
    secret = "@" in f"{proxy.http}{proxy.https}"
    mode = 0o600 if secret else 0o644
    drop_in = File(
        _DROP_IN,
        f"[Manager]\nDefaultEnvironment={assignments}\n".encode(),
        mode=mode,
        affects=(Affects("bedplate-updated.service"),),
        secret=secret,
    )
    # Strings of plain ASCII are the same in JSON and in TOML.
    words = "".join(f"  {json.dumps(f'{name}={value}')},\n" for name, value in variables.items())
    podman = File(_PODMAN, f"[engine]\nenv = [\n{words}]\n".encode(), mode=mode, secret=secret)
    return Desired(items=(drop_in, podman))


def environment(proxy: Proxy) -> dict[str, str]:
    """The variables, in capitals and small letters: each program looks at one of them."""
    found = {
        "http_proxy": proxy.http,
        "https_proxy": proxy.https,
        "no_proxy": ",".join(proxy.no_proxy),
    }
    given = {name: value for name, value in found.items() if value}
    return {word: value for name, value in given.items() for word in (name, name.upper())}


def _quoted(value: str) -> str:
    r"""Within double quotes, where \ and % mean something (systemd.syntax(7), "QUOTING")."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
