"""Where the overlay's agent keeps things; tests give a folder of their own as `root`."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Places:
    """Paths below one root."""

    root: Path = Path("/")

    @property
    def settings(self) -> Path:
        """What the host's cloud-config says of the overlay."""
        return self.root / "etc/bedplate/overlay.json"

    @property
    def runtime(self) -> Path:
        """What the present boot knows."""
        return self.root / "run/bedplate/overlay"

    @property
    def state(self) -> Path:
        """What outlives a boot."""
        return self.root / "var/lib/bedplate/overlay"

    @property
    def holding(self) -> Path:
        """What an agent that is started again must know of our lease."""
        return self.runtime / "holding.json"

    @property
    def wireguard_key(self) -> Path:
        """The host's private key, of the WireGuard backend."""
        return self.state / "wireguard.key"

    @property
    def machine_id(self) -> Path:
        """See machine-id(5)."""
        return self.root / "etc/machine-id"

    @property
    def status(self) -> Path:
        """The status document."""
        return self.runtime / "status.json"

    @property
    def metrics(self) -> Path:
        """The metrics in Prometheus' text format."""
        return self.root / "run/bedplate/metrics/overlay.prom"

    @property
    def note(self) -> Path:
        """What the console shows of the overlay."""
        return self.root / "run/bedplate/notes/overlay"

    @property
    def podman_network(self) -> Path:
        """Podman's default network (containers.conf(5), network_config_dir)."""
        return self.root / "etc/containers/networks/podman.json"

    def on_host(self, path: PurePosixPath) -> Path:
        """Where a path of the host's is."""
        return self.root / path.relative_to("/")
