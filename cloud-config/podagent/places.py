"""Where the pod agent keeps things; tests give a folder of their own as `root`."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Places:
    """Paths below one root."""

    root: Path = Path("/")

    @property
    def manifests(self) -> Path:
        """The pods of the host's own; its document's arrive there."""
        return self.root / "etc/bedplate/pods"

    @property
    def cluster(self) -> Path:
        """Where the cluster's etcd is; there is none without it."""
        return self.root / "etc/bedplate/cluster.json"

    @property
    def subnet(self) -> Path:
        """What the overlay gave this host; without it other hosts have the same pods' addresses."""
        return self.root / "run/flannel/subnet.env"

    @property
    def runtime(self) -> Path:
        """What the present boot knows."""
        return self.root / "run/bedplate/pods"

    @property
    def playing(self) -> Path:
        """Manifests while podman reads them, secrets and all."""
        return self.runtime / "play"

    @property
    def former(self) -> Path:
        """Manifests that replicas here were played from."""
        return self.runtime / "former"

    @property
    def tenure(self) -> Path:
        """What an agent that is started again must know of our lease."""
        return self.runtime / "tenure.json"

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

    def on_host(self, path: PurePosixPath) -> Path:
        """Where a path of the host's is."""
        return self.root / path.relative_to("/")
