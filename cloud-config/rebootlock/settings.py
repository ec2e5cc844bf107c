"""Where the lock is: /etc/bedplate/lock.json, of `coreos.locksmith` or the cluster's etcd."""

from dataclasses import dataclass

from hostkit.etcd import Access
from hostkit.settings import ETCD_KEYS, Source, as_text, etcd_access, read_settings
from rebootlock.places import Places

_GROUP = "group"


@dataclass(frozen=True, slots=True)
class Settings:
    """How etcd is reached, and the group of hosts that share the lock; "" is locksmith's own."""

    access: Access
    group: str = ""


def load(places: Places) -> Settings:
    """The settings.

    Raises:
        SettingsError: unreadable, no JSON object, an unknown key, a wrong value.
    """
    path = places.settings
    source = Source.of(read_settings(path, "coreos.locksmith"), path, (*ETCD_KEYS, _GROUP))
    return Settings(
        access=etcd_access(source, places.on_host),
        group=source.take(_GROUP, as_text, "a group's name", ""),
    )
