"""What this host is told of its cluster: /etc/bedplate/cluster.json, `bedplate.cluster`."""

from dataclasses import dataclass
from ipaddress import IPv4Network

from hostkit.etcd import Access
from hostkit.settings import ETCD_KEYS, Source, as_text, etcd_access, read_settings
from podagent.places import Places

_SERVICES = "services_range"
_RANGE = IPv4Network("10.96.0.0/16")  # Kubernetes' is one like it


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the cluster's etcd is, and which network the services' addresses are from."""

    access: Access
    services: IPv4Network


def load(places: Places) -> Settings | None:
    """The settings; None where this host is in no cluster.

    Raises:
        SettingsError: unreadable, no JSON object, an unknown key, a wrong value.
    """
    path = places.cluster
    if not path.exists():
        return None
    source = Source.of(read_settings(path, "bedplate.cluster"), path, (*ETCD_KEYS, _SERVICES))
    return Settings(
        access=etcd_access(source, places.on_host),
        services=source.take(_SERVICES, _network, "an IPv4 network such as 10.96.0.0/16", _RANGE),
    )


def _network(value: object) -> IPv4Network:
    return IPv4Network(as_text(value))
