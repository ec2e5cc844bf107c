"""Documents that were read, as the agent's own types."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from podagent import types
from podagent.manifest.container import Container, InitContainer, Probe
from podagent.manifest.contents import Contents
from podagent.manifest.documents import (
    NO_ADDRESS,
    DaemonSet,
    Deployment,
    Pod,
    RollingUpdate,
    Service,
    ServicePort,
    TemplateMetadata,
)
from podagent.manifest.pod import PodSpec
from podagent.manifest.resolve import Resolver, pull_policy

_Ports = Mapping[str, int]


def workload_of(
    workload: Pod | Deployment | DaemonSet,
    service: Service | None,
    maps: Mapping[str, Contents],
    secrets: Mapping[str, Contents],
    *,
    of_host: bool,
) -> types.Manifest:
    """The manifest of documents that are right and fit together."""
    spec = workload.spec if isinstance(workload, Pod) else workload.spec.template.spec
    called: Any = workload.metadata
    if not isinstance(workload, Pod):
        called = workload.spec.template.metadata or TemplateMetadata()
    resolver = Resolver(maps, secrets, called.labels, called.annotations)
    documents = resolver.documents(spec)
    replicas = None if of_host else _replicas(workload)
    return types.Manifest(
        name=workload.metadata.name,
        kind=types.Kind(type(workload).__name__),
        replicas=replicas,
        max_unavailable=_max_unavailable(workload),
        node=spec.node,
        selector=dict(spec.selector),
        pod=_pod(spec, called.labels),
        service=_service(service, spec) if service else None,
        digest=_digest(documents),
        documents=documents,
    )


def _replicas(workload: Pod | Deployment | DaemonSet) -> int | None:
    if isinstance(workload, Deployment):
        return workload.spec.replicas
    return 1 if isinstance(workload, Pod) and workload.spec.node is None else None


def _max_unavailable(workload: Pod | Deployment | DaemonSet) -> int:
    if not isinstance(workload, Deployment):
        return 1
    strategy = workload.spec.strategy
    rolling = (strategy and strategy.rolling) or RollingUpdate()
    return rolling.unavailable.of(workload.spec.replicas)


def _digest(documents: Mapping[str, Any]) -> str:
    text = json.dumps(documents, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _pod(spec: PodSpec, labels: Mapping[str, str]) -> types.PodSpec:
    return types.PodSpec(
        labels=dict(labels),
        init=tuple(_container(each) for each in spec.init),
        containers=tuple(_container(each) for each in spec.containers),
        restart=spec.restart,
        grace=float(spec.grace),
        host_network=spec.host_network,
    )


def _container(container: Container) -> types.Container:
    ports = {port.name: port.number for port in container.ports if port.name}
    return types.Container(
        name=container.name,
        image=container.image,
        pull=pull_policy(container),
        startup=_probe(container.startup, ports),
        liveness=_probe(container.liveness, ports),
        readiness=_probe(container.readiness, ports),
        restart_always=isinstance(container, InitContainer) and container.restart is not None,
    )


def _probe(probe: Probe | None, ports: _Ports) -> types.Probe | None:
    if probe is None:
        return None
    return types.Probe(
        action=_action(probe, ports),
        delay=float(probe.delay),
        period=float(probe.period),
        timeout=float(probe.timeout),
        successes=probe.successes,
        failures=probe.failures,
    )


def _action(probe: Probe, ports: _Ports) -> types.Exec | types.Http | types.Tcp:
    if probe.tcp:
        return types.Tcp(_number(probe.tcp.port, ports), probe.tcp.host)
    if probe.http:
        return types.Http(
            path=probe.http.path,
            port=_number(probe.http.port, ports),
            scheme=probe.http.scheme.value.lower(),
            host=probe.http.host,
            headers=tuple((header.name, header.value) for header in probe.http.headers),
        )
    return types.Exec(probe.exec.command if probe.exec else ())


def _number(port: int | str, ports: _Ports) -> int:
    return port if isinstance(port, int) else ports[port]


def _service(service: Service, spec: PodSpec) -> types.Service:
    headless = service.spec.address == NO_ADDRESS
    ports = {
        port.name: port.number
        for container in (*spec.init, *spec.containers)
        for port in container.ports
        if port.name
    }
    return types.Service(
        name=service.metadata.name,
        address=None if headless else service.spec.address,
        ports=() if headless else tuple(_service_port(each, ports) for each in service.spec.ports),
    )


def _service_port(port: ServicePort, ports: _Ports) -> types.ServicePort:
    return types.ServicePort(
        name=port.name or "",
        protocol=port.protocol.value.lower(),
        port=port.port,
        target=_number(port.port if port.target is None else port.target, ports),
    )
