"""etcd v3 by its JSON gateway: `Client`, and what goes in and comes out."""

from hostkit.etcd.access import Access, Limits
from hostkit.etcd.client import Client
from hostkit.etcd.errors import Compacted, EtcdError, LeaseNotFound, Refused, Unavailable
from hostkit.etcd.values import (
    Change,
    Compare,
    Delete,
    Get,
    Granted,
    KeyValue,
    List,
    Operation,
    Outcome,
    Put,
    Snapshot,
    Store,
)

__all__ = [
    "Access",
    "Change",
    "Client",
    "Compacted",
    "Compare",
    "Delete",
    "EtcdError",
    "Get",
    "Granted",
    "KeyValue",
    "LeaseNotFound",
    "Limits",
    "List",
    "Operation",
    "Outcome",
    "Put",
    "Refused",
    "Snapshot",
    "Store",
    "Unavailable",
]
