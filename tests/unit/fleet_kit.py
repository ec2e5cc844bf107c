"""A fleet in memory: hosts, manifests, slots and reports as they stand in etcd."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from etcd_model import EtcdModel
from podagent.cluster.records import (
    ROOT,
    HostRecord,
    Report,
    SlotRecord,
    encode,
    host_key,
    instance_id,
    manifest_key,
    report_key,
    slot_key,
)
from podagent.cluster.view import View
from podagent.manifest import parse
from pods_manifests import Tree, deployment


def text(*trees: Tree) -> bytes:
    return yaml.safe_dump_all(trees).encode()


def web(replicas: int = 2, image: str = "registry.example/web:1") -> Tree:
    found = deployment(replicas=replicas)
    found["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return found


def digest(*trees: Tree) -> str:
    return parse(text(*trees), Path("x.yaml")).digest


@dataclass
class FleetEtcd(EtcdModel):
    """Etcd's client, as far as `bedplate fleet` asks it at once."""

    def close(self) -> None:
        pass

    def time_to_live(self, lease: int) -> int:
        return int(self.ends[lease] - self.now) if lease in self.ends else -1

    def apply(self, *trees: Tree) -> None:
        self.put(manifest_key(trees[0]["metadata"]["name"]), text(*trees))

    def add_host(
        self,
        name: str,
        *,
        why: str = "",
        labels: dict[str, str] | None = None,
        refused: dict[str, str] | None = None,
    ) -> int:
        """A host with a lease; its address is 10.0.0.<the last digit of its name>."""
        lease = self.grant(30).id
        addresses = (f"10.0.0.{name[-1]}",)
        record = HostRecord(labels or {}, addresses, not why, why, refused or {})
        self.put(host_key(name), encode(record), lease=lease)
        return lease

    def lease_of(self, host: str) -> int:
        item = self.get(host_key(host))
        return item.lease if item else 0

    def hold(self, host: str, name: str, number: int, run: str) -> None:
        key = slot_key(name, number)
        self.put(key, encode(SlotRecord(host, run)), lease=self.lease_of(host))

    def report(self, host: str, name: str, each: Report) -> None:
        key = report_key(host, instance_id(name, each.slot))
        self.put(key, encode(each), lease=self.lease_of(host))

    def up(self, host: str, name: str, number: int, run: str) -> None:
        """A replica that is well."""
        self.hold(host, name, number, run)
        self.report(host, name, running(run, number))

    def view(self) -> View:
        found = View(parse)
        found.listed(self.list(ROOT))
        return found


def running(run: str, slot: int | None = None, address: str = "10.5.1.2") -> Report:
    """A pod that is well."""
    return Report("Running", True, run, slot, available=True, addresses=(address,))  # noqa: FBT003


def waiting(
    run: str, slot: int | None = None, *, phase: str = "Pending", error: str = ""
) -> Report:
    """A pod that is not ready."""
    return Report(phase, False, run, slot, error=error)  # noqa: FBT003
