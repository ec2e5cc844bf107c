"""Ports of the host that pods have: a pod can have one only when another has let go of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from podagent.observed import HostPort, PodState
from podagent.types import Instance


@dataclass(frozen=True, slots=True)
class Need:
    """The host's ports that a pod has; in the host's network it may take any."""

    ports: frozenset[HostPort]
    any_port: bool

    def clashes(self, other: "Need") -> bool:
        """Whether both cannot be at once, or might not."""
        if self.any_port or other.any_port:
            return (self.any_port or bool(self.ports)) and (other.any_port or bool(other.ports))
        return bool(self.ports & other.ports)


@dataclass(frozen=True, slots=True)
class HostPorts:
    """Ports by the pods that give them up."""

    held: dict[str, Need] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.held)

    def add(self, pod: PodState) -> None:
        """Count a pod's ports in, if it has any."""
        if pod.ports or pod.host_network:
            self.held[pod.id] = Need(pod.ports, pod.host_network)

    def clash(self, name: str, need: Need) -> str | None:
        """Another pod that has what this one needs; None when there is none."""
        others = (each for each, held in self.held.items() if each != name and held.clashes(need))
        return next(others, None)


def of_instance(instance: Instance) -> Need:
    """What an instance's manifest asks for: every `hostPort` in its documents."""
    spec = instance.manifest.pod
    return Need(frozenset(_host_ports(instance.manifest.documents)), spec.host_network)


def _host_ports(value: Any) -> Iterator[HostPort]:  # noqa: ANN401 - JSON, of any shape
    if isinstance(value, dict):
        port = value.get("hostPort")
        if isinstance(port, int):
            yield str(value.get("protocol", "TCP")).lower(), port
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _host_ports(each)
