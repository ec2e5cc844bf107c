"""Ports of the host as a real manifest has them."""

from pathlib import Path

from podagent.hostports import HostPorts, of_instance
from podagent.manifest import parse
from podagent.observed import PodState
from podagent.types import Instance, Origin

_MANIFEST = b"""\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: a
    image: registry.example/app:1
    ports:
    - {containerPort: 80, hostPort: 8080}
    - {containerPort: 53, hostPort: 53, protocol: UDP}
    - {containerPort: 9000}
"""


def test_what_a_manifest_asks_for_clashes_with_what_another_pod_has() -> None:
    web = Instance("web", parse(_MANIFEST, Path("web.yaml")), Origin.FOLDER, None)
    need = of_instance(web)
    assert need.ports == {("tcp", 8080), ("udp", 53)}
    held = HostPorts()
    for name, port in (("a", ("tcp", 53)), ("b", ("tcp", 9000)), ("web", ("tcp", 8080))):
        held.add(PodState(name, "", None, 0, (), (), frozenset({port})))
    assert held.clash("web", need) is None
    held.add(PodState("c", "", None, 0, (), (), frozenset({("udp", 53)})))
    assert held.clash("web", need) == "c"
