"""Instances for tests of the pod agent, and an agent that is nothing but its loop."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from podagent.memory import Memory, applied, looked
from podagent.plan import Plan, Under, make_plan
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
from podman_model import Podman

IMAGE = "registry.example/app:1"


def probe(delay: float = 0, period: float = 10, successes: int = 1, failures: int = 3) -> Probe:
    return Probe(Tcp(80, None), delay, period, 1, successes, failures)


def container(
    name: str = "a",
    image: str = IMAGE,
    pull: PullPolicy = PullPolicy.IF_NOT_PRESENT,
    *,
    startup: Probe | None = None,
    liveness: Probe | None = None,
    readiness: Probe | None = None,
    restart_always: bool = False,
) -> Container:
    return Container(name, image, pull, startup, liveness, readiness, restart_always)


def instance(
    name: str = "web",
    *containers: Container,
    init: tuple[Container, ...] = (),
    restart: RestartPolicy = RestartPolicy.ALWAYS,
    host_network: bool = False,
    origin: Origin = Origin.CLUSTER,
    ports: tuple[int, ...] = (),
    note: str = "",
) -> Instance:
    """An instance; its digest is of all that is given, `note` too."""
    spec = PodSpec({}, init, containers or (container(),), restart, 30, host_network)
    digest = hashlib.sha256(repr((spec, ports, note)).encode()).hexdigest()
    documents = {"ports": [{"hostPort": each} for each in ports]}
    manifest = Manifest(name, Kind.POD, None, 1, None, {}, spec, None, digest, documents)
    return Instance(name, manifest, origin, None)


def changed(which: Instance, note: str) -> Instance:
    """The same, of another digest."""
    return replace(which, manifest=replace(which.manifest, digest=note))


def podman(*images: str) -> Podman:
    """One whose registry has these images."""
    return Podman(registry={each: f"id of {each}" for each in (IMAGE, *images)})


@dataclass(slots=True)
class Agent:
    """Looks, plans and applies; a crash takes its memory."""

    podman: Podman
    desired: Sequence[Instance]
    memory: Memory = field(default_factory=Memory)
    under: Under = field(default_factory=Under)

    def plan(self) -> Plan:
        now = self.podman.now
        observed = self.podman.observe()
        self.memory = looked(self.memory, self.desired, observed, now, now)
        return make_plan(self.desired, observed, self.memory, now, self.under)

    def turn(self, steps: int | None = None, half: int | None = None) -> Plan:
        """One plan, applied; with `steps`, only so many actions of it, the last one `half`."""
        plan = self.plan()
        for action in plan.actions[:steps]:
            last = steps is not None and action is plan.actions[:steps][-1]
            error = self.podman.apply(action, half if last else None)
            self.memory = applied(self.memory, action, self.podman.now, error)
        return plan

    def crash(self) -> None:
        self.memory = Memory()

    def settle(self, rounds: int = 60) -> Plan:
        """Turn until nothing is left to do; time passes where something waits for it."""
        for _ in range(rounds):
            plan = self.turn()
            if self.podman.init_ends() or plan.actions:
                continue
            if plan.look_at is None:
                return plan
            if plan.look_at > self.podman.now + 3600:
                return plan  # an image that grows old
            self.podman.now = plan.look_at
        raise AssertionError(f"it does not settle: {plan}")
