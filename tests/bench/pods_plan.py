"""What it costs to plan 500 pods; pure, on this machine."""

import time
from collections.abc import Callable

from podagent.memory import Memory, looked
from podagent.observed import ContainerState, ImageState, Observed, PodState
from podagent.plan import make_plan
from podagent.types import (
    Container,
    Instance,
    Kind,
    Manifest,
    Origin,
    PodSpec,
    Probe,
    PullPolicy,
    RestartPolicy,
    Tcp,
)

from .figures import Figure, Unit

_PODS = 500
_IMAGE = "registry.example/app:1"
_AIM = 0.05  # seconds (issue 5)
_NOW = 1_000_000.0


def figures() -> list[Figure]:
    """With the aim of issue 5: each the best of ten."""
    desired = [_instance(f"pod-{number:03}") for number in range(_PODS)]
    standing = Observed(
        pods=tuple(_standing(each) for each in desired),
        images=(ImageState("1", (_IMAGE,), 1),),
    )
    memory = looked(Memory(), desired, standing, _NOW, _NOW)
    images = Observed(images=standing.images)
    return [
        _figure("at rest", lambda: make_plan(desired, standing, memory, _NOW)),
        _figure("all to play", lambda: make_plan(desired, images, Memory(), _NOW)),
        _figure("all to remove", lambda: make_plan([], standing, Memory(), _NOW)),
        _figure("memory brought up", lambda: looked(memory, desired, standing, _NOW, _NOW)),
    ]


def _figure(name: str, work: Callable[[], object]) -> Figure:
    best = min(_timed(work) for _ in range(10))
    return Figure(f"plan of {_PODS} pods, {name}", best, Unit.SECONDS, _AIM)


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _instance(name: str) -> Instance:
    probe = Probe(Tcp(80, None), 0, 10, 1, 1, 3)
    pull = PullPolicy.IF_NOT_PRESENT
    spec = PodSpec(
        {},
        (Container("init", _IMAGE, pull, None, None, None),),
        (
            Container("one", _IMAGE, pull, None, probe, probe),
            Container("two", _IMAGE, pull, None, None, None),
        ),
        RestartPolicy.ALWAYS,
        30,
        host_network=False,
    )
    manifest = Manifest(name, Kind.POD, None, 1, None, {}, spec, None, name, {})
    return Instance(name, manifest, Origin.CLUSTER, None)


def _standing(instance: Instance) -> PodState:
    containers = tuple(
        ContainerState(
            name=name,
            podman_name=f"{instance.id}-{name}",
            image=_IMAGE,
            image_digest="",
            running=name != "init",
            exit_code=0,
            started=_NOW - 100,
            finished=_NOW - 99 if name == "init" else 0,
        )
        for name in ("init", "one", "two")
    )
    return PodState(instance.id, instance.manifest.digest, None, 30, ("10.0.0.2",), containers)
