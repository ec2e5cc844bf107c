"""Where the pod agent keeps things; tests give a folder of their own as `root`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """Paths below one root."""

    root: Path = Path("/")

    @property
    def manifests(self) -> Path:
        """The pods of the host's own; its document's arrive there."""
        return self.root / "etc/bedplate/pods"

    @property
    def runtime(self) -> Path:
        """What the present boot knows."""
        return self.root / "run/bedplate/pods"

    @property
    def playing(self) -> Path:
        """Manifests while podman reads them, secrets and all."""
        return self.runtime / "play"

    @property
    def status(self) -> Path:
        """The status document."""
        return self.runtime / "status.json"

    @property
    def metrics(self) -> Path:
        """The metrics in Prometheus' text format."""
        return self.root / "run/bedplate/metrics/pods.prom"

    @property
    def note(self) -> Path:
        """What the console shows of the pods."""
        return self.root / "run/bedplate/notes/pods"
