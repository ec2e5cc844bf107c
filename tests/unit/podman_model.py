"""A model of podman, as far as its pods go, that knows nothing of the planner.

It refuses what podman refuses, and fails the test where an agent must not even ask. `apply` answers
"" or podman's error; `half` is how far a Play comes before the agent that waits for it is killed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from podagent.actions import (
    Action,
    Kill,
    Play,
    Pull,
    RemoveImage,
    RemovePod,
    StartContainer,
    StopContainer,
    StopPod,
)
from podagent.images import full_name
from podagent.observed import ContainerState, Disk, ImageState, Observed, PodState
from podagent.types import Container, Instance, PodSpec, RestartPolicy


@dataclass(slots=True)
class Box:
    """A container."""

    image: str  # an image's id
    running: bool = False
    code: int | None = None
    started: float = 0
    finished: float = 0
    starts: int = 0
    asked: bool = False  # its last end was StopContainer's

    @property
    def cut(self) -> bool:
        return not self.running and self.finished < self.started


@dataclass(slots=True)
class Pod:
    """A pod of ours, and the manifest that it was played from."""

    instance: Instance
    boxes: dict[str, Box] = field(default_factory=dict)

    @property
    def spec(self) -> PodSpec:
        return self.instance.manifest.pod


@dataclass(slots=True)
class Podman:
    """podman's state; `now` is its clock."""

    now: float = 1_000_000.0
    pods: dict[str, Pod] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)  # name of a container: image id
    images: dict[str, set[str]] = field(default_factory=dict)  # id: names
    registry: dict[str, str] = field(default_factory=dict)  # full name: id
    broken: set[str] = field(default_factory=set)  # containers that cannot be started
    total: int = 100_000
    image_size: int = 100
    filled: int = 0
    log: list[Action] = field(default_factory=list)

    # --- What the agent sees ----------------------------------------------------------------------

    def observe(self) -> Observed:
        used = {box.image for pod in self.pods.values() for box in pod.boxes.values()}
        return Observed(
            pods=tuple(_state(pod) for pod in self.pods.values()),
            foreign=frozenset(self.foreign),
            images=tuple(
                ImageState(each, tuple(sorted(names)), self.image_size)
                for each, names in self.images.items()
            ),
            images_in_use=frozenset(used | set(self.foreign.values())),
            disk=Disk(self.total, self.free),
        )

    @property
    def free(self) -> int:
        return self.total - self.filled - self.image_size * len(self.images)

    # --- What the agent does ----------------------------------------------------------------------

    def apply(self, action: Action, half: int | None = None) -> str:
        self.log.append(action)
        error = ""
        match action:
            case Pull():
                error = self._pull(action.image)
            case Play():
                error = self._play(action, half)
            case StartContainer():
                error = self._start(action.pod, action.container)
            case StopContainer():
                self.ends(action.pod, action.container, 0)
                self.pods[action.pod].boxes[action.container].asked = True
            case StopPod() | Kill():
                for name, box in self.pods[action.pod].boxes.items():
                    if box.running:
                        self.ends(action.pod, name, 137 if isinstance(action, Kill) else 143)
            case RemovePod():
                self.pods.pop(action.pod, None)
            case RemoveImage():
                assert action.image not in self.observe().images_in_use, "image is in use"
                del self.images[action.image]
        return error

    def _pull(self, image: str) -> str:
        found = self.registry.get(full_name(image))
        if found is None:
            return f"no image {image} at its registry"
        for names in self.images.values():
            names.discard(full_name(image))
        self.images.setdefault(found, set()).add(full_name(image))
        return ""

    def _play(self, action: Play, half: int | None) -> str:
        instance, spec = action.instance, action.instance.manifest.pod
        made = Pod(instance)
        names = {instance.id, *(f"{instance.id}-{each.name}" for each in _all(spec))}
        taken = {f"{name}-{box}" for name, pod in self.pods.items() for box in pod.boxes}
        assert not names & (set(self.foreign) | set(self.pods) | taken), "name is in use"
        held = {port for pod in self.pods.values() for port in _ports(pod.instance)}
        if held & _ports(instance):
            return "address already in use"
        self.pods[instance.id] = made
        for container in _all(spec)[:half]:
            image = self.find(container.image)
            if image is None:
                return f"no image {container.image}"
            made.boxes[container.name] = Box(image)
        if half is None and action.starts:
            failed = [self._start(instance.id, each.name) for each in spec.containers]
            return next((each for each in failed if each), "")
        return ""

    def _start(self, pod: str, container: str) -> str:
        self._assert_startable(self.pods[pod], container)
        if f"{pod}-{container}" in self.broken:
            return "no such program"
        box = self.pods[pod].boxes[container]
        self.now += 0.001  # no two runs begin at once
        box.running, box.started, box.code, box.asked = True, self.now, 0, False
        box.starts += 1
        return ""

    def _assert_startable(self, pod: Pod, container: str) -> None:
        """Kubernetes' rules of what may start, said once more."""
        box, spec = pod.boxes[container], pod.spec
        assert not box.running
        before = spec.init
        init = [each.name for each in spec.init]
        if container in init:
            before = spec.init[: init.index(container)]
        for other in before:
            earlier = pod.boxes[other.name]
            going = any(pod.boxes[each.name].starts for each in spec.containers)
            if other.restart_always:
                assert earlier.running or going, "an init container is passed over"
            else:
                assert earlier.starts, "an init container is passed over"
                assert not earlier.running, "an init container still runs"
                assert earlier.code == 0, "an init container did not succeed"
        if box.starts and spec.restart is RestartPolicy.NEVER:
            assert container in init, "restarted against its policy"
            assert spec.init[init.index(container)].restart_always, "restarted against its policy"
        if box.starts and spec.restart is RestartPolicy.ON_FAILURE and container not in init:
            assert box.code or box.cut or box.asked, "it had succeeded"

    # --- What happens by itself -------------------------------------------------------------------

    def ends(self, pod: str, container: str, code: int) -> None:
        box = self.pods[pod].boxes[container]
        assert box.running
        self.now += 0.001
        box.running, box.code, box.finished = False, code, self.now

    def reboot(self) -> None:
        for pod in self.pods.values():
            for box in pod.boxes.values():
                box.running = False

    def running(self) -> list[tuple[str, str]]:
        return [
            (pod, name)
            for pod, each in self.pods.items()
            for name, box in each.boxes.items()
            if box.running
        ]

    def init_ends(self, code: int = 0) -> bool:
        """All init containers that run end; whether there were any."""
        ended = False
        for name, pod in self.pods.items():
            for container in pod.spec.init:
                box = pod.boxes.get(container.name)
                if box is not None and box.running and not container.restart_always:
                    self.ends(name, container.name, code)
                    ended = True
        return ended

    def find(self, image: str) -> str | None:
        found = (each for each, names in self.images.items() if full_name(image) in names)
        return next(found, None)

    # --- Where it should come to ------------------------------------------------------------------

    def faults(self, desired: Iterable[Instance]) -> list[str]:
        """In what this is not what is declared."""
        wanted = {each.id: each for each in desired}
        found = [f"pod {each} should be gone" for each in self.pods.keys() - wanted.keys()]
        found += [f"pod {each} should be there" for each in wanted.keys() - self.pods.keys()]
        for name in wanted.keys() & self.pods.keys():
            pod = self.pods[name]
            if pod.instance.manifest.digest != wanted[name].manifest.digest:
                found.append(f"pod {name} is of another manifest")
            elif list(pod.boxes) != [each.name for each in _all(pod.spec)]:
                found.append(f"pod {name} is half-made")
            else:
                found += _faults(pod)
        return found


def _faults(pod: Pod) -> list[str]:
    spec, name = pod.spec, pod.instance.id
    main = {each.name: pod.boxes[each.name] for each in spec.containers}
    init = [pod.boxes[each.name] for each in spec.init if not each.restart_always]
    if spec.restart is RestartPolicy.NEVER and any(
        each.starts and not each.running and (each.code or each.cut) for each in init
    ):
        return []  # it failed, and is to stay so
    found = [f"{name}-{each} never ran" for each, box in main.items() if not box.started]
    for each, box in main.items():
        fine = box.running
        if spec.restart is RestartPolicy.NEVER:
            fine = fine or bool(box.started)
        elif spec.restart is RestartPolicy.ON_FAILURE:
            fine = fine or (box.code == 0 and not box.cut)
        if not fine:
            found.append(f"{name}-{each} should run")
    going = any(box.running for box in main.values())
    found += [
        f"{name}-{each.name} should run beside the others, and only so"
        for each in spec.init
        if each.restart_always and pod.boxes[each.name].running is not going
    ]
    return found


def _state(pod: Pod) -> PodState:
    instance = pod.instance
    return PodState(
        instance.id,
        instance.manifest.digest,
        instance.slot,
        pod.spec.grace,
        ("10.0.0.2",),
        tuple(
            ContainerState(
                name,
                f"{instance.id}-{name}",
                box.image,
                f"sha256:{box.image}",
                running=box.running,
                exit_code=box.code,
                started=box.started,
                finished=box.finished,
            )
            for name, box in pod.boxes.items()
        ),
        _ports(instance),
        pod.spec.host_network,
    )


def _ports(instance: Instance) -> frozenset[tuple[str, int]]:
    ports = instance.manifest.documents.get("ports", ())
    return frozenset(("tcp", each["hostPort"]) for each in ports)


def _all(spec: PodSpec) -> list[Container]:
    return [*spec.init, *spec.containers]
