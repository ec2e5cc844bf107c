"""`bedplate.etcd`: the environment and the credentials of the extension's unit."""

from pathlib import PurePosixPath

from cloudconfig.desired import Affects, Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.endpoints import Endpoints
from cloudconfig.model.etcd import Etcd, Member, member_of, problem_of
from cloudconfig.model.top import CloudConfig
from cloudconfig.render.errors import RenderError
from cloudconfig.render.hosts import name_of
from hostkit.document.schema import Fault

UNIT = "bedplate-etcd.service"
ENVIRONMENT = PurePosixPath("/etc/bedplate/etcd.env")
_DROP_IN = PurePosixPath(f"/etc/systemd/system/{UNIT}.d/50-credentials.conf")
_UNNAMED = "default"  # etcd's own name for a member that nobody named
_FILES = ("cert_file", "key_file", "trusted_ca_file")
# The unit goes down and up with this target, which is there before the extension is.
AFFECTS = (Affects("bedplate-extensions.target"),)


def render(config: CloudConfig, facts: Facts) -> Desired:
    """What etcd reads (https://etcd.io/docs/v3.5/op-guide/configuration/), without its data.

    Raises:
        RenderError: the host has a name that `initial_cluster` does not know.
    """
    etcd = config.bedplate.etcd
    if etcd is None:
        return Desired()
    name = etcd.name or name_of(config, facts)
    if wrong := problem_of(etcd, name or None):
        raise RenderError(Fault(f"bedplate.etcd: {wrong}", ("bedplate", "etcd")))
    files = files_of(etcd)
    settings = _settings(etcd, member_of(etcd, name or _UNNAMED), tuple(files))
    text = "".join(f"ETCD_{each.upper()}={value}\n" for each, value in settings.items())
    items = [File(ENVIRONMENT, text.encode(), affects=AFFECTS)]
    if files:
        # Whoever owns the files, etcd's own user reads them, and nobody else does.
        lines = "".join(f"LoadCredential={each}:{path}\n" for each, path in files.items())
        items.append(File(_DROP_IN, f"[Service]\n{lines}".encode(), affects=AFFECTS))
    return Desired(items=tuple(items))


def _settings(etcd: Etcd, member: Member, files: tuple[str, ...]) -> dict[str, str]:
    """The options of etcd and their values; nothing in them has to be quoted."""
    members = ((name, url) for name, urls in member.cluster.items() for url in urls)
    settings = {
        "name": member.name,
        "listen_peer_urls": _joined(member.listen_peers),
        "listen_client_urls": _joined(member.listen_clients),
        "initial_advertise_peer_urls": _joined(member.advertise_peers),
        "advertise_client_urls": _joined(member.advertise_clients),
        "initial_cluster": ",".join(f"{name}={url}" for name, url in members),
        "initial_cluster_state": etcd.initial_cluster_state.value,
        "heartbeat_interval": str(etcd.heartbeat_interval),
        "election_timeout": str(etcd.election_timeout),
        "auto_compaction_mode": "periodic",
        "auto_compaction_retention": f"{etcd.auto_compaction_retention:.0f}s",
    }
    if etcd.initial_cluster_token:
        settings["initial_cluster_token"] = etcd.initial_cluster_token
    if etcd.quota_backend_bytes:
        settings["quota_backend_bytes"] = str(etcd.quota_backend_bytes)
    for peer in ("", "peer_"):
        if getattr(etcd, f"{peer}trusted_ca_file"):
            settings[f"{peer}client_cert_auth"] = "true"
    return settings | {name: f"/run/credentials/{UNIT}/{name}" for name in files}


def files_of(etcd: Etcd) -> dict[str, str]:
    """The files that a member reads, by the names of etcd's options."""
    names = [f"{peer}{name}" for peer in ("", "peer_") for name in _FILES]
    return {name: path for name in names if (path := getattr(etcd, name))}


def _joined(urls: Endpoints) -> str:
    return ",".join(map(str, urls))
