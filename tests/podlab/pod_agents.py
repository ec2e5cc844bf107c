"""An agent in the pod lab, as a process with a folder of its own, and what podman has of it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from network import run, wait_for

SECONDS = 120.0


class Agent:
    """`python3 -m podagent.daemon` with a folder of its own as `--root`."""

    def __init__(self, root: Path, module: str = "podagent.daemon") -> None:
        self.root = root
        self.options: Sequence[str] = ()
        self.inside: Sequence[str] = ()  # what a command begins with that is to run on its host
        self._module = module
        self.manifests = root / "etc/bedplate/pods"
        self.manifests.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*self.inside, sys.executable, "-m", self._module, "--root", str(self.root)]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(SECONDS)

    @property
    def process(self) -> int:
        """The number of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def declare(self, name: str, container: Mapping[str, Any], **spec: Any) -> None:  # noqa: ANN401
        """Put a manifest in the folder, as cloud-config does it: another file takes its place."""
        body = {
            "containers": [{"name": "main", "image": "localhost/busybox:1", **container}],
            "terminationGracePeriodSeconds": 1,
            **spec,
        }
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}
        new = self.manifests / "new"
        new.write_text(json.dumps(document))
        new.replace(self.manifests / f"{name}.yaml")

    def drop(self, name: str) -> None:
        (self.manifests / f"{name}.yaml").unlink()

    @property
    def status(self) -> dict[str, Any]:
        try:
            found = json.loads((self.root / "run/bedplate/pods/status.json").read_bytes())
        except FileNotFoundError:
            return {"pods": [], "refused": {}}
        assert isinstance(found, dict)
        return found

    def pod(self, name: str) -> dict[str, Any]:
        """What is said of a pod; empty when nothing is."""
        return next((each for each in self.status["pods"] if each["id"] == name), {})

    def wait(self, *ready: str) -> None:
        """Wait until these are all the pods there are, and all of them are ready."""

        def so() -> bool:
            pods = self.status["pods"]
            return sorted(each["id"] for each in pods if each["ready"]) == sorted(ready) and len(
                pods
            ) == len(ready)

        self.until(so, f"{ready} are ready")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until it is so; what the agent said is in the failure."""
        try:
            wait_for(condition, what, SECONDS)
        except TimeoutError as error:
            log = (self.root / "log").read_text()
            raise AssertionError(f"{error}\n{self.status}\n{log}") from None


def running(name: str, inside: Sequence[str] = ()) -> dict[str, str]:
    """Podman's containers of a pod that run: name and command."""
    listing = json.loads(run([*inside, "podman", "ps", "--pod", "--format", "json"]))
    ours = [each["Id"] for each in listing if each["PodName"] == name and not each["IsInfra"]]
    inspect = [*inside, "podman", "container", "inspect"]
    details = json.loads(run([*inspect, *ours])) if ours else []
    return {each["Name"]: " ".join((each["Path"], *each["Args"])) for each in details}


def names(inside: Sequence[str] = ()) -> set[str]:
    """Podman's pods."""
    listing = json.loads(run([*inside, "podman", "pod", "ps", "--format", "json"]))
    return {each["Name"] for each in listing}
